"""Whether a build can work here, in a sentence each, and the first error of one that did not: for setup.py."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, MutableMapping

# What the sources ask for first; GCC 10 names an earlier year for it.
CPP20 = """
#include <concepts>
#include <span>
static_assert(__cplusplus >= 201709L);
template <std::integral T> T twice(T x) { return 2 * x; }
int main() { return twice(0); }
"""


def platform_trouble(platform: str = sys.platform) -> str | None:
    if platform in {"win32", "cygwin", "msys"}:
        return "Windows is not supported: build in WSL 2 (https://learn.microsoft.com/windows/wsl), which is Linux."
    if not platform.startswith(("linux", "darwin")):
        return f"{platform} is not supported: the operators are built on Linux, and on macOS for the CPU."
    return None


def compiler_trouble(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> str | None:
    """Where there is no C++20 compiler."""
    named = environment.get("CXX", "")
    command = shlex.split(named) or ["c++"]
    advice = (
        "Install one (xcode-select --install)"
        if platform == "darwin"
        else "Install one (Debian and Ubuntu: apt install g++; Fedora: dnf install gcc-c++)"
    )
    if shutil.which(command[0], path=environment.get("PATH")) is None:
        what = f"CXX={named} names no program" if named else "there is no C++ compiler: c++ was not found"
        return f"{what}. {advice}, or name one: CXX=/usr/bin/g++."
    try:
        done = subprocess.run(
            [*command, "-std=c++20", "-fsyntax-only", "-x", "c++", "-"],
            input=CPP20,
            capture_output=True,
            text=True,
            env=dict(environment),
        )
    except OSError as error:
        return f"the C++ compiler {shlex.join(command)} cannot be run ({error.strerror}). {advice}, or name one in CXX."
    if done.returncode == 0:
        return None
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, env=dict(environment))
    name = (version.stdout.splitlines() or [shlex.join(command)])[0]
    line = next((line for line in done.stderr.splitlines() if "error" in line), "")
    return (
        f"the C++ compiler {shlex.join(command)} ({name}) does not compile C++20{f': {line.strip()}' if line else ''}. "
        "Needed is g++ 10, clang 13 or newer: CXX names another one."
    )


def find_ninja(environment: MutableMapping[str, str] = os.environ, scripts: str | None = None) -> None:
    """Puts the ninja beside this Python on the PATH where there is none: an environment need not be activated."""
    folder = scripts or os.path.dirname(sys.executable)
    path = environment.get("PATH", os.defpath)
    if not shutil.which("ninja", path=path) and shutil.which("ninja", path=folder):
        environment["PATH"] = f"{path}{os.pathsep}{folder}"


def ninja_trouble(environment: Mapping[str, str] = os.environ) -> str | None:
    if shutil.which("ninja", path=environment.get("PATH")):
        return None
    return "building needs ninja, and it is not on the PATH. Install it first: pip install ninja"


def nvcc_trouble(nvcc: str, torch_version: str, torch_cuda: str) -> str | None:
    """Where nvcc is of another generation than torch's CUDA, which torch does not take."""
    try:
        done = subprocess.run([nvcc, "--version"], capture_output=True, text=True)
    except OSError as error:
        return (
            f"nvcc cannot be run: {nvcc} ({error.strerror}). CUDA_HOME names another CUDA, FORCE_CUDA=0 builds without."
        )
    found = re.search(r"release (\d+)\.(\d+)", done.stdout)
    if found is None:
        return f"{nvcc} --version names no release. CUDA_HOME names another CUDA, FORCE_CUDA=0 builds without."
    if found[1] == torch_cuda.split(".")[0]:
        return None
    return (
        f"{nvcc} is of CUDA {found[1]}.{found[2]}, and torch {torch_version} of CUDA {torch_cuda}: the first number "
        "must be the same. CUDA_HOME names another CUDA, FORCE_CUDA=0 builds without."
    )


ERROR = re.compile(r"\berror\b( C?\d+)?:|undefined reference|No space left|\bKilled\b", re.IGNORECASE)
FOLLOWING = ("ninja: ", "FAILED: ", "error: command")


class FirstError:
    """Passes on what is printed to standard output, by compilers too, and remembers the first line with an error."""

    def __init__(self) -> None:
        self.line: str | None = None

    def __enter__(self) -> FirstError:
        sys.stdout.flush()
        self._real = os.dup(1)
        reading, writing = os.pipe()
        os.dup2(writing, 1)
        os.close(writing)
        self._thread = threading.Thread(target=self._pass_on, args=(reading,))
        self._thread.start()
        return self

    def _pass_on(self, reading: int) -> None:
        with os.fdopen(reading, "rb") as pipe:
            for raw in iter(pipe.readline, b""):
                text = raw.decode(errors="replace").strip()
                # A command line that ninja repeats may hold the word.
                if self.line is None and len(text) < 1000 and ERROR.search(text) and not text.startswith(FOLLOWING):
                    self.line = text
                view = memoryview(raw)
                while view:
                    view = view[os.write(self._real, view) :]

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        os.dup2(self._real, 1)
        self._thread.join()
        os.close(self._real)
