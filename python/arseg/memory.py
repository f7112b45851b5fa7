"""Running out of memory, told from other faults."""

from __future__ import annotations

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
