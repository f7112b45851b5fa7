"""Items that are read when they are asked for, and kept in memory up to a bound."""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import pickle
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, overload

import numpy as np

T = TypeVar("T")

BOUND = 3 << 30
"""Bytes of one list of stills or clips that stay in memory: all of CamVid (0.7 MB a still of 480x360)."""

_ROOM = 1 << 10
"""Bytes beside an item's own, at most."""


class Kept(Sequence[T], Generic[T]):
    """What `load` gives for each index; the first `bound` bytes of it are kept.

    Processes that were forked since share what is kept: what one has read, the others need not read. Nothing that is
    kept is let go again: training asks in random order, where no choice is better than another.

    Args:
        count: of the items.
        load: index -> item, the same each time; arrays in it are read-only when they come out of memory.
        size: item -> its bytes.
        bound: bytes that are kept; items past them are read each time.
    """

    def __init__(self, count: int, load: Callable[[int], T], size: Callable[[T], int], bound: int = BOUND):
        self._count, self._load, self._size = count, load, size
        self._memory: _SharedItems | None = None
        self._bound = bound
        # Now, for processes that are forked later are to share it; pages that are not used take no memory.
        with contextlib.suppress(
            OSError, ValueError
        ):  # not to be had, or no processes are forked here: everything is read each time
            self._memory = _SharedItems(count, bound)

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
        if self._memory is None:
            return self._load(place)
        if place in self._memory:
            return self._memory.get(place)
        item = self._load(place)
        self._memory.keep(place, item, self._size(item))
        return item


class _SharedItems:
    """Objects by number in memory that forked processes share; arrays are read where they lie, not copied."""

    def __init__(self, count: int, bound: int):
        self._left = np.frombuffer(mmap.mmap(-1, 8), np.int64)
        self._left[:] = bound
        self._bytes = mmap.mmap(-1, bound + (count + 1) * _ROOM)
        # Where each item begins, and the end of the last one; 0: not there.
        self._places = np.frombuffer(mmap.mmap(-1, 8 * (count + 1)), np.int64)
        self._places[count] = _ROOM
        self._lock = multiprocessing.get_context("fork").Lock()

    def __contains__(self, place: int) -> bool:
        return bool(self._places[place])

    def get(self, place: int) -> Any:
        view = memoryview(self._bytes).toreadonly()
        start = int(self._places[place])
        sizes = np.frombuffer(view, np.int64, int(np.frombuffer(view, np.int64, 1, start)[0]), start + 8)
        parts, at = [], start + 8 + sizes.nbytes
        for size in sizes.tolist():
            at = _aligned(at)
            parts.append(view[at : at + size])
            at += size
        return pickle.loads(parts[0], buffers=parts[1:])

    def keep(self, place: int, item: object, size: int) -> None:
        """Keeps an item of so many bytes, where it is not there yet and fits."""
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(item, protocol=5, buffer_callback=buffers.append)
        parts: list[bytes | memoryview] = [head, *(each.raw() for each in buffers)]
        with self._lock:
            if place in self or size > self._left[0]:
                return
            start = at = int(self._places[-1])
            sizes = np.array([len(part) for part in parts], np.int64)
            if _aligned(start + 8 + sizes.nbytes + int((sizes + 64).sum())) > len(self._bytes):
                return
            head = np.int64(len(parts)).tobytes() + sizes.tobytes()
            self._bytes[at : at + len(head)] = head
            at += len(head)
            view = memoryview(self._bytes)
            for part in parts:
                at = _aligned(at)
                view[at : at + len(part)] = part
                at += len(part)
            self._left[0] -= size
            self._places[-1] = _aligned(at)
            self._places[place] = start  # last: from here on others see it


def _aligned(at: int) -> int:
    return -(-at // 64) * 64
