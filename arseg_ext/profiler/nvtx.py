"""NVTX ranges around the operators, for Nsight Systems: `ARSEG_NVTX=1`, or `--nvtx` of the profiler."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from arseg_ext.profiler import hooks


def available() -> bool:
    return torch.cuda.is_available()


def span(name: str) -> contextlib.AbstractContextManager[Any]:
    """A range; nothing without CUDA."""
    return torch.cuda.nvtx.range(name) if available() else contextlib.nullcontext()


def install() -> None:
    """A range `arseg.<operator>` around every call of a function of `arseg_ext.ops`; nothing without CUDA."""
    if not available():
        return

    def around(name: str, function: hooks.Function) -> hooks.Function:
        def call(*args: Any, **kwargs: Any) -> Any:
            with torch.cuda.nvtx.range(f"arseg.{name}"):
                return function(*args, **kwargs)

        return call

    hooks.wrap(around)
