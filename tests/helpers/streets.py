"""Frames of synthetic streets, rendered once in a process: most tests want some of the same few."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

from arseg.data.street import StreetScene


class _Street:
    """A scene, and those of its frames that were asked for."""

    def __init__(self, seed: int, height: int, width: int, rate: float) -> None:
        self._scene = StreetScene(seed, width=width, height=height, rate=rate)
        self._frames: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index not in self._frames:
            found = self._scene.frame(index)
            for array in found:
                array.flags.writeable = False
            self._frames[index] = found
        return self._frames[index]


_street = cache(_Street)


def street(
    count: int, seed: int = 2, *, size: tuple[int, int] = (72, 96), rate: float = 15.0, start: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images uint8 `[H, W, 3]` and labels uint8 `[H, W]`, CamVid's ids, of so many frames; not to be written to."""
    scene = _street(seed, *size, rate)
    return [scene.frame(index) for index in range(start, start + count)]


def pictures(count: int, seed: int = 2, **how) -> Iterator[np.ndarray]:
    """The images alone."""
    return (image for image, _ in street(count, seed, **how))
