"""Loads the compiled operators once, or says what is wrong and what to do."""

from __future__ import annotations

import functools
import json
import re
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

from arseg_ext import _distributions, _library_file
from arseg_ext._version import __version__

MINIMUM_TORCH = (2, 11)
FOLDER = Path(__file__).resolve().parent
AGAIN = (
    "build it again on this machine with `pip install --no-build-isolation --force-reinstall --no-deps .` "
    "(`python setup.py build_ext --inplace` in a checkout)"
)


class LibraryError(ImportError):
    """The compiled operators cannot be used here; the message says why and what to do."""


def _torch_version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def find_library(folder: Path = FOLDER) -> Path:
    """The compiled library in `folder`; LibraryError if there is none."""
    found = sorted(path for path in folder.glob("_C.*") if path.suffix in {".so", ".pyd", ".dylib"})
    if not found:
        raise LibraryError(
            f"arseg_ext is not built: there is no _C library in {folder}. In a checkout run "
            "`python setup.py build_ext --inplace`; otherwise `pip install .` from the checkout, and start Python "
            "outside of it."
        )
    return found[0]


def check_torch(version: str) -> None:
    """LibraryError if this torch is older than the library needs."""
    if _torch_version(version) < MINIMUM_TORCH:
        raise LibraryError(
            f"arseg_ext needs torch 2.11 or newer, and torch {version} is installed. Upgrade it: "
            "`pip install --upgrade 'torch>=2.11'`."
        )


def load_library(path: Path) -> None:
    """Load one library file; LibraryError with the likely causes if the system refuses it."""
    import torch

    broken = _library_file.damage(path)
    if broken:
        raise LibraryError(f"the library {path} is damaged: {broken}. Install it again, or {AGAIN}.")
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        reason = str(error)
        if "invalid ELF header" in reason or "wrong ELF class" in reason or "cannot open shared object file" in reason:
            advice = "It was built for another platform"
        elif "undefined symbol" in reason:
            advice = "It does not fit the installed torch"
        else:
            advice = "It may be damaged, or built for another platform or torch"
        raise LibraryError(
            f"arseg_ext found its library {path} but could not load it with torch {torch.__version__}: {reason}. "
            f"{advice}: {AGAIN}."
        ) from error


def check_version(path: Path, version: str) -> None:
    """LibraryError if the library is of another version than these files."""
    if version != __version__:
        raise LibraryError(
            f"the library {path} is of version {version}, and the Python files beside it are of {__version__}: {AGAIN}."
        )


def mark_compiled_code() -> None:
    """Compiled code that torch keeps on disk has the operators that ours were made of when it was compiled. torch takes
    such code for good as long as names and schemas are the same; the tag makes it that of these sources."""
    import torch.compiler.config

    made_of = ("_autocast.py", "_autograd.py", "_composite.py")
    digest = zlib.crc32(b"".join((FOLDER / name).read_bytes() for name in made_of if (FOLDER / name).exists()))
    torch.compiler.config.cache_key_tag += f"arseg_ext {__version__} {digest:08x};"


def register(path: Path) -> None:
    """Register what lives in Python; LibraryError if the library lacks what it needs."""
    import torch

    from arseg_ext import _autocast, _autograd, _checks, _composite, _devices, _fake, _flops, _sharding, _vmap

    try:
        check_version(path, json.loads(torch.ops.arseg._build_config())["version"])
        _checks.load_sentences()
        for module in (_devices, _composite, _fake, _autograd, _autocast, _flops, _vmap, _sharding):
            module.register()
        mark_compiled_code()
    except (AttributeError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise LibraryError(
            f"the library {path} was built from other sources than the Python files beside it ({reason}): {AGAIN}."
        ) from error


_lock = threading.Lock()  # functools.cache alone lets two threads in, and an operator registers once


def load() -> None:
    """Load the library and register what lives in Python. Later calls do nothing."""
    with _lock:
        _load()


@functools.cache
def _load() -> None:
    import torch

    check_torch(torch.__version__)
    twice = _distributions.sentence(FOLDER.parent)
    if twice:
        warnings.warn(twice, stacklevel=3)
    library = find_library()
    load_library(library)
    register(library)


@functools.cache
def build_config() -> dict[str, Any]:
    """How the compiled operators were built.

    Returns:
        A dict with `version`, `compiler`, `flags`, `cxx_standard`, `torch_target` (the oldest torch it loads
        in), `built_with_torch`, `debug`, `with_cuda` and
        `cuda_architectures` (such as "8.0 9.0+PTX"), read from the library itself, and `library`, its path.
    """
    import torch

    load()
    config: dict[str, Any] = json.loads(torch.ops.arseg._build_config())
    config["library"] = str(find_library())
    return config
