"""Batches on their way to the step: made ahead, cut into parts, moved to the device."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import distributed
from .workers import made_by_processes

Batch = dict[str, Any]
"""Tensors `[N, ...]` by name, and values that hold for all of them."""

MakeBatch = Callable[[int, np.random.Generator], Batch]
"""(step, random generator) -> the batch of that step."""

FinishBatch = Callable[[Batch], Batch]
"""A batch, or a part of one, on the device -> what the loss takes; each sample by itself."""


def batches(
    make: MakeBatch,
    first: int,
    steps: int,
    seed: int,
    *,
    accumulate: int = 1,
    sharded: bool = False,
    workers: int = 0,
    device: torch.device | None = None,
    finish: FinishBatch | None = None,
) -> Generator[tuple[int, list[Batch]], None, None]:
    """Each step from `first` to `steps` - 1 with this process's parts of its batch, ready for `moved`.

    They are made while the step before is worked on. The generator that `make` is given is seeded by (seed, step), so
    that a resumed run gets the same batches.

    Args:
        accumulate, sharded: see `own_parts`.
        workers: processes that make them; 0: a thread of this one.
        device: where they will go; None: a CPU.
        finish: see `moved`.
    """
    device = torch.device("cpu") if device is None else device

    def parts(step: int) -> list[Batch]:
        return own_parts(make(step, np.random.default_rng((seed, step))), accumulate, sharded)

    with ExitStack() as stack:
        made: Callable[[int], list[Batch]] = parts
        if workers and first < steps:
            made = stack.enter_context(made_by_processes(parts, first, steps, workers))

        def ready(step: int) -> list[Batch]:
            return [_ready(part, device, finish, shared=bool(workers)) for part in made(step)]

        ahead = stack.enter_context(ThreadPoolExecutor(1))
        coming = ahead.submit(ready, first) if first < steps else None
        for step in range(first, steps):
            assert coming is not None
            now, coming = coming.result(), ahead.submit(ready, step + 1) if step + 1 < steps else None
            yield step, now


def own_parts(batch: Batch, accumulate: int, sharded: bool) -> list[Batch]:
    """This process's `accumulate` parts of a batch, in the order in which they are worked on.

    `sharded`: the batch is this process's already, not that of all processes.
    """
    world, rank = (1, 0) if sharded else (distributed.world(), distributed.rank())
    if world * accumulate == 1:
        return [batch]
    return [distributed.part_of(batch, i * world + rank, world * accumulate) for i in range(accumulate)]


def _ready(part: Batch, device: torch.device, finish: FinishBatch | None, *, shared: bool) -> Batch:
    """Finished on a CPU; for a GPU, in memory that it reads by itself. `shared`: in memory that others write next."""
    pinned = device.type == "cuda"
    if shared or pinned:
        part = {key: _copied(value, pinned) for key, value in part.items()}
    return finish(part) if finish is not None and device.type == "cpu" else part


def _copied(value: Any, pinned: bool) -> Any:
    return torch.empty_like(value, pin_memory=pinned).copy_(value) if isinstance(value, Tensor) else value


def moved(batch: Batch, device: torch.device, finish: FinishBatch | None = None) -> Batch:
    """The batch with its tensors on the device, finished there; on a CPU `batches` did that."""
    if device.type == "cpu":
        return batch
    there = {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}
    return there if finish is None else finish(there)
