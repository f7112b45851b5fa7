"""What a user asks of the operators by the environment: ARSEG_CAPTURE and ARSEG_NVTX.

`arseg_ext.ops` calls `install` at the end of its loading where one of them is set; where none is, nothing of this is
imported and the functions are as they were.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import torch

from arseg_ext.profiler.problems import OPERATORS

Function = Callable[..., Any]


def install() -> None:
    from arseg_ext.profiler import capture, nvtx

    if folder := os.environ.get("ARSEG_CAPTURE"):
        capture.install(folder)
    if os.environ.get("ARSEG_NVTX", "0") not in ("", "0"):
        nvtx.install()


def wrap(around: Callable[[str, Function], Function]) -> None:
    """Put `around(name, function)` before every function of `arseg_ext.ops`, which its users and `arseg_ext.nn` call.

    torch.compile and torch.export trace the function itself.
    """
    ops: Any = sys.modules["arseg_ext.ops"]
    for name in OPERATORS:
        function = getattr(ops, name)
        setattr(ops, name, _eager_only(function, around(name, function)))


def _eager_only(function: Function, wrapped: Function) -> Function:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        return wrapped(*args, **kwargs)

    return call
