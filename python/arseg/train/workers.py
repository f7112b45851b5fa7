"""Batches made by processes, ahead of the training that takes them.

The processes are forked, so that data in memory are theirs, too, and are torch's `DataLoader`'s, which notices when one
ends and ends them when training does. What they make comes back in memory that was shared before the fork, not in
/dev/shm, of which a container has 64 MB.
"""

from __future__ import annotations

import io
import mmap
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from arseg.errors import ArsegError, InputError
from arseg.memory import workers_ended

Make = Callable[[int], Any]
"""Step -> what is made for it: dicts of tensors, lists of them and the like."""

AHEAD = 2
"""Steps that each process is ahead."""

MOST = 8
"""Processes at most, where nobody says how many."""


def check_workers(workers: int | None) -> None:
    """Raises `InputError` for a number of processes that cannot be had; None: `default_workers`."""
    if workers is None or workers == 0:
        return
    if workers < 0:
        raise InputError(f"workers: expected at least 0, got {workers}")
    if "fork" not in multiprocessing.get_all_start_methods():
        raise InputError(f"workers: this system cannot fork processes, got {workers}; take 0")


def default_workers(device: torch.device) -> int:
    """Of one training process: none on a CPU, whose cores the network needs; else one for each core but one, at most 8.

    The cores are this process's share of those that it may run on.
    """
    if device.type == "cpu" or not sys.platform.startswith("linux"):
        return 0
    cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min(MOST, cores - 1))


@contextmanager
def made_by_processes(make: Make, first: int, steps: int, workers: int) -> Iterator[Make]:
    """Gives what returns `make(step)` for each step from `first` to `steps` - 1, asked for in this order.

    An exception of `make` is raised there. Where a process ends before its time torch raises a `RuntimeError`, be it
    while the caller is at something else: see `telling_of_dead`.
    """
    # The first one is made here: it tells how much memory they take, and what is wrong with the data.
    made = make(first)
    slots = workers * AHEAD + 1  # as many as are on their way, and the one that is being taken
    memory = SharedSlots(slots, _size_of(made) * 5 // 4)
    loader = DataLoader(
        _Steps(make, memory, first + 1, steps),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=AHEAD,
        multiprocessing_context="fork",
        worker_init_fn=_begin,
        collate_fn=_same,
        generator=torch.Generator(),  # else it draws from the one that training draws from
    )
    coming = iter(loader) if first + 1 < steps else iter(())

    def take(step: int) -> Any:
        nonlocal made
        if step == first:
            ours, made = made, None
            return ours
        found = memory.taken(next(coming))
        if isinstance(found, BaseException):
            raise found
        return found

    try:
        yield take
    finally:
        if first + 1 < steps:
            coming._shutdown_workers()  # type: ignore[attr-defined]  # now, rather than when nothing refers to it


@contextmanager
def telling_of_dead(workers: int) -> Iterator[None]:
    """Raises `MemoryLimitError` in place of what torch says of a process that ended before its time."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise workers_ended(workers) from error


class SharedSlots:
    """Memory that forked processes share, in `count` slots of `size` bytes; step n's result lies in slot n % count."""

    def __init__(self, count: int, size: int):
        self._count, self._size = count, -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        self._bytes = mmap.mmap(-1, self._count * self._size)

    def put(self, step: int, made: Any) -> tuple[bytes, list[tuple[int, int]] | None]:
        """Leaves `made` in its slot; what is returned, which is small, leads there. What is too large is in it."""
        head, buffers = _pickled(made)
        at, places = step % self._count * self._size, []
        end = at + self._size
        for part in buffers:
            if at + len(part) > end:
                return pickle.dumps(made), None
            memoryview(self._bytes)[at : at + len(part)] = part
            places.append((at, len(part)))
            at = -(-(at + len(part)) // 64) * 64
        return head, places

    def taken(self, put: tuple[bytes, list[tuple[int, int]] | None]) -> Any:
        """What `put` was given; its tensors lie in the slot, and are to be copied before its next step is put."""
        head, places = put
        if places is None:
            return pickle.loads(head)
        view = memoryview(self._bytes)
        return pickle.loads(head, buffers=[view[at : at + size] for at, size in places])


class _Pickler(pickle.Pickler):
    """Leaves the tensors' bytes out of band, as numpy's arrays are."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_contiguous() and not value.requires_grad:
            return torch.from_numpy, (value.numpy(),)
        return NotImplemented


def _pickled(made: Any) -> tuple[bytes, list[memoryview]]:
    buffers: list[pickle.PickleBuffer] = []
    with io.BytesIO() as file:
        _Pickler(file, 5, buffer_callback=buffers.append).dump(made)
        return file.getvalue(), [each.raw() for each in buffers]


def _size_of(made: Any) -> int:
    return sum(len(part) + 64 for part in _pickled(made)[1])


class _Steps(Dataset):
    """What is made for the steps from `first` on, by number; what is wrong is handed over, not raised."""

    def __init__(self, make: Make, memory: SharedSlots, first: int, steps: int):
        self._make, self._memory, self._first, self._steps = make, memory, first, steps

    def __len__(self) -> int:
        return self._steps - self._first

    def __getitem__(self, index: int) -> Any:
        step = self._first + index
        try:
            made = self._make(step)
        except (ArsegError, OSError, MemoryError) as error:
            made = _told(error)
        return self._memory.put(step, made)


def _told(error: Exception) -> Exception:
    """The exception, as far as it comes through from another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return ArsegError(str(error))
    return error


def _begin(_: int) -> None:
    # Ctrl-C reaches every process of the terminal; the training ends these.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _same(made: Any) -> Any:
    return made
