"""Which frames make the batch of a step, and this process's part of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from arseg.errors import InputError

from . import distributed
from .batches import Batch

Sample = dict[str, Any]
"""Tensors of one frame, without a batch dimension."""


class EpochOrder:
    """Every frame once before any comes again, in an order of its own each time.

    The order depends on the seed alone, not on the number of processes.
    """

    def __init__(self, count: int, seed: int):
        if count < 1:
            raise InputError("data: no labelled frames to train on")
        self._count, self._seed = count, seed
        self._order = lru_cache(maxsize=2)(self._permutation)

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self._seed, epoch)).permutation(self._count)

    def index(self, place: int) -> int:
        """The frame at `place` of the whole training."""
        epoch, within = divmod(place, self._count)
        return int(self._order(epoch)[within])


class Sampler:
    """Batches for `loop.train(..., sharded=True)`: each process loads its own frames only.

    Args:
        load: (index of a frame, random generator) -> its tensors.
        count: number of frames.
        batch: frames a step, over all processes and accumulated parts.
        accumulate: parts of a step.
    """

    def __init__(
        self,
        load: Callable[[int, np.random.Generator], Sample],
        count: int,
        batch: int,
        *,
        accumulate: int = 1,
        seed: int = 0,
    ):
        parts = distributed.world() * accumulate
        if batch % parts:
            raise InputError(f"batch: expected a multiple of {parts} (processes times accumulated parts), got {batch}")
        self._load, self._batch, self._seed = load, batch, seed
        self._accumulate = accumulate
        self._order = EpochOrder(count, seed)

    def places(self) -> list[int]:
        """Places in the step's batch that are this process's, part after part."""
        size = self._batch // (distributed.world() * self._accumulate)
        starts = [(part * distributed.world() + distributed.rank()) * size for part in range(self._accumulate)]
        return [start + i for start in starts for i in range(size)]

    def __call__(self, step: int, rng: np.random.Generator) -> Batch:
        """The batch; `rng` is not used: each frame has its own, so that every process need not draw all."""

        def one(place: int) -> Sample:
            index = self._order.index(step * self._batch + place)
            return self._load(index, np.random.default_rng((self._seed, step, place)))

        samples = [one(place) for place in self.places()]
        stacked: Batch = {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}
        return {**stacked, "step": step}
