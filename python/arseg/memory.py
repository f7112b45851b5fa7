"""Running out of memory, told from other faults; and memory that a process keeps for its next frame."""

from __future__ import annotations

import ctypes
import os
import sys

from arseg.errors import MemoryLimitError


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory could not be had: Python's own, torch's on a GPU, or its allocator's."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    # torch has no class of its own for the CPU's allocator, nor for cuDNN's and cuBLAS's.
    return isinstance(error, RuntimeError) and any(
        sign in text for sign in ("DefaultCPUAllocator", "not enough memory", "out of memory", "ALLOC_FAILED")
    )


def workers_ended(workers: int) -> MemoryLimitError:
    """What to raise for a process that somebody ended from outside, as the system does where memory is out."""
    return MemoryLimitError(
        f"workers: one of {workers} processes was ended from outside, most likely for want of memory; take fewer "
        "(--workers)"
    )


TUNED = ("GLIBC_TUNABLES", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
"""Variables of the environment by which a user tells glibc's allocator what to do."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def keep_pages() -> bool:
    """Has glibc's allocator keep this process's memory, as large as it was at most, for what comes next.

    Maps of a network are large enough to be given back after every layer; the next one has its pages cleared and mapped
    anew, a tenth to a third of a frame's time. For programs that segment frame after frame, before the first one.

    Returns whether it does: not where there is no glibc, and not where a variable in `TUNED` says something else.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in TUNED):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
