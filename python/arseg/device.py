"""Where a network runs and in which arithmetic: what is not there is said in one sentence."""

from __future__ import annotations

import torch

from arseg.errors import InputError
from arseg_ext import build_config


def device_of(name: str | torch.device) -> torch.device:
    """The device of that name; raises `InputError` where torch knows none."""
    try:
        return torch.device(name)
    except RuntimeError:
        raise InputError(f"device: expected a device of torch, such as cpu, cuda or cuda:1, got {name!r}") from None


def check_device(name: str | torch.device) -> None:
    """Raises `InputError` where the operators cannot run on that device."""
    device = device_of(name)
    if device.type != "cpu" and not (device.type == "cuda" and build_config()["with_cuda"]):
        raise InputError(f"device: the operators of this build run on the CPU, got {device}; take cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device: {no_cuda()}, got {device}; take cpu")
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(
            f"device: there are {count} CUDA devices here, counted from 0, got {device}; take one of them, or cpu"
        )


def no_cuda() -> str:
    """Why torch has no CUDA device."""
    if torch.version.cuda is None:
        return "this torch was built without CUDA"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        if "driver" in str(error) and "too old" in str(error):
            return f"the NVIDIA driver here is too old for this torch, which wants CUDA {torch.version.cuda}; update it"
    return "torch finds no CUDA device here"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic; a CPU does without, more slowly."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)


def in_bfloat16(precision: str | None, device: str | torch.device) -> bool:
    """Whether to compute in bfloat16; `precision` None: on a GPU that has it.

    Raises `InputError` for another precision, and for a GPU that has no bfloat16.
    """
    if precision not in (None, "float32", "bfloat16"):
        raise InputError(f"precision: expected float32 or bfloat16, got {precision!r}")
    device = torch.device(device)
    if precision == "bfloat16" and not has_bfloat16(device):
        name = torch.cuda.get_device_name(device)
        raise InputError(
            f"precision: {name} has no bfloat16 arithmetic, which begins with compute capability 8.0; use float32"
        )
    return precision == "bfloat16" or (precision is None and device.type == "cuda" and has_bfloat16(device))
