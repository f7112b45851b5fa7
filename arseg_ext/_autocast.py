"""Autocast: every operator's arguments are cast to one dtype, once, and there is no autocast within.

Left to autocast, the parts would decide one by one: torch upsamples in float32, and attention gives bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from arseg_ext import _checks

_libraries: list[torch.library.Library] = []  # a Library unregisters when it is deleted
MOTION = 2  # its place in creff's arguments
# The operators that autocast touches, and the places of arguments that keep their dtype: positions need more than half
# precision.
UNCAST: dict[str, tuple[int, ...]] = {
    "local_attention": (),
    "creff": (MOTION,),
    "creff_logits": (MOTION,),
    "creff_labels": (MOTION,),
}


def computing_dtype(first: Tensor) -> torch.dtype:
    """What an operator computes in and gives: autocast's dtype where that is on, else that of its first map.

    A first map in float64 is left alone, as by torch's own policy, and decides for the others.
    """
    if _checks.autocast_on(first) and first.dtype != torch.float64:
        return torch.get_autocast_dtype(first.device.type)
    return first.dtype


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor  # an integer one is refused by name


def _kernel(op: Any, uncast: tuple[int, ...]) -> Callable[..., Tensor]:
    def run(*tensors: Tensor, **options: Any) -> Tensor:
        first = tensors[0]
        dtype = computing_dtype(first)
        same = [tensor if i in uncast else cast(tensor, dtype) for i, tensor in enumerate(tensors)]
        with torch.autocast(first.device.type, enabled=False):
            return op(*same, **options)

    return run


def register() -> None:
    library = torch.library.Library("arseg", "IMPL")
    _libraries.append(library)
    for name, uncast in UNCAST.items():
        kernel = _kernel(getattr(torch.ops.arseg, name).default, uncast)
        for key in ("AutocastCPU", "AutocastCUDA"):
            library.impl(name, kernel, key)
