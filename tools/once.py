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
import os
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
        tools: compilers whose version counts; "python" for this one; "vectors", or one of them, of the processor;
            "gpu": whether there is one.
    """

    paths: tuple[str, ...]
    tools: tuple[str, ...] = ("g++",)


class Passed(TypedDict):
    """A digest of the files, and where they passed: versions, and seconds that it took there."""

    files: str
    on: dict[str, int]


BUILT = ("csrc", "tests/cpp", "CMakeLists.txt", "arseg_ext/_version.py", "requirements.txt")
EMULATED = ("csrc", "tests/cpp", "tests/emulator", "requirements.txt")
PACKAGE = "tests/package/"
TARGETS = {
    "test-operators": Inputs(
        (
            *("csrc", "arseg_ext", "setup.py", "pyproject.toml", "requirements.txt", "CMakeLists.txt"),
            *(f"tests/{name}" for name in ("cpp", "ops", "emulator", "compat", "profiler", "conftest.py")),
            *(f"tests/helpers/{name}.py" for name in ("op_samples", "sharded_case", "texture_fixtures")),
            "tests/fixtures/oracle_operators.npz",
        ),
        ("g++", "python", "vectors", "gpu"),
    ),
    "sanitize": Inputs(BUILT, ("g++", "vectors")),
    "emulate": Inputs(EMULATED, ("g++", "avx2")),
    "mutate": Inputs(EMULATED, ("g++", "avx2")),
    "nvcc-check": Inputs(
        (
            *("csrc", "setup.py", "pyproject.toml", "requirements.txt", "arseg_ext", "tests/emulator"),
            *(f"{PACKAGE}{name}.py" for name in ("check_nvcc", "sass", "sass_budget")),
            *(f"{PACKAGE}{name}.csv" for name in ("kernel_budgets", "instruction_budgets")),
        ),
        ("g++", "nvcc"),
    ),
    "cpu-budget": Inputs(("csrc", "tests/cpp", f"{PACKAGE}cpu_budget.py", f"{PACKAGE}cpu_budgets.csv")),
    "test-arm": Inputs((*BUILT, "tools/arm.py", "tools/aarch64.cmake")),
}
"""The compiler for Arm and qemu are of the same distribution as g++, and are often installed by the target itself."""

RULES = {"test-operators": ("test-operators", "test-cpp")}
"""Of the Makefile, of which a target has the recipes, where they are more than its own."""


def digest_of(target: str, paths: Iterable[str], root: Path) -> str | None:
    """Of the Makefile's variables and the target's rules, and of the files that git has, or would take, under `paths`.

    None: git does not tell.
    """
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    rules = [rf"^{re.escape(rule)}:.*(?:\n\t.*)*" for rule in RULES.get(target, (target,))]
    digest = hashlib.sha256()
    for pattern in (r"^\w+ [:?]?= .*", *rules):
        digest.update("\n".join(re.findall(pattern, makefile, re.MULTILINE)).encode())
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z", "--", *paths]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if listed.returncode:
        print(f"every target runs, for git does not list the files: {listed.stderr.strip()}", file=sys.stderr)
        return None
    for name in sorted({name for name in listed.stdout.split("\0") if name and (root / name).is_file()}):
        content = (root / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:20]


def machine_of(tools: Iterable[str]) -> str:
    """Architecture and versions, such as "x86_64, g++ 12.2.0, avx2"."""
    found = [platform.machine()]
    for tool in tools:
        if tool == "python":
            found.append("Python {}.{}".format(*sys.version_info))
        elif tool == "gpu":
            found += ["GPU"] if Path("/dev/nvidia0").exists() else []
        elif tool in ("vectors", *VECTORS):
            flags = Path("/proc/cpuinfo")
            has = set(flags.read_text(encoding="utf-8").split()) if flags.exists() else set()
            found += [name for name in VECTORS if name in has and tool in ("vectors", name)]
        else:
            found.append(version_of(tool))
    return ", ".join(found)


def version_of(tool: str) -> str:
    """Of g++, or of the compiler that CXX names in its place; of nvcc, with CUDA_HOME before the PATH."""
    compiler = os.environ.get("CXX", "") if tool == "g++" else ""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    programs = [f"{home}/bin/nvcc", "nvcc"] if tool == "nvcc" else [compiler or tool]
    for program in programs:
        try:
            said = subprocess.run([*program.split(), "--version"], capture_output=True, text=True).stdout
        except OSError:
            continue
        numbers = re.findall(r"V(\d+\.\d+\.\d+)" if tool == "nvcc" else r"\d+\.\d+(?:\.\d+)?", said)
        return f"{compiler or tool} {numbers[0] if numbers else said.strip()}"
    return f"no {tool}"


def run(lines: Iterable[str], root: Path, everything: bool = False, record: bool = False) -> int:
    """make's exit code, or 0; stops at the first target that fails."""
    path = root / ".ci" / "passed.json"
    known: dict[str, Passed] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for line in lines:
        target, *variables = line.split()
        if target not in TARGETS:
            print(f"{target}: expected one of {', '.join(TARGETS)}", file=sys.stderr)
            return 2
        # With other variables a target does other things; installing what is missing is none.
        name = " ".join([target, *(word for word in variables if not word.endswith("=--install"))])
        files, machine = digest_of(target, TARGETS[target].paths, root), machine_of(TARGETS[target].tools)
        passed = known.get(name)
        if passed is None or passed["files"] != files:
            passed = Passed(files=files or "", on={})
        if files and machine in passed["on"] and not everything:
            print(f"make {name}: passed on these files before ({machine}), in {passed['on'][machine]} s", flush=True)
            continue
        started = time.monotonic()
        code = subprocess.run(["make", target, *variables], cwd=root).returncode
        if code:
            print(f"make {name}: failed", file=sys.stderr)
            passed["on"].pop(machine, None)
        else:
            passed["on"][machine] = round(time.monotonic() - started)
            print(f"make {name}: passed in {passed['on'][machine]} s ({machine})", flush=True)
        if record and files:
            known[name] = passed
            if not passed["on"]:
                del known[name]
            path.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        if code:
            return code
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
