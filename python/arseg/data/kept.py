"""Labelled stills that are read when they are first asked for, and kept in memory up to a bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from PIL import Image

from arseg.preprocess import resized

from .datasets import LabelledFrames

Still = tuple[np.ndarray, np.ndarray]
"""An image, uint8 `[H, W, 3]`, and its class ids, uint8 `[H, W]`."""

BOUND = 3 << 30
"""Bytes of one split that are kept: all of CamVid (0.7 MB a still of 480x360) and of Cityscapes at 360 rows."""


class KeptStills(Sequence[Still]):
    """The stills of a split; decoding each once leaves the cores to the network.

    Args:
        frames: where they come from.
        rows: frames that are higher are shrunk to so many; None: all stay as they are.
        bound: bytes that are kept; stills past them are read each time.
    """

    def __init__(self, frames: LabelledFrames, rows: int | None = None, *, bound: int = BOUND):
        self._frames, self._rows, self._left = frames, rows, bound
        self._kept: dict[int, Still] = {}

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> Still: ...
    @overload
    def __getitem__(self, index: slice) -> list[Still]: ...
    def __getitem__(self, index: int | slice) -> Still | list[Still]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]  # IndexError past the end, and from the end where it is negative
        if place in self._kept:
            return self._kept[place]
        still = shrunk(*self._frames[place], self._rows)
        size = sum(part.nbytes for part in still)
        if size <= self._left:
            self._left -= size
            self._kept[place] = still
        return still


def shrunk(image: np.ndarray, label: np.ndarray, rows: int | None) -> Still:
    """A still of at most so many rows, its shape kept; None: as it is."""
    height, width = label.shape
    if rows is None or height <= rows:
        return image, label
    size = (rows, max(1, round(width * rows / height)))
    return resized(image, size), resized(label, size, Image.Resampling.NEAREST)
