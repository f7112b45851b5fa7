"""Items that are read when they are asked for, and kept in memory up to a bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, overload

T = TypeVar("T")

BOUND = 3 << 30
"""Bytes of one list of stills or clips that stay in memory: all of CamVid (0.7 MB a still of 480x360)."""


class Kept(Sequence[T], Generic[T]):
    """What `load` gives for each index; the first `bound` bytes of it are kept.

    Nothing that is kept is let go again: training asks in random order, where no choice is better than another.

    Args:
        count: of the items.
        load: index -> item, the same each time.
        size: item -> its bytes.
        bound: bytes that are kept; items past them are read each time.
    """

    def __init__(self, count: int, load: Callable[[int], T], size: Callable[[T], int], bound: int = BOUND):
        self._count, self._load, self._size, self._left = count, load, size, bound
        self._kept: dict[int, T] = {}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self._count))]
        place = range(self._count)[index]  # IndexError past the end, and from the end where it is negative
        if place in self._kept:
            return self._kept[place]
        item = self._load(place)
        size = self._size(item)
        if size <= self._left:
            self._left -= size
            self._kept[place] = item
        return item
