"""Holds the hot loops of the CPU kernels, as llvm-mca sees them on several processors, to the table cpu_cycles.csv.

    python tests/package/cpu_cycles.py [PROCESSOR ...] [--install] [--write]

The sources are compiled as the operators are; of each function in LOOPS the innermost loop with the most products is
taken out of the object code, and llvm-mca says in how many cycles the processor's ports could run it, were all loads in
the first-level cache: a processor that is not at hand is judged so. Beside the cycles stand the products (fused
multiply-adds) of an iteration, the fewest cycles that those take, and the port that is busiest.
"""

from __future__ import annotations

import argparse
import csv
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from csrc.surroundings import compile_flags  # noqa: E402

TABLE = Path(__file__).with_name("cpu_cycles.csv")
COMPILER, TOOL = 12, 19  # of g++ and llvm-mca, whose cycles are in the table: others say other ones
SLACK = 0.03
ITERATIONS = 200

# llvm-mca's names of processors, the target that runs there, and how many vectors of products a cycle takes.
PROCESSORS = {
    "znver3": ("avx2", 2.0),
    "skylake-avx512": ("avx512", 2.0),
    "sapphirerapids": ("avx512", 2.0),
    "znver4": ("avx512", 1.0),  # 64 bytes in two halves, on two ports
}
# By target: functions, as c++filt names them.
_PLAIN = "PlainMicrokernel<float>"
LOOPS = {
    "avx512": {
        "logits": rf"logits_of<.*{_PLAIN}, 3, 7>",
        "logits, one row": rf"logits_of_one_row<.*{_PLAIN}, 7>",
        "values": rf"weighted_sum_of<.*{_PLAIN}, 7, 4, float>",
        "keys and values of creff": r"convolve_both<float>",
        "classifier": r"\bclassify<float>",
    },
    "avx2": {
        "logits": rf"logits_of<.*{_PLAIN}, 3, 4>",
        "logits, one row": rf"logits_of_one_row<.*{_PLAIN}, 4>",
        "values": rf"weighted_sum_of<.*{_PLAIN}, 7, 2, float>",
        "keys and values of creff": r"convolve_both<float>",
        "classifier": r"\bclassify<float>",
    },
}


@dataclass(frozen=True)
class Loop:
    """What llvm-mca says of one: cycles and products of an iteration, the busiest port and its cycles."""

    cycles: float
    products: int
    least: float
    port: str
    busy: float


Found = dict[tuple[str, str], Loop]


def functions(listing: Iterable[str]) -> dict[str, list[tuple[int, str]]]:
    """Addresses and instructions of each function in objdump's listing, by its name."""
    found: dict[str, list[tuple[int, str]]] = {}
    body: list[tuple[int, str]] = []
    for line in listing:
        if head := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            body = found.setdefault(head[1], [])
        elif code := re.match(r"\s+([0-9a-f]+):\t(.+)$", line):
            text = re.sub(r"\s*(#.*|<[^>]*>.*)$", "", code[2]).strip()
            body.append((int(code[1], 16), text))
    return found


def is_product(instruction: str) -> bool:
    return re.match(r"vf(n?m)(add|sub)\d+ps|vmulps", instruction) is not None


def hottest_loop(body: list[tuple[int, str]]) -> list[str]:
    """The innermost loop with the most products; its jump goes to a label."""
    best: list[str] = []
    at = {address: index for index, (address, _) in enumerate(body)}
    loops = []
    for index, (_, text) in enumerate(body):
        jump = re.match(r"(j\w+)\s+([0-9a-f]+)$", text)
        if jump and at.get(int(jump[2], 16), index + 1) <= index:
            loops.append((at[int(jump[2], 16)], index))
    for first, last in loops:
        if any(first <= a and b <= last and (a, b) != (first, last) for a, b in loops):
            continue
        texts = [text for _, text in body[first : last + 1]]
        lines = [re.sub(r"^(j\w+)\s+[0-9a-f]+$", r"\1 loop", text) for text in texts]
        if sum(map(is_product, lines)) > sum(map(is_product, best)):
            best = lines
    return best


def judged(text: str, products: int, a_cycle: float) -> Loop:
    """What the tool's report says."""
    total = re.search(r"Total Cycles:\s+(\d+)", text)
    names = dict(re.findall(r"^\[([\d.]+)\]\s+- (\w+)$", text, re.MULTILINE))
    pressure = re.search(r"Resource pressure per iteration:\n(.*)\n(.*)\n", text)
    if total is None or pressure is None:
        raise SystemExit("llvm-mca printed no cycles: expected its default report")
    busy = dict(zip(re.findall(r"\[([\d.]+)\]", pressure[1]), pressure[2].split(), strict=True))
    most = max(busy, key=lambda each: 0.0 if busy[each] == "-" else float(busy[each]))
    return Loop(
        cycles=round(int(total[1]) / ITERATIONS, 1),
        products=products,
        least=round(products / a_cycle, 1),
        port=names[most],
        busy=float(busy[most]),
    )


def tool() -> str | None:
    return shutil.which(f"llvm-mca-{TOOL}") or shutil.which("llvm-mca")


def missing_packages() -> list[str]:
    programs = {"g++": shutil.which("g++"), "binutils": shutil.which("objdump"), f"llvm-{TOOL}": tool()}
    return sorted(package for package, path in programs.items() if path is None)


def listing_of(target: str, folder: Path) -> dict[str, list[tuple[int, str]]]:
    """The functions of a target's kernels, compiled here as setup.py compiles them."""
    made = folder / f"{target}.o"
    source = ROOT / "csrc" / "cpu" / f"{target}.cpp"
    flags = ["-std=c++20", "-O3", "-fvisibility=hidden", *compile_flags("x86_64"), "-ffp-contract=fast"]
    if not made.exists():
        subprocess.run(["g++", *flags, f"-I{ROOT / 'csrc'}", "-c", str(source), "-o", str(made)], check=True)
    words = ["objdump", "-d", "-C", "--no-show-raw-insn", "-w", str(made)]
    return functions(subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines())


def look(processors: Iterable[str]) -> Found:
    found: Found = {}
    program = tool()
    assert program
    with tempfile.TemporaryDirectory() as folder:
        for processor in processors:
            target, a_cycle = PROCESSORS[processor]
            bodies = listing_of(target, Path(folder))
            for name, pattern in LOOPS[target].items():
                body = next((each for key, each in bodies.items() if re.search(pattern, key)), [])
                lines = hottest_loop(body)
                if not lines:
                    raise SystemExit(f"{name} on {processor}: no loop with products in a function like {pattern}")
                words = [program, f"-mcpu={processor}", f"-iterations={ITERATIONS}"]
                text = "\n".join(["loop:", *lines, ""])
                run = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
                if run.returncode:
                    raise SystemExit(f"{name} on {processor}: llvm-mca: {run.stderr.strip()[:300]}")
                found[name, processor] = judged(run.stdout, sum(map(is_product, lines)), a_cycle)
    return found


COLUMNS = ("loop", "processor", *(each.name for each in fields(Loop)))


def read_table(path: Path = TABLE) -> Found:
    with path.open(encoding="utf-8", newline="") as file:
        return {
            (row["loop"], row["processor"]): Loop(
                float(row["cycles"]), int(row["products"]), float(row["least"]), row["port"], float(row["busy"])
            )
            for row in csv.DictReader(file)
        }


def write_table(found: Mapping[tuple[str, str], Loop], path: Path = TABLE) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((*key, *astuple(loop)) for key, loop in sorted(found.items()))


def problems(found: Mapping[tuple[str, str], Loop], table: Mapping[tuple[str, str], Loop]) -> list[str]:
    """One sentence for each loop whose products take more cycles than in the table, or that is not in it."""
    said = []
    for key, loop in sorted(found.items()):
        name, before = " on ".join(key), table.get(key)
        if before is None:
            said.append(f"{name} is not in {TABLE.name}: look at its cycles and add it (--write)")
        elif loop.cycles / loop.products > before.cycles / before.products * (1 + SLACK):
            said.append(
                f"{name} takes {loop.cycles} cycles for {loop.products} products, limited by {loop.port}: "
                f"{before.cycles} for {before.products} are in {TABLE.name}"
            )
    return said


def version_of(program: str) -> int:
    words = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"(?:LLVM version|\) )\s*(\d+)", words.stdout)
    return int(found[1]) if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("processors", nargs="*", help=f"of {', '.join(PROCESSORS)}; all of them by default")
    parser.add_argument("--install", action="store_true", help="install compiler and llvm-mca with apt-get")
    parser.add_argument("--write", action="store_true", help="put the cycles into the table")
    options = parser.parse_args()
    for name in options.processors:
        if name not in PROCESSORS:
            parser.error(f"PROCESSOR is one of {', '.join(PROCESSORS)}, not {name}")
    missing = missing_packages()
    if missing and options.install:
        for words in (["update", "-qq"], ["install", "-y", "-qq", *missing]):
            subprocess.run(["apt-get", *words], check=True, stdout=subprocess.DEVNULL)
    elif missing:
        raise SystemExit(f"{' and '.join(missing)} not installed: apt-get install {' '.join(missing)}")
    versions = {"g++": (version_of("g++"), COMPILER), "llvm-mca": (version_of(tool() or ""), TOOL)}
    other = [f"{name} {here}, not {there}" for name, (here, there) in versions.items() if here != there]
    found = look(options.processors or list(PROCESSORS))
    for (name, processor), loop in found.items():
        print(
            f"{name} on {processor}: {loop.cycles} cycles for {loop.products} products (at least {loop.least}), "
            f"{loop.port} busy for {loop.busy}"
        )
    table = read_table() if TABLE.exists() else {}
    if options.write:
        write_table({**table, **found})
        return 0
    if other:
        print(f"not held to {TABLE.name}, for here is {' and '.join(other)}")
        return 0
    said = problems(found, table)
    print("\n".join(said) or "no loop takes more cycles than the table has")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
