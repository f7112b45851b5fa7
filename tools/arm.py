"""Builds for 64-bit Arm with a cross compiler and runs it under qemu-user, where there is no such machine.

`python tools/arm.py [--torch] [--install]`, `make test-arm`. It needs Debian's or Ubuntu's g++-aarch64-linux-gnu and
qemu-user; --install has apt-get install what is missing. What is done in build/arm:

* the CPU kernels and the motion code with all their C++ tests, whose results are held to float64's;
* with --torch also the whole operator library, linked with PyPI's torch for aarch64, and tools/smoke.py on it: every
  operator and gradient against the oracle in float64. That downloads 2.7 GB (torch with its CUDA libraries), and
  Debian's Python for arm64; it takes 7 GB, which --keep keeps for the next time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "arm"
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
PACKAGES = {COMPILER: "g++-aarch64-linux-gnu", EMULATOR: "qemu-user"}
TORCH = "2.11.0"  # the oldest: what is linked with it loads in every later one
PYTHON = "3.11"
DEBIAN = "bookworm"  # has that Python
MIRROR = "http://deb.debian.org/debian"
GLIBC = (17, 18, 24, 25, 26, 27, 28)  # pip takes the tags that it is given and no older ones


def run(*command: object, **more: object) -> None:
    subprocess.run([str(word) for word in command], check=True, **more)  # type: ignore[call-overload]


def quietly(*command: object) -> None:
    """What it prints is shown where it fails."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n{command[0]} failed")


def tools(install: bool) -> None:
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if missing and install:
        run("apt-get", "update", "-qq", stdout=subprocess.DEVNULL)
        run("apt-get", "install", "-y", "-qq", *missing, stdout=subprocess.DEVNULL)
    elif missing:
        raise SystemExit(f"{' and '.join(missing)} is not installed: apt-get install {' '.join(missing)}")


def build(torch: Path | None) -> None:
    folder = Path(sys.executable).parent
    ninja, cmake = shutil.which("ninja", path=folder) or "ninja", shutil.which("cmake", path=folder) or "cmake"
    options = [f"-DARSEG_OPERATORS={'ON' if torch else 'OFF'}", *([f"-DARSEG_TORCH={torch}"] if torch else [])]
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={ROOT / 'tools' / 'aarch64.cmake'}"
    options += [toolchain, "-DARSEG_MOTION=OFF", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    quietly(cmake, "-S", ROOT, "-B", BUILD, "-G", "Ninja", "-UTORCH_CPU_LIBRARY", *options)
    quietly(cmake, "--build", BUILD, "--parallel", "2")
    run(Path(cmake).with_name("ctest") if "/" in cmake else "ctest", "--test-dir", BUILD, "--output-on-failure")


def torch_for_arm() -> Path:
    """A folder with torch, what it needs, and numpy."""
    folder, wheels = BUILD / "packages", BUILD / "wheels"
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "-d", wheels]
        pip += ["--only-binary=:all:", f"--python-version={PYTHON}", "--platform=manylinux2014_aarch64"]
        run(*pip, *(f"--platform=manylinux_2_{minor}_aarch64" for minor in GLIBC), f"torch=={TORCH}", "numpy")
        for wheel in wheels.glob("*.whl"):
            if not wheel.name.startswith("triton"):  # torch.compile's, for GPUs
                zipfile.ZipFile(wheel).extractall(folder)
        shutil.rmtree(wheels)
    return folder


def python_for_arm() -> Path:
    """A folder with Debian's Python for arm64, of which nothing is installed: dpkg and apt here stay as they are."""
    root, apt = BUILD / "root", BUILD / "apt"
    if not root.exists():
        for name in ("state/lists/partial", "cache/archives/partial"):
            (apt / name).mkdir(parents=True, exist_ok=True)
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        (apt / "sources.list").write_text(f"deb [signed-by={keyring}] {MIRROR} {DEBIAN} main\n", encoding="utf-8")
        settings = {
            "APT::Architecture": "arm64",
            "APT::Architectures": "arm64",
            "Dir::State": apt / "state",
            "Dir::State::status": os.devnull,
            "Dir::Cache": apt / "cache",
            "Dir::Etc::sourcelist": apt / "sources.list",
            "Dir::Etc::sourceparts": os.devnull,
            "Dir::Etc::preferences": os.devnull,
            "Dir::Etc::preferencesparts": os.devnull,
        }
        get = ["apt-get", "-qq", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]
        run(*get, "update")
        run(*get, "install", "-y", "--download-only", "--no-install-recommends", f"python{PYTHON}", "libstdc++6")
        for package in (apt / "cache" / "archives").glob("*.deb"):
            run("dpkg-deb", "-x", package, root)
    return root


def smoke(packages: Path, root: Path) -> None:
    """tools/smoke.py on the cross-compiled library, without what compiles: a C++ compiler would be emulated too."""
    package = BUILD / "package" / "arseg_ext"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(ROOT / "arseg_ext", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy2(BUILD / "_C.abi3.so", package)
    settings = [f"PYTHONHOME={root / 'usr'}", f"PYTHONPATH={package.parent}:{packages}"]
    python = [
        EMULATOR,
        "-L",
        root,
        *(word for one in settings for word in ("-E", one)),
        root / f"usr/bin/python{PYTHON}",
    ]
    run(*python, ROOT / "tools" / "smoke.py", "--operators", "--eager")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", action="store_true", help="also the operator library, with torch for aarch64")
    parser.add_argument("--install", action="store_true", help="install the compiler and the emulator with apt-get")
    parser.add_argument("--keep", action="store_true", help="keep torch and Python for aarch64 in build/arm")
    options = parser.parse_args()
    tools(options.install)
    try:
        packages = torch_for_arm() if options.torch else None
        build(packages / "torch" if packages else None)
        if packages:
            smoke(packages, python_for_arm())
    finally:
        if options.torch and not options.keep:
            shutil.rmtree(BUILD / "packages", ignore_errors=True)
            shutil.rmtree(BUILD / "root", ignore_errors=True)


if __name__ == "__main__":
    main()
