"""Runs tests with the oldest versions that pyproject.toml allows.

`python tests/package/floors.py [TEST...]`, `make test-floors`.

The lower bounds of all requirements, exactly, are installed into build/floors/packages, which comes before what is
installed already; what has no bound of ours (what they need themselves, pytest) stays as it is. Then

* the tests of the operators, models, data, video and the command line, with the libraries that are built: that the
  one built with a new torch runs in the oldest is what its stable ABI promises;
* a build with the oldest torch, pybind11 and setuptools, which calls what it built.

Some 600 MB are downloaded the first time; torch has its libraries for CUDA beside it, as they are installed. Not a part
of CI: it takes as long as the tests again.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "floors"
TESTS = (
    "tests/ops",
    "tests/networks",
    "tests/weights",
    "tests/acceleration",
    "tests/data",
    "tests/motion",
    "tests/video",
    "tests/cli",
)
EXTRAS = ("networks", "train")
WITH_THEIR_OWN = ("pydantic",)
"""Packages that take exactly one version of another one, which is installed with them."""
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)\s*(?:>=\s*(?P<floor>[0-9.]+))?\s*(?:;\s*(?P<marker>.+))?$")


def requirements(text: str) -> list[str]:
    """All that pyproject.toml asks for to build and to run, and of the extras what has a bound."""
    tables = tomllib.loads(text)
    extras = tables["project"]["optional-dependencies"]
    optional = [requirement for name in EXTRAS for requirement in extras[name] if ">=" in requirement]
    return [*tables["build-system"]["requires"], *tables["project"]["dependencies"], *optional]


def floors(asked: Iterable[str], python: tuple[int, int] = sys.version_info[:2]) -> dict[str, str]:
    """The lower bound of each requirement, by name; ValueError for one that has none."""
    found: dict[str, str] = {}
    for requirement in asked:
        match = REQUIREMENT.match(requirement)
        if match is None or match["floor"] is None:
            raise ValueError(f"pyproject.toml: {requirement!r} has no lower bound of the form NAME>=VERSION")
        before = re.fullmatch(r"python_version < '3\.(\d+)'", match["marker"] or "")
        if match["marker"] and before is None:
            raise ValueError(f"pyproject.toml: the marker of {requirement!r} is not known here")
        if before and python >= (3, int(before[1])):
            continue
        name = match["name"]
        if found.setdefault(name, match["floor"]) != match["floor"]:
            raise ValueError(f"pyproject.toml: {name} has the lower bounds {found[name]} and {match['floor']}")
    return found


def install(wanted: dict[str, str]) -> Path:
    """The packages in a folder of their own, installed once."""
    folder, note = BUILD / "packages", BUILD / "installed.txt"
    pins = [f"{name}=={floor}" for name, floor in sorted(wanted.items())]
    if not note.exists() or note.read_text(encoding="utf-8").split() != pins:
        BUILD.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--upgrade"]
        whole = [pin for pin in pins if pin.partition("==")[0] in WITH_THEIR_OWN]
        subprocess.run([*pip, "--target", folder, *whole], check=True)
        subprocess.run([*pip, "--no-deps", "--target", folder, *sorted({*pins} - {*whole})], check=True)
        note.write_text("\n".join(pins), encoding="utf-8")
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="*", default=TESTS, help="what pytest is to run")
    parser.add_argument("--no-build", action="store_true", help="leave out the build with the oldest versions")
    arguments = parser.parse_args()
    wanted = floors(requirements((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    folder = install(wanted)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    print(" ".join(f"{name} {floor}" for name, floor in sorted(wanted.items())), flush=True)
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments.tests]
    failed = subprocess.run(pytest, cwd=ROOT, env=environment).returncode
    if not arguments.no_build:
        build = [sys.executable, "setup.py", "-q", "build_ext", "--build-temp", BUILD / "objects"]
        build += ["--build-lib", BUILD / "library"]
        environment |= {"FORCE_CUDA": "0", "DEBUG": "1"}
        failed |= subprocess.run(build, cwd=ROOT, env=environment).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
