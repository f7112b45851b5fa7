"""Builds the two compiled libraries: arseg_ext/_C (operators, torch's stable ABI) and arseg/_libmotion (no torch).

Neither links Python, so that one wheel serves every Python from 3.10 on.

Each library is called once it is built, in a process of its own, and the build fails where that does.

Environment: MAX_JOBS limits parallel compilers and NVCC_THREADS what each nvcc runs at a time, DEBUG=1 builds without
optimisation, FORCE_CUDA=1 builds with CUDA or not at all, also where there is no GPU, FORCE_CUDA=0 builds without it,
TORCH_CUDA_ARCH_LIST chooses GPU architectures, of all that nvcc knows, ARSEG_LINEINFO=1 keeps the source lines of
kernels (-lineinfo, the same code; for ncu --import-source), ARSEG_LIBDE265 names a source tree of libde265 and adds
arseg/_hevc, which is then under the LGPL-3 (docs/hevc.md).
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "csrc"))
import architectures  # noqa: E402
import preflight  # noqa: E402
import surroundings  # noqa: E402

MINIMUM_TORCH = (2, 11)
MINIMUM_LIBDE265 = (1, 1, 1)
TORCH_TARGET = "0x020b000000000000"  # 2.11: the library loads in this torch and every later one
NEEDS_NO_BUILD = {"sdist", "egg_info", "dist_info", "clean", "--version", "--name", "--help"}


def say(sentence: str) -> None:
    print(f"arseg: {sentence}", file=sys.stderr, flush=True)


def stop(sentence: str) -> None:
    raise SystemExit(f"arseg: {sentence}")


def version() -> str:
    text = (ROOT / "arseg_ext" / "_version.py").read_text(encoding="utf-8")
    return re.search(r'__version__ = "(.+)"', text).group(1)


def flag(name: str) -> bool | None:
    value = os.environ.get(name)
    return None if value is None or value == "" else value.lower() not in {"0", "off", "false", "no"}


def sources(pattern: str) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern))


def nvcc_threads() -> int:
    """Architectures that one nvcc compiles at a time: NVCC_THREADS, else as many as compilers may run, four at most."""
    given = os.environ.get("NVCC_THREADS") or min(4, int(os.environ.get("MAX_JOBS") or os.cpu_count() or 1))
    return max(1, int(given))


def import_torch():
    try:
        import torch
        from torch.utils import cpp_extension
    except ImportError:
        stop(
            "building needs torch, and it is not installed here. Install it first (pip install 'torch>=2.11'), or "
            "build without --no-build-isolation so that pip brings it."
        )
    found = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if found < MINIMUM_TORCH:
        stop(f"building needs torch 2.11 or newer, and {torch.__version__} is installed.")
    return torch, cpp_extension


def use_cuda(torch, cpp_extension, cuda_sources: list[str]) -> bool:
    wanted = flag("FORCE_CUDA")
    if wanted is False:
        say("FORCE_CUDA=0: building the CPU operators only.")
        return False
    if not cuda_sources:
        missing = "this version has no CUDA sources"
    elif torch.version.cuda is None:
        missing = f"torch {torch.__version__} is a build without CUDA"
    elif cpp_extension.CUDA_HOME is None:
        missing = "nvcc was not found (set CUDA_HOME)"
    elif not (wanted or os.environ.get("TORCH_CUDA_ARCH_LIST") or torch.cuda.is_available()):
        # Minutes of nvcc, for nothing if the library stays on this machine.
        missing = "there is no GPU here (FORCE_CUDA=1, or TORCH_CUDA_ARCH_LIST, builds for GPUs elsewhere)"
    else:
        trouble = preflight.nvcc_trouble(nvcc_of(cpp_extension), torch.__version__, torch.version.cuda)
        if trouble:
            stop(trouble)
        return True
    if wanted:
        stop(f"FORCE_CUDA=1, but {missing}.")
    say(f"building the CPU operators only: {missing}.")
    return False


def nvcc_of(cpp_extension) -> str:
    return str(Path(cpp_extension.CUDA_HOME) / "bin" / "nvcc")


def architecture_flags(torch, cpp_extension) -> list[str]:
    """Of TORCH_CUDA_ARCH_LIST; without it of the GPUs here, or of all that nvcc knows with FORCE_CUDA=1."""
    nvcc = nvcc_of(cpp_extension)
    known = architectures.known_to(nvcc)
    wanted = os.environ.get("TORCH_CUDA_ARCH_LIST", "").strip()
    if wanted and not re.match(r"[\d;, ]|sm_", wanted):  # names, such as Hopper, and "native": torch knows them
        return cpp_extension._get_cuda_arch_flags()
    if not wanted and torch.cuda.is_available() and not flag("FORCE_CUDA"):
        here = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
        newest = max(known, default=(99, 0))
        wanted = ";".join(f"{major}.{minor}" for major, minor in sorted(min(card, newest) for card in here)) + "+PTX"
    try:
        listed = architectures.entries(wanted or architectures.default(known, platform.machine()))
    except ValueError as error:
        stop(f"TORCH_CUDA_ARCH_LIST={wanted}: {error}.")
    unknown = architectures.unknown(listed, known)
    if unknown:
        names = ", ".join(f"{major}.{minor}" for major, minor in sorted(known))
        stop(f"TORCH_CUDA_ARCH_LIST={wanted}: {nvcc} does not know {', '.join(unknown)}; it knows {names}.")
    old = architectures.too_old(listed)
    listed = [entry for entry in listed if entry not in old]
    if old and not listed:
        stop(f"TORCH_CUDA_ARCH_LIST={wanted}: the kernels need 8.0 or newer. FORCE_CUDA=0 builds without CUDA.")
    if old:
        say(f"TORCH_CUDA_ARCH_LIST: {', '.join(old)} is left out, for the kernels need 8.0 or newer.")
    return architectures.flags(listed)


def cuda_library_folders(cuda_home: str) -> list[str]:
    """Where nvcc would link from: only it knows, since the one on the PATH may be a link or a script elsewhere."""
    nvcc = str(Path(cuda_home) / "bin" / "nvcc")
    done = subprocess.run([nvcc, "-dryrun", "-x", "cu", os.devnull, "-o", os.devnull], capture_output=True, text=True)
    line = re.search(r"^#\$ LIBRARIES=(.*)$", done.stderr, re.MULTILINE)
    folders = [word.removeprefix("-L") for word in shlex.split(line.group(1))] if line else []
    return [os.path.realpath(folder) for folder in folders if not folder.endswith("stubs")]


def stripped(debug: bool) -> list[str]:
    return [] if debug or sys.platform == "darwin" else ["-Wl,-s"]


def operators(torch, cpp_extension, debug: bool) -> Extension:
    cuda_sources = sources("csrc/*/cuda.cu")
    with_cuda = use_cuda(torch, cpp_extension, cuda_sources)
    optimise = ["-O0", "-g", "-DARSEG_DEBUG"] if debug else ["-O3", "-g0"]
    shown = " ".join(optimise)
    defines = [
        f"-DTORCH_TARGET_VERSION={TORCH_TARGET}",
        f'-DARSEG_VERSION="{version()}"',
        f'-DARSEG_FLAGS="{shown}"',
        f'-DARSEG_BUILD_TORCH="{torch.__version__}"',
    ]
    targets = architecture_flags(torch, cpp_extension) if with_cuda else []
    if with_cuda:
        listed = architectures.of_flags(targets)
        say(f"building for CUDA architectures {' '.join(listed)}.")
        defines += ["-DARSEG_WITH_CUDA", f'-DARSEG_CUDA_ARCHITECTURES="{" ".join(listed)}"']
    cxx = ["-std=c++20", *optimise, "-fvisibility=hidden", "-Wall", *defines, *surroundings.compile_flags()]
    cxx.append("-ffp-contract=fast")
    nvcc = ["-std=c++20", "-O0" if debug else "-O3", *(["-G", "-g"] if debug else []), *defines]
    nvcc += [f"--threads={nvcc_threads()}", *targets]
    if flag("ARSEG_LINEINFO") and not debug:
        nvcc.append("-lineinfo")
    nvcc.append("-Xcompiler=-fvisibility=hidden")
    # Of CUDA's runtime, which is linked in, nothing is seen either: torch has its own.
    link = [*surroundings.link_flags(optimise), *stripped(debug)]
    kind = cpp_extension.CUDAExtension if with_cuda else cpp_extension.CppExtension
    extension = kind(
        "arseg_ext._C",
        [
            "csrc/registration.cpp",
            *sources("csrc/common/*.cpp"),
            *sources("csrc/cpu/*.cpp"),
            *sources("csrc/*/cpu.cpp"),
            *(cuda_sources if with_cuda else []),
        ],
        depends=[*sources("csrc/*/*.h"), *sources("csrc/*/*.inc"), *sources("csrc/*/*.cuh")],
        extra_compile_args={"cxx": cxx, "nvcc": nvcc},
        extra_link_args=link,
        py_limited_api=True,
    )
    # The stable ABI is in libtorch_cpu; the CUDA runtime is linked in, so that any CUDA build of torch will do.
    extension.libraries = ["torch_cpu"]
    if with_cuda:
        extension.libraries += ["cudart_static", "rt", "dl", "pthread"]
        extension.library_dirs += cuda_library_folders(cpp_extension.CUDA_HOME)
    return extension


def motion(debug: bool) -> list[Extension]:
    """The motion library: its boundary is C, and ctypes loads it."""
    if not (ROOT / "csrc" / "motion").is_dir():  # arseg-ext
        return []
    return [
        plain_extension(
            "arseg._libmotion",
            debug,
            sources("csrc/motion/*.cpp"),
            depends=sources("csrc/motion/*.h"),
            py_limited_api=True,
        )
    ]


def plain_extension(name: str, debug: bool, files: list[str], **more) -> Extension:
    """A library without torch."""
    optimise = ["-O0", "-g"] if debug else ["-O3", "-g0"]
    return Extension(
        name,
        files,
        language="c++",
        extra_compile_args=[*optimise, "-std=c++17", "-fvisibility=hidden", "-Wall", *surroundings.compile_flags()],
        extra_link_args=[*surroundings.link_flags(optimise), *stripped(debug)],
        **more,
    )


def libde265(tree: Path) -> str:
    """Version of a source tree, such as "1.1.1"."""
    if not tree.is_dir():
        stop(f"ARSEG_LIBDE265={tree} is not a folder: give the source tree of libde265.")
    cmake = tree / "CMakeLists.txt"
    text = cmake.read_text(encoding="utf-8", errors="replace") if cmake.exists() else ""
    found = re.search(r"project\s*\(\s*libde265\b[^)]*?VERSION\s+(\d+)\.(\d+)\.(\d+)", text)
    if not found or not (tree / "libde265" / "decctx.h").exists():
        stop(f"ARSEG_LIBDE265={tree} is not a source tree of libde265 (an installed library has no private headers).")
    number = tuple(map(int, found.groups()))
    if number < MINIMUM_LIBDE265:
        stop(f"ARSEG_LIBDE265={tree} is libde265 {'.'.join(found.groups())}, and 1.1.1 or newer is needed.")
    return ".".join(found.groups())


def hevc(debug: bool) -> list[Extension]:
    if not (ROOT / "csrc" / "hevc").is_dir():  # arseg-ext
        return []
    place = os.environ.get("ARSEG_LIBDE265")
    if not place:
        # A wheel takes whatever an earlier build left there, and this must not get into one unasked.
        for left in ROOT.glob("build/lib*/arseg/_hevc.*"):
            left.unlink()
        return []
    tree = Path(place).expanduser().resolve()
    number = libde265(tree)
    try:
        import pybind11
    except ImportError:
        stop("ARSEG_LIBDE265 needs pybind11, and it is not installed here. Install it first: pip install pybind11")
    say(f"building arseg._hevc with libde265 {number}: that module is under the LGPL-3, see docs/hevc.md.")
    # The one header that libde265 has its own build write.
    generated = ROOT / "build" / "hevc"
    header = generated / "libde265" / "de265-version.h"
    digits = "".join(f"{int(part):02d}" for part in number.split("."))
    text = f'#define LIBDE265_NUMERIC_VERSION 0x{digits}00\n#define LIBDE265_VERSION "{number}"\n'
    if not header.exists() or header.read_text(encoding="utf-8") != text:
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text(text, encoding="utf-8")
    return [
        plain_extension(
            "arseg._hevc",
            debug,
            # Without its SIMD kernels: they make samples, which vectors do not need.
            [*sources("csrc/hevc/*.cpp"), *sorted(map(str, (tree / "libde265").glob("*.cc")))],
            depends=[*sources("csrc/hevc/*.h"), "csrc/motion/field.h"],
            include_dirs=[pybind11.get_include(), str(generated), str(tree), str(tree / "libde265")],
            define_macros=[("HAVE_POSIX_MEMALIGN", "1"), ("LIBDE265_STATIC_BUILD", None), ("DE265_LOG_ERROR", None)],
            libraries=["pthread"],
        )
    ]


def build_and_call(build_extension: type) -> type:
    """torch's build_ext, and a call of each library after it."""

    class BuildAndCall(build_extension):
        def run(self) -> None:
            for trouble in (preflight.compiler_trouble(), preflight.ninja_trouble()):
                if trouble:
                    stop(trouble)
            with preflight.FirstError() as first:
                try:
                    super().run()
                    failure = None
                except Exception as error:  # of ninja, of the linker: what they printed says more than their traceback
                    failure = str(error).strip().splitlines()[0]
            if failure:
                stop(f"the build fails. The first error, also above: {first.line or failure}")
            for extension in self.extensions:
                trouble = surroundings.trouble(extension.name, Path(self.get_ext_fullpath(extension.name)).resolve())
                if trouble:
                    stop(trouble)

    return BuildAndCall


def build_arguments() -> dict:
    if NEEDS_NO_BUILD & set(sys.argv[1:]):
        return {}
    trouble = preflight.platform_trouble()
    if trouble:
        stop(trouble)
    torch, cpp_extension = import_torch()
    debug = bool(flag("DEBUG"))
    preflight.find_ninja()
    for sentence in surroundings.prepare(os.environ, ROOT / "build" / "compilers"):
        say(sentence)
    return {
        "ext_modules": [operators(torch, cpp_extension, debug), *motion(debug), *hevc(debug)],
        "cmdclass": {"build_ext": build_and_call(cpp_extension.BuildExtension)},
    }


def wheel_options() -> dict:
    """One wheel for every Python; arseg._hevc is for the Python at hand, and so is what free-threaded ones build."""
    if os.environ.get("ARSEG_LIBDE265") or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return {}
    return {"bdist_wheel": {"py_limited_api": "cp310"}}


setup(version=version(), options=wheel_options(), **build_arguments())
