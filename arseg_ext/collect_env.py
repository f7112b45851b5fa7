"""What a bug report needs: `python -m arseg_ext.collect_env`."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from typing import Any

from arseg_ext import _distributions, _loader
from arseg_ext._version import __version__

PACKAGES = ("torchvision", "timm", "numpy", "av", "safetensors", "pillow", "pybind11", "setuptools")
VARIABLES = (
    "TORCH_CUDA_ARCH_LIST",
    "FORCE_CUDA",
    "MAX_JOBS",
    "DEBUG",
    "CUDA_HOME",
    "CC",
    "CXX",
    "CXXFLAGS",
    "OMP_NUM_THREADS",
    "LD_PRELOAD",
)


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _first_line(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "not found"
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[-1 if command[0] == "nvcc" else 0] if lines else "no answer"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return f"{names[0]}, {os.cpu_count()} threads"
    except (OSError, IndexError):
        return f"{platform.processor() or platform.machine()}, {os.cpu_count()} threads"


def _torch() -> dict[str, Any]:
    try:
        import torch
    except ImportError as error:
        return {"torch": f"cannot be imported: {error}"}
    facts: dict[str, Any] = {
        "torch": torch.__version__,
        "torch CUDA": torch.version.cuda or "none",
        "torch threads": torch.get_num_threads(),
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
    }
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            major, minor = torch.cuda.get_device_capability(index)
            facts[f"GPU {index}"] = f"{torch.cuda.get_device_name(index)}, compute capability {major}.{minor}"
    else:
        facts["GPU"] = "none that torch can use"
    return facts


def _operators() -> dict[str, Any]:
    try:
        return {f"operators {name}": value for name, value in _loader.build_config().items()}
    except ImportError as error:
        return {"operators": str(error)}


def collect() -> dict[str, Any]:
    """The facts, in the order in which they are printed. Never fails because something is missing."""
    twice = _distributions.sentence(_loader.FOLDER.parent)
    return {
        "arseg": __version__,
        **({"distributions": twice} if twice else {}),
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "processor": _processor(),
        **_torch(),
        **_operators(),
        **{package: _installed(package) for package in PACKAGES},
        "c++ compiler": _first_line(os.environ.get("CXX", "c++"), "--version"),
        "nvcc": _first_line("nvcc", "--version"),
        **{f"${name}": os.environ[name] for name in VARIABLES if name in os.environ},
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the facts, one a line, or as JSON with --json."""
    facts = collect()
    if "--json" in (sys.argv[1:] if arguments is None else arguments):
        print(json.dumps(facts, indent=2))
    else:
        width = max(map(len, facts))
        for name, value in facts.items():
            print(f"{name:<{width}}  {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
