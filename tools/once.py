"""Runs those of make's targets that have not passed yet on the files that they depend on.

    python tools/once.py [--all] [--record] TARGET...        # TARGET: such as mutate, or "cpu-budget BUDGET=--install"

What a target's outcome depends on is listed below: files of the repository, versions of compilers and, where code is
chosen by the processor, its vectors. Where nothing of that changed since it passed it is not run again, as CI systems
choose jobs by paths. That it passed is in `.ci/passed.json`, which `--record` writes after a run; commit it with the
change that it is of. `--all` runs every target given.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ("avx2", "avx512f", "avx512_bf16")


@dataclass(frozen=True)
class Inputs:
    """What the outcome of a target depends on, beside its lines in the Makefile.

    Attributes:
        paths: files and folders of the repository.
        tools: programs whose version counts, "python" this one; "vectors": those of the processor.
    """

    paths: tuple[str, ...]
    tools: tuple[str, ...] = ("g++",)


class Passed(TypedDict):
    """A digest of the files, and where they passed: versions, and seconds that it took there."""

    files: str
    on: dict[str, int]


PACKAGE = "tests/package/"
TARGETS = {
    "test-operators": Inputs(
        (
            *("csrc", "arseg_ext", "setup.py", "pyproject.toml", "requirements.txt", "CMakeLists.txt"),
            *(f"tests/{name}" for name in ("cpp", "ops", "emulator", "compat", "profiler", "conftest.py")),
            *(f"tests/helpers/{name}.py" for name in ("op_samples", "sharded_case", "texture_fixtures")),
            "tests/fixtures/oracle_operators.npz",
        ),
        ("g++", "python", "vectors"),
    ),
    "sanitize": Inputs(("csrc", "tests/cpp", "CMakeLists.txt"), ("g++", "vectors")),
    "emulate": Inputs(("csrc", "tests/emulator", "tests/cpp")),
    "mutate": Inputs(("csrc", "tests/emulator", "tests/cpp")),
    "nvcc-check": Inputs(
        (
            *("csrc", "setup.py", "arseg_ext", "requirements.txt", "tests/emulator/kernel_traits.py"),
            *(f"{PACKAGE}{name}" for name in ("check_nvcc.py", "sass.py", "sass_budget.py")),
            *(f"{PACKAGE}{name}.csv" for name in ("kernel_budgets", "instruction_budgets")),
        ),
        ("g++", "nvcc"),
    ),
    "cpu-budget": Inputs(("csrc", "tests/cpp", f"{PACKAGE}cpu_budget.py", f"{PACKAGE}cpu_budgets.csv")),
    "test-arm": Inputs(("csrc", "tests/cpp", "CMakeLists.txt", "tools/arm.py", "tools/aarch64.cmake")),
}


def digest_of(target: str, paths: Iterable[str], root: Path) -> str:
    """Of the target's lines and of the files that git has, or would take, under `paths`."""
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    lines = re.search(rf"^{re.escape(target)}:.*(?:\n\t.*)*", makefile, re.MULTILINE)
    digest = hashlib.sha256((lines[0] if lines else "").encode())
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z", "--", *paths]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    for name in sorted({name for name in listed.split("\0") if name and (root / name).is_file()}):
        content = (root / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:20]


def machine_of(tools: Iterable[str]) -> str:
    """Architecture and versions, such as "x86_64, g++ 12.2.0, avx2"."""
    found = [platform.machine()]
    for tool in tools:
        if tool == "python":
            found.append(f"Python {platform.python_version()}")
        elif tool == "vectors":
            flags = Path("/proc/cpuinfo")
            has = set(flags.read_text(encoding="utf-8").split()) if flags.exists() else set()
            found += [name for name in VECTORS if name in has]
        else:
            found.append(f"{tool} {version_of(tool)}")
    return ", ".join(found)


def version_of(tool: str) -> str:
    for program in (tool, f"/usr/local/cuda/bin/{tool}"):
        try:
            said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
        except OSError:
            continue
        numbers = re.findall(r"\d+\.\d+(?:\.\d+)?", said)
        return numbers[-1] if tool == "nvcc" else numbers[0]
    return "none"


def run(lines: Iterable[str], root: Path, everything: bool = False, record: bool = False) -> int:
    """make's exit code, or 0; stops at the first target that fails."""
    path = root / ".ci" / "passed.json"
    known: dict[str, Passed] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for line in lines:
        target, *variables = line.split()
        if target not in TARGETS:
            print(f"{target}: expected one of {', '.join(TARGETS)}", file=sys.stderr)
            return 2
        files, machine = digest_of(target, TARGETS[target].paths, root), machine_of(TARGETS[target].tools)
        passed = known.get(target)
        if passed is None or passed["files"] != files:
            passed = Passed(files=files, on={})
        if machine in passed["on"] and not everything:
            print(f"make {target}: passed on these files before ({machine}), in {passed['on'][machine]} s", flush=True)
            continue
        started = time.monotonic()
        code = subprocess.run(["make", target, *variables], cwd=root).returncode
        if code:
            print(f"make {target}: failed", file=sys.stderr)
            return code
        passed["on"][machine] = round(time.monotonic() - started)
        print(f"make {target}: passed in {passed['on'][machine]} s ({machine})", flush=True)
        if record:
            known[target] = passed
            path.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="such as mutate, or 'cpu-budget BUDGET=--install'")
    parser.add_argument("--all", action="store_true", help="run what has passed, too")
    parser.add_argument("--record", action="store_true", help="write what passes into .ci/passed.json")
    arguments = parser.parse_args()
    return run(arguments.targets, ROOT, arguments.all, arguments.record)


if __name__ == "__main__":
    sys.exit(main())
