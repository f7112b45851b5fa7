"""The compiled operators: whether they load, and compute what they should, on each device."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .findings import Check, Finding, fault, ok, warning

if TYPE_CHECKING:
    import torch

__all__ = ["COMPUTING"]

AGAIN = "Build the package again with the Python and torch that run it: pip install --force-reinstall --no-deps ."
DRIVER = Path("/proc/driver/nvidia/version")
_LIMIT = 1e-4  # largest error of a float32 result of about 1


def torch_found() -> Iterator[Finding]:
    import torch

    cores, threads = available_cores(), torch.get_num_threads()
    yield ok("torch", f"{torch.__version__}, built {_with_cuda()}")
    found = f"torch takes {threads} of {cores} cores"
    if threads > cores:
        yield warning("threads", found, f"Set OMP_NUM_THREADS={cores}: more threads than cores wait for each other.")
    elif threads < cores:
        yield warning("threads", found, f"Where nothing else runs here, set OMP_NUM_THREADS={cores}.")
    else:
        yield ok("threads", found)


def available_cores() -> int:
    """Cores that this process may use: those of the machine, less what affinity and a container's quota take."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return cores


def operators() -> Iterator[Finding]:
    from arseg_ext import LibraryError, build_config

    try:
        config = build_config()
    except LibraryError as error:
        yield fault("operators", " ".join(str(error).split()), AGAIN)
        return
    made = f"{config['version']}, built with torch {config['built_with_torch']}"
    yield ok("operators", f"{made}, {'with' if config['with_cuda'] else 'without'} CUDA: {config['library']}")
    used, known = config["cpu_capability"], config["cpu_capabilities"]
    if used == "plain" and len(known) > 1:
        yield warning("CPU kernels", "plain, the slowest", "A processor with AVX2 is several times faster.")
    else:
        yield ok("CPU kernels", f"{used} of {', '.join(known)}")
    import torch

    yield computes(torch.device("cpu"))


def cuda() -> Iterator[Finding]:
    import torch

    from arseg_ext import LibraryError, build_config

    part = "CUDA"
    if not torch.cuda.is_available():
        if not DRIVER.exists():
            yield ok(part, "no NVIDIA driver here: all runs on the CPU")
        elif torch.version.cuda is None:
            cure = "Install a torch with CUDA (see pytorch.org), then this package again with FORCE_CUDA=1."
            yield warning(part, "there is an NVIDIA driver, but this torch was built without CUDA", cure)
        else:
            from arseg.device import no_cuda

            cure = f"Check that nvidia-smi tells CUDA {torch.version.cuda} or newer, and CUDA_VISIBLE_DEVICES."
            yield warning(part, f"there is an NVIDIA driver, but {no_cuda()}", cure)
        return
    try:
        with_cuda = build_config()["with_cuda"]
    except LibraryError:
        return  # told already
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        part = f"CUDA {index}"
        major, minor = torch.cuda.get_device_capability(device)
        name = f"{torch.cuda.get_device_name(device)}, compute capability {major}.{minor}"
        if with_cuda:
            yield ok(part, name)
            yield computes(device)
        else:
            cure = (
                "Where nvcc is, build them: FORCE_CUDA=1 pip install --no-build-isolation --force-reinstall --no-deps ."
            )
            yield warning(part, f"{name}; the operators were built without CUDA", cure)


def computes(device: torch.device) -> Finding:
    """Whether two operators give what their slow reference gives."""
    part, cure = f"results on {device}", f"{AGAIN} If it stays, report it."
    try:
        worst = errors(device)
    except RuntimeError as error:  # such as a GPU that the library has no code for
        return fault(part, " ".join(str(error).split()), cure)
    wrong = {name: error for name, error in worst.items() if not error < _LIMIT}
    if wrong:
        told = ", ".join(f"{name} is off by {error:.2g}" for name, error in wrong.items())
        return fault(part, told, cure)
    return ok(part, f"{' and '.join(worst)} are right")


def errors(device: torch.device) -> dict[str, float]:
    """By operator: the largest difference from the reference."""
    import torch

    from arseg_ext import ops, oracle

    generator = torch.Generator().manual_seed(0)
    feature = torch.randn(1, 16, 24, 32, generator=generator)
    motion = torch.randint(-40, 40, (1, 24, 32, 2), generator=generator).to(torch.int16)
    field: dict[str, Any] = {"block": 4, "frame_size": (96, 128)}
    pairs = {
        "mv_warp": (
            ops.mv_warp(feature.to(device), motion.to(device), **field),
            oracle.mv_warp(feature, motion, **field),
        ),
        "local_attention": (
            ops.local_attention(*[feature.to(device)] * 3, window=7),
            oracle.local_attention(feature, feature, feature, window=7),
        ),
    }
    return {name: float((got.cpu() - wanted).abs().max()) for name, (got, wanted) in pairs.items()}


def _with_cuda() -> str:
    import torch

    return f"with CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"


COMPUTING: tuple[tuple[str, Check], ...] = (("torch", torch_found), ("operators", operators), ("CUDA", cuda))
