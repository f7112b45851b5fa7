"""Compiles the library with CUDA code for sm_80, sm_90 and PTX, and holds ptxas' report to the table of budgets.

`python tests/package/check_nvcc.py [--write]`, `make nvcc-check`. Then the library is loaded here, where there need
be neither a GPU nor CUDA, and runs its operators on the CPU. Says so and exits 0 where there is no nvcc.

kernel_budgets.csv beside this has a row for each kernel and architecture: registers a thread, and bytes spilt (stores
and loads), 0 for nearly all. instruction_budgets.csv has what the hot kernels issue, see sass_budget.py. `--write`
writes what was found; a change of the tables is to be looked at like one of the code.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from emulator.kernel_traits import REGISTERS, resident_threads  # noqa: E402
from package import sass_budget  # noqa: E402
from package.sass_budget import short_name  # noqa: E402

BUILD = ROOT / "build" / "nvcc"
TABLE = HERE / "kernel_budgets.csv"
ARCHITECTURES = "8.0;9.0+PTX"
SLACK = 8  # registers that another ptxas may take more
ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for '(?P<arch>\w+)'\n.*\n"
    r"\s+(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads\n"
    r".*Used (?P<registers>\d+) registers(?P<rest>.*)"
)


@dataclass(frozen=True)
class Usage:
    """Of one kernel on one architecture."""

    registers: int
    spills: int  # bytes, stores and loads
    static_shared: int = 0


# By kernel and architecture, such as ("classify<half>", "sm_80").
Report = dict[tuple[str, str], Usage]


def nvcc() -> str | None:
    homes = [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    places = [Path(home, "bin", "nvcc") for home in homes if home]
    return shutil.which("nvcc") or next((str(place) for place in places if place.exists()), None)


def as_compiler(arguments: list[str]) -> int:
    """nvcc, with the report of ptxas kept beside the object: what is not compiled again keeps its own."""
    done = subprocess.run([nvcc() or "nvcc", *arguments, "-Xptxas=-v"], stderr=subprocess.PIPE, text=True)
    sys.stderr.write("\n".join(line for line in done.stderr.splitlines() if "ptxas info" not in line))
    if "-o" in arguments and done.returncode == 0:
        Path(arguments[arguments.index("-o") + 1]).with_suffix(".ptxas").write_text(done.stderr, encoding="utf-8")
    return done.returncode


def build() -> list[Path]:
    """The reports of all sources with kernels."""
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-temp", str(BUILD / "objects")]
    environment = {
        **os.environ,
        "FORCE_CUDA": "1",
        "TORCH_CUDA_ARCH_LIST": ARCHITECTURES,
        "NVCC_THREADS": "1",  # reports of two architectures would mix
        "PYTORCH_NVCC": shlex.join([sys.executable, str(Path(__file__).resolve()), "--as-compiler"]),
    }
    done = subprocess.run(
        [*command, "--build-lib", str(BUILD / "library")], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"nvcc-check: the library does not compile:\n{done.stdout}{done.stderr}")
    return sorted(BUILD.glob("objects/**/*.ptxas"))


def read_report(text: str) -> Report:
    """By mangled name. ptxas gives static shared memory as "N bytes smem", and nothing where there is none."""
    found: Report = {}
    for entry in ENTRY.finditer(text):
        shared = re.search(r"(\d+)(?:\+\d+)? bytes smem", entry["rest"])
        spills = int(entry["stores"]) + int(entry["loads"])
        found[entry["name"], entry["arch"]] = Usage(int(entry["registers"]), spills, int(shared[1]) if shared else 0)
    if len(found) < len(set(re.findall(r"Compiling entry function '(\w+)' for '(\w+)'", text))):
        raise SystemExit("nvcc-check: this ptxas reports in another form than nvcc 13's: read_report must be taught it")
    return found


def read_table(path: Path = TABLE) -> Report:
    with path.open(encoding="utf-8", newline="") as file:
        return {
            (row["kernel"], row["architecture"]): Usage(int(row["registers"]), int(row["spills"]))
            for row in csv.DictReader(file)
        }


def write_table(found: Report, path: Path = TABLE) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("kernel", "architecture", "registers", "spills"))
        writer.writerows((*key, usage.registers, usage.spills) for key, usage in sorted(found.items()))


def problems(found: Report, budgets: Report) -> list[str]:
    """One sentence for each kernel that takes more than it may, is not in the table, or is only there."""
    said = []
    for key, usage in sorted(found.items()):
        name, budget = " for ".join(key), budgets.get(key)
        if usage.static_shared:
            said.append(f"{name} has {usage.static_shared} bytes of static shared memory; kernels declare none")
        if budget is None:
            said.append(f"{name} is not in {TABLE.name}: look at its figures and add them (--write)")
            continue
        if usage.registers > budget.registers + SLACK:
            said.append(f"{name} takes {usage.registers} registers a thread, {budget.registers} are in {TABLE.name}")
        if usage.registers * resident_threads(key[0]) > REGISTERS:
            threads = f"{usage.registers} registers of {resident_threads(key[0])} threads"
            said.append(f"{name} takes {threads}, more than the {REGISTERS} that a multiprocessor has")
        if usage.spills > budget.spills:
            said.append(f"{name} spills {usage.spills} bytes, {budget.spills} are in {TABLE.name}")
    missing = (" for ".join(key) for key in sorted(set(budgets) - set(found)))
    return said + [f"{name} is in {TABLE.name} and was not compiled: take it out (--write)" for name in missing]


LOADED = """
import sys, torch
assert not torch.cuda.is_available() or sys.argv[2] == "with a GPU"
torch.ops.load_library(sys.argv[1])
query = torch.randn(1, 8, 9, 10)
out = torch.ops.arseg._local_attention(query, query, query, window=[3, 3], outside="zero", scale=1.0)[0]
from arseg_ext import oracle
assert torch.allclose(out, oracle.local_attention(query, query, query, window=3), atol=1e-5)
print(torch.ops.arseg._build_config())
"""


def check_library() -> list[str]:
    """The library needs nothing of CUDA, and works where there is none of it."""
    libraries = list(BUILD.glob("library/arseg_ext/_C*.so"))
    if len(libraries) != 1:
        return [f"{BUILD / 'library'} holds {len(libraries)} libraries"]
    dynamic = subprocess.run(["readelf", "-d", str(libraries[0])], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"NEEDED.*\[(.+?)\]", dynamic)
    said = [f"the library needs {name}" for name in needed if re.search(r"cuda|cudart|nvrtc|c10|torch(?!_cpu)", name)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LOADED, str(libraries[0]), "without"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        said.append(f"the library does not work without a GPU:\n{done.stderr}")
    elif '"with_cuda": true' not in done.stdout:
        said.append(f"the library was built without CUDA: {done.stdout.strip()}")
    return said


def main() -> int:
    if sys.argv[1:2] == ["--as-compiler"]:
        return as_compiler(sys.argv[2:])
    if nvcc() is None:
        print("nvcc-check: not run, nvcc is not installed here")
        return 0
    reports = build()
    found: Report = {}
    for report in reports:
        for (name, architecture), usage in read_report(report.read_text(encoding="utf-8")).items():
            found[short_name(name), architecture] = usage
    counts: sass_budget.Counts = {}
    if sass_budget.disassembler() is None:
        print("nvcc-check: instructions are not counted, cuobjdump is not installed here (CUDA or triton has it)")
    else:
        for report in reports:
            counts |= sass_budget.counts_of(report.with_suffix(".o"))
    if "--write" in sys.argv[1:]:
        write_table(found)
        if counts:
            sass_budget.write_table(counts)
    said = [*problems(found, read_table()), *check_library()]
    if counts:
        said += sass_budget.problems(counts, sass_budget.read_table())
    for sentence in said:
        print(f"nvcc-check: {sentence}")
    spilling = sum(usage.spills > 0 for usage in found.values())
    kernels = f"{len({name for name, _ in found})} kernels for {ARCHITECTURES}, {spilling} of {len(found)} spill"
    print(f"nvcc-check: {kernels}; " + (f"{len(said)} problems" if said else "the library loads and runs without CUDA"))
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
