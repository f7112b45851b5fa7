"""Installs the wheel in fresh environments, one for each pair of Python and torch, and runs tools/smoke.py there.

`python tools/matrix.py [CELL...]`, `make test-matrix`; CELL is a Python, a torch or both, as 3.12, 2.11.0, 3.12-2.11.0.
The wheel is built once (`make wheel`) or named by --wheel. Exit code 1 if a cell fails; a cell that cannot be
installed here is told, and is no failure.

PyPI's torch for Linux needs gigabytes of CUDA libraries, which the CPU operators never call. Where the environment
that runs this has them, cells borrow them by a link, and a cell takes 2 GB instead of 6. --index asks another index for
torch, such as https://download.pytorch.org/whl/cpu.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "matrix"
OLDEST, MIDDLE, NEWEST = "2.11.0", "2.13.0", "2.14.1"
TORCHVISION = {OLDEST: "0.26.0", MIDDLE: "0.28.0", NEWEST: "0.29.1"}
CELLS = [  # Python, torch; the cheapest first
    ("3.11", MIDDLE + "+cpu"),
    ("3.10", OLDEST),
    ("3.11", OLDEST),
    ("3.12", OLDEST),
    ("3.13", OLDEST),
    ("3.10", NEWEST),
    ("3.11", NEWEST),
    ("3.12", NEWEST),
    ("3.13", NEWEST),
    ("3.14", NEWEST),
]
TORCH_CUDA = re.compile(r"Requires-Dist: (nvidia|cuda|triton).*\n")


class NotHere(Exception):
    """A cell that cannot be installed on this machine; the message says why."""


@dataclass
class Result:
    python: str
    torch: str
    outcome: str  # passed, failed, not here
    seconds: float
    details: str


def interpreter(version: str) -> str:
    """The path of a Python that runs; pyenv's are found where its shims are not set up too."""
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))]
    places = [str(path) for root in roots for path in sorted(root.glob(f"versions/{version}.*/bin/python"))]
    for place in [shutil.which(f"python{version}"), *reversed(places)]:
        if place and subprocess.run([place, "-c", "import venv"], capture_output=True).returncode == 0:
            return place
    raise NotHere(f"there is no python{version} here")


def cuda_libraries() -> Path | None:
    """The folder `nvidia` of the environment that runs this."""
    found = [Path(folder) / "nvidia" for folder in sys.path if (Path(folder) / "nvidia" / "cudnn").is_dir()]
    return found[0] if found else None


def pip(python: Path, *arguments: str) -> None:
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise NotHere("; ".join(lines[-1:]) or done.stderr[-300:])


def site_packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())


def install_torch(python: Path, version: str, index: str | None) -> None:
    where = ["--index-url", index] if index else []
    libraries = None if index or "+" in version else cuda_libraries()
    pip(python, "--no-deps", *where, f"torch=={version}")
    if libraries:
        packages = site_packages(python)
        (packages / "nvidia").symlink_to(libraries)
        (metadata,) = packages.glob("torch-*.dist-info/METADATA")
        metadata.write_text(TORCH_CUDA.sub("", metadata.read_text(encoding="utf-8")), encoding="utf-8")
    pip(python, *where, f"torch=={version}", *(["--extra-index-url", "https://pypi.org/simple"] if index else []))


def install_wheel(python: Path, wheel: Path, version: str, index: str | None) -> str:
    """What of the wheel's own is left out, in words."""
    number = version.partition("+")[0]
    local = "+" in version and not index
    constraints = python.parent.parent / "constraints.txt"
    pins = [f"torch=={version}"]
    if number in TORCHVISION:
        pins.append(f"torchvision=={TORCHVISION[number]}")
    constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", str(wheel)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    try:
        where = ["--extra-index-url", index] if index else []
        pip(python, *where, "-c", str(constraints), str(wheel))
    except NotHere as reason:
        return f"operators only: {reason}"
    # PyPI's torchvision is built for CUDA and does not load beside a torch of another index.
    return "operators only: no torchvision for a local build" if local else ""


def run_cell(python_version: str, torch_version: str, wheel: Path, options: argparse.Namespace) -> Result:
    started = time.monotonic()
    folder = BUILD / f"{python_version}-{torch_version}"
    shutil.rmtree(folder, ignore_errors=True)

    def result(outcome: str, details: str) -> Result:
        return Result(python_version, torch_version, outcome, time.monotonic() - started, details)

    try:
        base = interpreter(python_version)
        subprocess.run([base, "-m", "venv", folder], check=True)
        python = folder / "bin" / "python"
        install_torch(python, torch_version, options.index)
        left_out = install_wheel(python, wheel, torch_version, options.index)
        smoke = [python, "-P" if python_version != "3.10" else "-s", ROOT / "tools" / "smoke.py"]
        done = subprocess.run(
            [*smoke, *(["--operators"] if left_out else [])], cwd=folder, capture_output=True, text=True
        )
        if done.returncode:
            print(done.stdout + done.stderr, file=sys.stderr, flush=True)
            return result("failed", (done.stderr.strip().splitlines() or ["no message"])[-1])
        return result("passed", ", ".join(filter(None, [done.stdout.strip().replace("\n", ", "), left_out])))
    except NotHere as reason:
        return result("not here", str(reason))
    except RuntimeError as error:
        return result("failed", str(error))
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def newest_wheel() -> Path:
    found = sorted((ROOT / "dist").glob("arseg-*.whl"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise SystemExit("there is no dist/arseg-*.whl: run `make wheel` first, or name one with --wheel")
    return found[-1].resolve()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", nargs="*", help="only these: 3.12, 2.11.0 or 3.12-2.11.0")
    parser.add_argument("--wheel", type=Path, help="the wheel to install; else the newest in dist/")
    parser.add_argument("--index", help="where torch is taken from, instead of PyPI")
    parser.add_argument("--first", action="store_true", help="only the first cell that can be installed")
    parser.add_argument("--keep", action="store_true", help="keep the environments in build/matrix")
    options = parser.parse_args()
    wheel = options.wheel.resolve() if options.wheel else newest_wheel()
    wanted = set(options.cells)
    cells = [cell for cell in CELLS if not wanted or wanted & {*cell, "-".join(cell)}]
    if not cells:
        raise SystemExit(f"no cell is named {' or '.join(options.cells)}: {', '.join(map('-'.join, CELLS))}")
    BUILD.mkdir(parents=True, exist_ok=True)
    results = []
    for cell in cells:
        results.append(run_cell(*cell, wheel, options))
        print(f"{results[-1].outcome}: Python {cell[0]}, torch {cell[1]}", file=sys.stderr, flush=True)
        if options.first and results[-1].outcome != "not here":
            break
    print(f"\n{wheel.name}\n\n| Python | torch | outcome | s | |\n| --- | --- | --- | --- | --- |")
    for one in results:
        print(f"| {one.python} | {one.torch} | {one.outcome} | {one.seconds:.0f} | {one.details} |")
    return any(one.outcome == "failed" for one in results)


if __name__ == "__main__":
    sys.exit(main())
