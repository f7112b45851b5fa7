"""Batches on their way to the step: made ahead, cut into parts, moved to the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import distributed

Batch = dict[str, Any]
"""Tensors `[N, ...]` by name, and values that hold for all of them."""

MakeBatch = Callable[[int, np.random.Generator], Batch]
"""(step, random generator) -> the batch of that step."""


def batches(make: MakeBatch, first: int, steps: int, seed: int) -> Iterator[tuple[int, Batch]]:
    """Each step from `first` to `steps` - 1 with its batch, which is made while the step before is worked on.

    The generator that `make` is given is seeded by (seed, step), so that a resumed run gets the same batches.
    """

    def batch(step: int) -> Batch:
        return make(step, np.random.default_rng((seed, step)))

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(batch, first) if first < steps else None
        for step in range(first, steps):
            assert coming is not None
            now, coming = coming.result(), ahead.submit(batch, step + 1) if step + 1 < steps else None
            yield step, now


def own_parts(batch: Batch, accumulate: int, sharded: bool) -> list[Batch]:
    """This process's `accumulate` parts of a batch, in the order in which they are worked on.

    `sharded`: the batch is this process's already, not that of all processes.
    """
    world, rank = (1, 0) if sharded else (distributed.world(), distributed.rank())
    if world * accumulate == 1:
        return [batch]
    return [distributed.part_of(batch, i * world + rank, world * accumulate) for i in range(accumulate)]


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on the device."""
    if device.type == "cpu":
        return batch
    return {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}
