"""What a build takes over from its surroundings, and whether what came out works: for setup.py.

CFLAGS and the rest stand before our own flags, so that ours, the last, decide what matters: results (fast math makes
a NaN look like a number, and linked in, as it is by CFLAGS too, takes denormal numbers from the whole process) and
where the library runs (the kernels choose their instructions when they are called, so that none is compiled for the
machine at hand).
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path

EXACT = [
    "-fno-fast-math",
    "-fno-unsafe-math-optimizations",
    "-fno-finite-math-only",
    "-fno-associative-math",
    "-fno-reciprocal-math",
    "-fsigned-zeros",
]
NVCC_INEXACT = ("use_fast_math", "ftz=true", "prec-div=false", "prec-sqrt=false")
HOST_INEXACT = ("-ffast-math", "-Ofast", "-ffinite-math-only", "-funsafe-math-optimizations", "-march=native")
NVCC_VARIABLES = ("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS")
NAMED_IN_FAILURES = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", *NVCC_VARIABLES)


def compile_flags(machine: str | None = None) -> list[str]:
    """The last flags of the C++ compiler."""
    portable = {"x86_64": "x86-64", "AMD64": "x86-64"}.get(machine or platform.machine())
    return [
        *EXACT,
        *([f"-march={portable}", "-mtune=generic"] if portable else []),
        # The strings of torch and of the standard library are the new ones.
        "-U_GLIBCXX_USE_CXX11_ABI",
        "-D_GLIBCXX_USE_CXX11_ABI=1",
    ]


def link_flags(optimise: Sequence[str], compiler: Sequence[str] | None = None) -> list[str]:
    """The last flags of the linker, which is the compiler and gets CFLAGS too."""
    level = [flag for flag in optimise if flag.startswith("-O")]  # against -Ofast
    if sys.platform == "darwin":  # its linker has neither option, and one libc++ is for all
        return [*level, *EXACT]
    # A libstdc++ that is linked in stays inside: its streams and the process's are not of one kind. The unwinder must
    # be the process's: with one of our own (-static-libgcc) an error does not pass through torch, and ends the process.
    unwinder = ["-Wl,--push-state,--no-as-needed", "-lgcc_s", "-Wl,--pop-state"] if _has_shared_libgcc(compiler) else []
    return [*level, *EXACT, "-Wl,--exclude-libs,ALL", *unwinder]


def _has_shared_libgcc(compiler: Sequence[str] | None) -> bool:
    command = [*(compiler or shlex.split(os.environ.get("CXX", "")) or ["c++"]), "-print-file-name=libgcc_s.so"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return False
    return done.returncode == 0 and os.path.isabs(done.stdout.strip())


def one_word_compilers(environment: MutableMapping[str, str], folder: Path) -> list[str]:
    """torch takes CC and CXX for the name of one program: `g++ -static-libstdc++` and `ccache g++` become scripts of
    that in `folder`. Returns the variables that changed."""
    changed = []
    for name in ("CC", "CXX"):
        value = environment.get(name, "")
        words = shlex.split(value)
        if len(words) < 2 or shutil.which(value):
            continue
        # Named after the compiler, by which torch knows what it can do.
        compiler = next((Path(word).name for word in words if "=" not in word and not _is_wrapper(word)), name.lower())
        script = folder / name.lower() / compiler
        script.parent.mkdir(parents=True, exist_ok=True)
        text = f'#!/bin/sh\nexec env {shlex.join(words)} "$@"\n'
        if not script.exists() or script.read_text(encoding="utf-8") != text:
            script.write_text(text, encoding="utf-8")
        script.chmod(script.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        environment[name] = str(script)
        if any(Path(word).name in {"ccache", "sccache"} for word in words):
            environment.setdefault("TORCH_NO_COMPILER_WRAPPER", "1")  # torch would put another before it
        changed.append(name)
    return changed


def _is_wrapper(word: str) -> bool:
    return Path(word).name in {"ccache", "sccache", "distcc", "icecc", "env"}


def exact_nvcc_flags(value: str) -> tuple[str, list[str]]:
    """NVCC_PREPEND_FLAGS or NVCC_APPEND_FLAGS without what makes results inexact, and that."""
    kept: list[str] = []
    dropped: list[str] = []
    words = shlex.split(value)
    while words:
        word = words.pop(0)
        name = word.lstrip("-")
        following = words[0] if words else ""
        if word in {"-Xcompiler", "--compiler-options"}:
            word, name = f"-Xcompiler={words.pop(0)}" if words else word, "Xcompiler"
        elif name in {"ftz", "prec-div", "prec-sqrt"} and following:
            name = f"{name}={words.pop(0)}"
            word = f"--{name}"
        if name == "Xcompiler" or word.startswith(("-Xcompiler=", "--compiler-options=")):
            host = word.partition("=")[2].split(",")
            good = [flag for flag in host if flag not in HOST_INEXACT]
            dropped += [flag for flag in host if flag in HOST_INEXACT]
            kept += [f"-Xcompiler={','.join(good)}"] if good else []
        elif name in NVCC_INEXACT or name == "use_fast_math=true":
            dropped.append(word)
        else:
            kept.append(word)
    return shlex.join(kept), dropped


def prepare(environment: MutableMapping[str, str], folder: Path) -> list[str]:
    """Makes the environment one that builds right; a sentence for what it says and does not get."""
    said = []
    one_word_compilers(environment, folder)
    for name in NVCC_VARIABLES:
        if name in environment:
            environment[name], dropped = exact_nvcc_flags(environment[name])
            if dropped:
                said.append(f"{name}: {' '.join(dropped)} is left out, for the operators promise exact results.")
    flags = " ".join(environment.get(name, "") for name in ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS")).split()
    ignored = [flag for flag in HOST_INEXACT if flag in flags]
    if ignored:
        said.append(
            f"{' '.join(ignored)} of the environment has no effect here: results are to be exact, and the kernels "
            "choose their instructions when they are called."
        )
    return said


# --- what came out -----------------------------------------------------------------------------------------------

# Each in a process of its own, for a bad library ends it. The messages of an error pass from one libstdc++ to another
# where there are two.
OPERATORS = """
import sys, torch
torch.ops.load_library(sys.argv[1])
ops = torch.ops.arseg
assert '"version"' in ops._build_config(), ops._build_config()
x = torch.ones(1, 8, 3, 4)
still = ops.mv_warp(x, torch.zeros(1, 3, 4, 2, dtype=torch.int16), block=4, frame_size=[12, 16])
assert torch.equal(still, x), "mv_warp without motion changes a map"
assert not ops.flow_warp(x, torch.full((1, 3, 4, 2), float("nan"))).any(), "NaN is taken for a number"
out = ops._local_attention(x, x, x, window=[3, 3], outside="masked", scale=1.0)[0]
assert torch.allclose(out, x), "the attention of equal values is another"
assert ops.resize_labels(x, [6, 8]).shape == (1, 6, 8)
assert torch.tensor(1e-42) * 1 > 0, "denormal numbers are gone"
try:
    ops.mv_warp(x, torch.zeros(1, 3, 4, 2), block=4, frame_size=[12, 16])
    raise AssertionError("a wrong argument is taken")
except RuntimeError as error:
    assert "motion must be int16, got float32" in str(error), error
"""
MOTION = """
import ctypes, sys
import numpy as np
motion = ctypes.CDLL(sys.argv[1])
motion.arseg_motion_error.restype = ctypes.c_char_p
at = lambda array: ctypes.c_void_p(array.ctypes.data)
size = ctypes.c_int64
vectors, valid, filled = np.zeros((3, 4, 2), np.int16), np.zeros((3, 4), bool), np.zeros((3, 4, 2), np.int16)
vectors[1, 1], valid[1, 1] = (4, -8), True
assert motion.arseg_motion_fill_holes(at(vectors), at(valid), size(3), size(4), at(filled)) == 0
assert (filled == (4, -8)).all(), "holes are filled with another vector"
record = np.zeros(40, np.uint8)
status = motion.arseg_motion_rasterize(at(record), size(1), 16, 12, at(filled), at(valid))
assert status == 1 and b"record 0: expected source < 0" in motion.arseg_motion_error(), "a wrong argument is taken"
"""
MODULE = """
import importlib.machinery, importlib.util, sys
name = sys.argv[2]
loader = importlib.machinery.ExtensionFileLoader(name, sys.argv[1])
module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
loader.exec_module(module)
"""
CALLS = {"arseg_ext._C": OPERATORS, "arseg._libmotion": MOTION, "arseg._hevc": MODULE}


def trouble(name: str, library: Path, environment: MutableMapping[str, str] | None = None) -> str | None:
    """Why a library that was built does not work, in a sentence; None if it does."""
    environment = os.environ if environment is None else environment
    flags = " ".join(environment.get(variable, "") for variable in NAMED_IN_FAILURES)
    if "-fsanitize=" in flags:
        return None  # it needs the sanitizer's library before Python starts
    command = [sys.executable, "-c", CALLS[name], str(library), name.rpartition(".")[2]]
    done = subprocess.run(command, cwd="/", env=dict(environment), capture_output=True, text=True)
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        how = f"calling it ends with {signal.Signals(-done.returncode).name}"
    else:
        lines = done.stderr.strip().splitlines()
        how = f"calling it fails: {lines[-1] if lines else f'exit code {done.returncode}'}"
    given = [f"{variable}={environment[variable]}" for variable in NAMED_IN_FAILURES if environment.get(variable)]
    advice = (
        f"The environment has {', '.join(given)}: build without, or with a compiler of the system, as CXX=/usr/bin/g++."
        if given
        else "Build with another compiler: CXX names it, as CXX=/usr/bin/g++."
    )
    return f"{library} was built, but {how}. {advice}"
