"""What the network says of a batch, on its way from the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

Arrays = Callable[[], list[np.ndarray]]
"""Waits for one array for each frame."""


@dataclass(frozen=True)
class Labels:
    """Label maps, uint8 `[H, W]` each, of the frames that they were asked for; a call waits for them.

    Attributes:
        maps: waits for the label maps.
        logits: waits for float32 `[classes, h, w]` each, at the resolution of the network's maps; None where they are
            not kept.
    """

    maps: Arrays
    logits: Arrays | None = None

    @classmethod
    def of(cls, maps: Tensor, logits: Tensor | None = None) -> Labels:
        """Begins to fetch uint8 `[N, H, W]` and `[N, classes, h, w]`."""
        return cls(_fetched(maps), None if logits is None else _fetched(logits.float().contiguous()))

    def __call__(self) -> list[np.ndarray]:
        return self.maps()

    def one(self, place: int) -> Labels:
        """Those of one of the frames."""
        logits = self.logits
        return Labels(lambda: [self.maps()[place]], None if logits is None else lambda: [logits()[place]])


def _fetched(x: Tensor) -> Arrays:
    """Each frame's array gets memory of its own, which the frame alone holds."""
    if x.device.type != "cuda":
        arrays = [one.clone().numpy() for one in x]
        return lambda: arrays
    host = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
    host.copy_(x, non_blocking=True)
    done = torch.cuda.Event()
    done.record(torch.cuda.current_stream(x.device))

    @cache
    def wait() -> list[np.ndarray]:
        done.synchronize()
        return [one.copy() for one in host.numpy()]

    return wait
