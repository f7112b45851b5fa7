"""Devices without kernels of ours (MPS, XPU, ROCm, CUDA where the library was built without): plain PyTorch, told once.

An operator that has no kernel for a device comes here from the dispatcher, below autograd and autocast.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg_ext import oracle

_libraries: list[torch.library.Library] = []  # a Library unregisters when it is deleted
_told: set[str] = set()
_compiled: set[str] = set()


def _with_classifier(*args: Tensor, **options: Any) -> Tensor:
    *fusion, weight, bias = args
    return F.conv2d(oracle.creff(*fusion, **options), weight.reshape(*weight.shape[:2], 1, 1), bias)


def _labels(*args: Tensor, **options: Any) -> Tensor:
    return _with_classifier(*args, **options).argmax(1).to(torch.uint8)


def _resize_labels(logits: Tensor, size: list[int], *, align_corners: bool = False) -> Tensor:
    resized = F.interpolate(logits, size, mode="bilinear", align_corners=align_corners)
    return resized.argmax(1).to(torch.uint8)


def _exact(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Takes the allowance of TF32, too, which torch's own products look up by themselves."""

    def run(*args: Tensor, allow_tf32: bool = False, **options: Any) -> Tensor:
        return function(*args, **options)

    return run


PLAIN: dict[str, Callable[..., Tensor]] = {
    "mv_warp": oracle.mv_warp,
    "flow_warp": oracle.flow_warp,
    "local_attention": _exact(oracle.local_attention),
    "creff": _exact(oracle.creff),
    "creff_logits": _exact(_with_classifier),
    "creff_labels": _exact(_labels),
    "resize_labels": _resize_labels,
}


def has_kernels(device: torch.device) -> bool:
    """Whether the library has kernels for a device; so has "meta", which computes nothing."""
    return device.type in _compiled


def _tell(name: str, device: torch.device) -> None:
    if device.type in _told:
        return
    _told.add(device.type)
    why = (
        "this arseg_ext was built without CUDA (arseg_ext.build_config()); build it where nvcc is"
        if device.type == "cuda" and torch.version.hip is None
        else "its kernels are for the CPU and for CUDA"
    )
    warnings.warn(
        f"{name}: no kernel for device '{device.type}', so plain PyTorch computes it, many times slower: {why}.",
        stacklevel=3,
    )


def run_plain(name: str, *args: Any, **options: Any) -> Tensor:
    first, *rest = args
    _tell(name, first.device)
    half = first.dtype in (torch.float16, torch.bfloat16)
    if half:  # as our kernels: added up in float32
        rest = [arg.float() if isinstance(arg, Tensor) and arg.dtype == first.dtype else arg for arg in rest]
        result = PLAIN[name](first.float(), *rest, **options)
        return result.to(first.dtype) if result.is_floating_point() else result
    return PLAIN[name](*args, **options)


def _fallback(name: str) -> Callable[..., Tensor]:
    def run(*args: Any, **options: Any) -> Tensor:
        if has_kernels(args[0].device):  # yet none was found: sparse, nested, or on several devices
            raise RuntimeError(f"{name}: arguments must be dense tensors on one device")
        return run_plain(name, *args, **options)

    return run


def register() -> None:
    config = json.loads(torch.ops.arseg._build_config())
    _compiled.update(("cpu", "meta", "cuda") if config["with_cuda"] and torch.version.hip is None else ("cpu", "meta"))
    library = torch.library.Library("arseg", "IMPL")
    _libraries.append(library)
    for name in PLAIN:
        library.impl(name, _fallback(name), "CompositeExplicitAutograd")
