"""Builds the CUDA sources for the CPU, on the emulator of this folder: no nvcc, no CUDA headers.

`load()` gives the operators to Python. From the shell: `python tests/emulator/emulator_build.py [TARGET...]`, where a
target is `arseg_emulated.so`, or `selftest-KIND` or `standalone-KIND` with a kind of `plain`, `asan` (and the sanitizer
of undefined behaviour) and `tsan`. Only what changed is built again; MAX_JOBS limits parallel compilers, CXX names the
compiler.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "emulator"
LIBRARY = "arseg_emulated.so"
TORCH_TARGET = "0x020b000000000000"  # as in setup.py
RUNTIME = ("runtime.cpp", "collectives.cpp")
# Fused multiply-add as nvcc does it. Unused: kernels of which a program launches only some.
COMMON = "-std=c++20 -Wall -Wextra -Wno-unused-function -fPIC -fno-omit-frame-pointer -ffp-contract=fast"
# The runtime's few thread-local pointers, read at every threadIdx.
COMMON += " -ftls-model=initial-exec"


@dataclass(frozen=True)
class Kind:
    """How the kernels are compiled. The runtime never has a sanitizer, but knows of it."""

    flags: str
    runtime_flags: str
    link_flags: str


KINDS = {
    "plain": Kind("-O2 -g1", "", ""),
    "asan": Kind(
        "-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=undefined",
        "-DARSEG_EMULATOR_ASAN",
        "-fsanitize=address,undefined",
    ),
    "tsan": Kind("-O1 -g1 -fsanitize=thread", "-DARSEG_EMULATOR_TSAN", "-fsanitize=thread"),
}
PROGRAMS = {"selftest": HERE / "selftest.cu", "standalone": HERE / "standalone" / "main.cu"}


def machine_flags() -> str:
    """AVX2, FMA and the conversions of float16 where the machine has them: the products are several times faster."""
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    has = set(cpu.split())
    return "-march=x86-64-v3" if platform.machine() == "x86_64" and {"avx2", "fma", "f16c", "bmi2"} <= has else ""


def compiler() -> str:
    return os.environ.get("CXX", "g++")


def kernel_flags(sources: Path = ROOT / "csrc") -> str:
    return f"{COMMON} {machine_flags()} -DARSEG_EMULATOR -I{HERE} -I{sources} -I{ROOT / 'tests' / 'cpp'}"


def jobs() -> str:
    return os.environ.get("MAX_JOBS", str(os.cpu_count() or 1))


def ninja() -> str:
    beside = Path(sys.executable).parent / "ninja"
    found = str(beside) if beside.exists() else shutil.which("ninja")
    if found is None:
        raise RuntimeError("the emulator is built with ninja, which is among the requirements.txt")
    return found


class Rules:
    """A build.ninja."""

    def __init__(self) -> None:
        self.lines = [
            "ninja_required_version = 1.5",
            "rule compile",
            "  command = $cxx $flags -MMD -MF $out.d -x c++ -c $in -o $out",
            "  depfile = $out.d",
            "  deps = gcc",
            "  description = $out",
            "rule link",
            "  command = $cxx $in $flags -o $out",
            "  description = $out",
            f"cxx = {compiler()}",
        ]

    def compile(self, source: Path, target: str, flags: str) -> str:
        self.lines += [f"build {target}: compile {source}", f"  flags = {flags}"]
        return target

    def link(self, target: str, objects: list[str], flags: str) -> None:
        self.lines += [f"build {target}: link {' '.join(objects)}", f"  flags = {flags}"]

    def runtime(self, kind: str) -> list[str]:
        flags = f"{COMMON} -O3 -g1 {machine_flags()} {KINDS[kind].runtime_flags}"
        return [self.compile(HERE / name, f"{kind}/{Path(name).stem}.o", flags) for name in RUNTIME]


def library_rules(rules: Rules, runtime: list[str]) -> None:
    import torch
    from torch.utils import cpp_extension

    includes = " ".join(f"-isystem {path}" for path in cpp_extension.include_paths())
    flags = (
        f"{kernel_flags()} -O2 -g1 -DARSEG_NAMESPACE=arseg_emulated -DTORCH_TARGET_VERSION={TORCH_TARGET} {includes}"
    )
    flags += f" -D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    sources = [ROOT / "csrc" / "registration.cpp", *sorted(ROOT.glob("csrc/*/cuda.cu"))]
    objects = [
        rules.compile(source, "library/" + "_".join(source.relative_to(ROOT).with_suffix(".o").parts), flags)
        for source in sources
    ]
    libraries = cpp_extension.library_paths()[0]
    rules.link(
        LIBRARY,
        objects + runtime,
        f"-shared -Wl,--no-undefined -L{libraries} -ltorch_cpu -lpthread -Wl,-rpath,{libraries}",
    )


def write_rules() -> None:
    rules = Rules()
    for kind, how in KINDS.items():
        runtime = rules.runtime(kind)
        for program, source in PROGRAMS.items():
            if not source.exists():
                continue
            sources = [source, *sorted(path for path in source.parent.glob("*.cu") if program == "standalone")]
            objects = [
                rules.compile(each, f"{kind}/{program}_{each.stem}.o", f"{kernel_flags()} {how.flags}")
                for each in dict.fromkeys(sources)
            ]
            rules.link(f"{program}-{kind}", objects + runtime, f"{how.link_flags} -lpthread")
        if kind == "plain":
            library_rules(rules, runtime)
    text = "\n".join(rules.lines) + "\n"
    path = BUILD / "build.ninja"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def run_ninja(folder: Path, *targets: str, rules: str = "build.ninja") -> None:
    command = [ninja(), "-C", str(folder), "-f", rules, "-j", jobs(), *targets]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"the emulator could not be built:\n{done.stdout}{done.stderr}")


def build(*targets: str) -> list[Path]:
    """Brings the targets up to date and returns where they are; another process that builds is waited for."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # One file of rules for all targets: the objects of a target left out of it would be built again.
        write_rules()
        run_ninja(BUILD, *targets)
    return [BUILD / target for target in targets]


def load() -> Any:
    """torch.ops.arseg_emulated: the operators with the CUDA kernels, for tensors on the CPU."""
    import torch

    (library,) = build(LIBRARY)
    # A failure becomes a RuntimeError with the emulator's report, that pytest can show.
    os.environ.setdefault("ARSEG_EMULATOR_FAILURE", "throw")
    torch.ops.load_library(str(library))
    return torch.ops.arseg_emulated


def counters() -> dict[str, int]:
    """What the kernels did since the last call (runtime.h says what each counter is)."""
    import ctypes

    names = ("mma", "ldmatrix", "ldmatrix_conflicts", "copy_bytes", "barriers", "shuffles", "atomics", "blocks")
    names += ("shared_bytes", "steps")
    values = (ctypes.c_uint64 * len(names))()
    ctypes.CDLL(str(BUILD / LIBRARY)).arseg_emulator_counters(values)
    return dict(zip(names, values, strict=True))


if __name__ == "__main__":
    for built in build(*(sys.argv[1:] or [LIBRARY])):
        print(built)
