"""Holds the instructions of the CPU kernels, those of a pixel, to the table cpu_budgets.csv.

    python tests/package/cpu_budget.py [TARGET ...] [--install] [--write]

Counts need no quiet machine, and say nothing of caches. qemu-user runs tests/cpp/count_kernels.cpp, compiled as the
operators are, and logs what is executed: of the plain and AVX2 targets on x86-64 and of the plain one on 64-bit Arm
(it knows no AVX-512). Maps have 64 channels, windows 7 x 7. Counted is what six more rows of 64 pixels take, so that
nothing of a start is in it.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from csrc.surroundings import compile_flags  # noqa: E402

TABLE = Path(__file__).with_name("cpu_budgets.csv")
COMPILER = 12  # the version of g++ whose counts are in the table
SLACK, SLACK_OF_OTHER_COMPILERS = 0.03, 0.15
ROWS = (6, 12)  # whole blocks of query rows
WIDTH = 64  # of the maps of count_kernels.cpp

DTYPES = ("float32", "bfloat16", "float16", "float64")
KERNELS = [
    *(f"{kernel} {dtype}" for kernel in ("local_attention", "mv_warp") for dtype in DTYPES),
    *(
        f"{kernel} float32"
        for kernel in ("creff", "creff_labels", "backward_query", "backward_key", "flow_warp", "to_channels_last")
    ),
]


@dataclass(frozen=True)
class Target:
    """What is counted: the kernels of one source in csrc/cpu, for one kind of processor."""

    source: str
    machine: str
    compiler: str
    emulator: tuple[str, ...]


X86 = ("x86_64", "g++", ("qemu-x86_64", "-cpu", "max"))
TARGETS = {
    "plain": Target("plain", *X86),
    "avx2": Target("avx2", *X86),
    "plain-arm64": Target("plain", "aarch64", "aarch64-linux-gnu-g++", ("qemu-aarch64",)),
}
PACKAGES = {"g++": "g++", "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu", "qemu-x86_64": "qemu-user"}
PACKAGES["qemu-aarch64"] = PACKAGES["qemu-x86_64"]

# By kernel and target.
Counts = dict[tuple[str, str], float]


def missing_packages(names: Iterable[str]) -> list[str]:
    programs = {program for name in names for program in (TARGETS[name].compiler, TARGETS[name].emulator[0])}
    return sorted({PACKAGES[program] for program in programs if shutil.which(program) is None})


def compiler_version(target: Target) -> int:
    words = subprocess.run([target.compiler, "-dumpversion"], capture_output=True, text=True, check=True)
    return int(words.stdout.split(".")[0])


def build(target: Target, folder: Path) -> Path:
    """count_kernels for a target, linked statically: the emulator then needs no folder of libraries."""
    flags = ["-std=c++20", "-O3", "-fvisibility=hidden", *compile_flags(target.machine), "-ffp-contract=fast"]
    sources = {ROOT / "tests/cpp/count_kernels.cpp", ROOT / "csrc/cpu/plain.cpp"}
    if target.machine == "x86_64":
        sources.add(ROOT / "csrc/cpu/avx2.cpp")
    program = folder / f"count_kernels_{target.machine}"
    if not program.exists():
        words = [
            target.compiler,
            *flags,
            "-static",
            f"-I{ROOT / 'csrc'}",
            *map(str, sorted(sources)),
            "-o",
            str(program),
        ]
        subprocess.run(words, check=True)
    return program


def executed(log: Iterable[str]) -> int:
    """Instructions in a log of -d in_asm,exec,nochain: blocks as they are translated, then each time one is run."""
    lengths: dict[int, int] = {}
    total, block = 0, 0
    for line in log:
        if line.startswith("Trace"):
            pc = int(line.split("[", 1)[1].split("/", 2)[1], 16)
            total += lengths[pc]
        elif line.startswith("IN:"):
            block = 0
        elif line.startswith("0x"):
            pc = int(line.split(":", 1)[0], 16)
            block = block or pc
            if block == pc:
                lengths[block] = 0
            lengths[block] += 1
    return total


def run(program: Path, target: Target, kernel: str, rows: int) -> int:
    command = [*target.emulator, "-d", "in_asm,exec,nochain", "-D", "/dev/stdout", str(program)]
    with subprocess.Popen(
        [*command, target.source, *kernel.split(), str(rows)], stdout=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stdout
        total = executed(process.stdout)
    if process.returncode:
        raise SystemExit(f"count_kernels {kernel} failed under {target.emulator[0]} with {process.returncode}")
    return total


def count(names: Iterable[str], kernels: Iterable[str] = tuple(KERNELS)) -> Counts:
    """Instructions of a pixel."""
    found: Counts = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            target = TARGETS[name]
            program = build(target, Path(folder))
            for kernel in kernels:
                few, many = (run(program, target, kernel, rows) for rows in ROWS)
                found[kernel, name] = (many - few) / (WIDTH * (ROWS[1] - ROWS[0]))
    return found


def read_table(path: Path = TABLE) -> Counts:
    with path.open(encoding="utf-8", newline="") as file:
        return {(row["kernel"], row["target"]): float(row["instructions"]) for row in csv.DictReader(file)}


def write_table(found: Counts, path: Path = TABLE) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("kernel", "target", "instructions"))
        writer.writerows((*key, round(instructions)) for key, instructions in sorted(found.items()))


def problems(found: Counts, budgets: Counts, slack: float = SLACK) -> list[str]:
    """One sentence for each kernel that takes more than it may, or is not in the table."""
    said = []
    for key, instructions in sorted(found.items()):
        name, budget = " on ".join(key), budgets.get(key)
        if budget is None:
            said.append(f"{name} is not in {TABLE.name}: look at its count and add it (--write)")
        elif instructions > budget * (1 + slack):
            said.append(f"{name} takes {instructions:.0f} instructions a pixel, {budget:.0f} are in {TABLE.name}")
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; those of the table by default")
    parser.add_argument("--install", action="store_true", help="install compilers and qemu-user with apt-get")
    parser.add_argument("--write", action="store_true", help="put the counts into the table")
    options = parser.parse_args()
    budgets = read_table() if TABLE.exists() else {}
    names = options.targets or sorted({target for _, target in budgets})
    for name in names:
        if name not in TARGETS:
            parser.error(f"TARGET is one of {', '.join(TARGETS)}, not {name}")
    missing = missing_packages(names)
    if missing and options.install:
        for words in (["update", "-qq"], ["install", "-y", "-qq", *missing]):
            subprocess.run(["apt-get", *words], check=True, stdout=subprocess.DEVNULL)
    elif missing:
        raise SystemExit(f"{' and '.join(missing)} not installed: apt-get install {' '.join(missing)}")
    said = []
    for name in names:
        version = compiler_version(TARGETS[name])
        found = count([name])
        for (kernel, _), instructions in sorted(found.items()):
            budget = budgets.get((kernel, name), 0)
            print(f"{kernel} on {name}: {instructions:.0f} instructions a pixel, in the table {budget:.0f}")
        said += problems(found, budgets, SLACK if version == COMPILER else SLACK_OF_OTHER_COMPILERS)
        if options.write:
            budgets = {key: value for key, value in budgets.items() if key[1] != name} | found
            write_table(budgets)
    print("\n".join(said) or "no kernel takes more instructions than the table has")
    return 1 if said and not options.write else 0


if __name__ == "__main__":
    sys.exit(main())
