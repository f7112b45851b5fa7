"""Times of the operators on a GPU beside plain PyTorch: the benchmarks of gpu_check.py, rows of the profiler.

`python benchmarks/gpu_bench.py --out FILE [--seconds N] [--list] [NAME...]`. Rows come in two passes, so that a time
limit cuts off the least: first our operators beside eager PyTorch and the chain of the original, then beside
torch.compile and flex_attention, whose compilation takes most of the time. A pass times its versions in turn; "times
ours" is of the pass. Every result is compared with float32 before it is timed; ours being wrong is a failure, another
version that differs by too much is not timed. Rows are run by a process that is started anew where one broke the
device: an error there ends all use of it in that process. The file has the format of `arseg_ext.profiler.results`.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch._functorch.config

from arseg_ext.profiler import baselines, measure, results, timing
from arseg_ext.profiler.measure import Case, Ceilings
from arseg_ext.profiler.problems import standard
from arseg_ext.profiler.timing import Timer

SHAPES = ((64, 720, 960), (256, 90, 120), (512, 128, 256))
CALLS = (
    ("creff", "forward"),
    ("creff_labels", "forward"),
    ("local_attention", "forward"),
    ("mv_warp", "forward"),
    ("creff", "backward"),
    ("local_attention", "backward"),
    ("mv_warp", "backward"),
)
DTYPES = ("bfloat16", "float32", "float16")
BROKEN = 3  # exit code: the device cannot be used any more
FIRST_GUESS = {"quick": 2.0, "compiled": 20.0}  # seconds of a row, while none was run
PASSES = {"quick": ("eager", "chain", "localAttention"), "compiled": ("compiled", "flex")}


def case_of(op: str, direction: str, size: tuple[int, int, int], dtype: str, device: str) -> Case:
    """The keyframe is frozen in AR-Seg's training: no gradient to the reference."""
    frozen = ("reference",) if (op, direction) == ("creff", "backward") else ()
    return Case(replace(standard(op, *size), dtype=dtype, device=device, frozen=frozen), direction)


def rows(device: str = "cuda") -> list[Case]:
    """The most wanted first: what the time limit cuts off is at the end."""
    return [case_of(*call, size, dtype, device) for dtype in DTYPES for size in SHAPES for call in CALLS]


def compiled_rows(wanted: list[Case]) -> list[Case]:
    """In the order of the pass with torch.compile: what takes least to compile first."""
    return sorted((c for c in wanted if c.problem.op != "creff_labels"), key=lambda c: c.direction != "forward")


class DeviceBroken(Exception):
    """After an error on the device nothing else runs on it in this process."""


def _ceilings_of(report: results.Report, device: str) -> Ceilings:
    found = report["ceilings"][device]
    return Ceilings(found["copy GB/s"] * 1e9, {name: value * 1e9 for name, value in found["matmul GFLOP/s"].items()})


class Bench:
    """All rows in two passes, written after each row; what `out` has of an earlier process stays.

    A row has besides `passes`, those that were run; `broke the device`, what was told in which pass; and `repeated`,
    the passes that were run again with ours alone, which shows whether ours broke it.
    """

    def __init__(self, timer: Timer, out: Path, seconds: float, ceilings: Ceilings | None = None):
        self.timer, self.out = timer, out
        self.deadline = time.monotonic() + seconds
        device = timer.device.type
        if out.exists():
            self.report = results.read(out)
            self.ceilings = _ceilings_of(self.report, device)
        else:
            self.report = results.new(results.facts([device]))
            self.ceilings = ceilings or measure.ceilings_of(timer, DTYPES)
            self.report["ceilings"][device] = measure.described(self.ceilings)
        self.report["not reached"] = []

    def row(self, case: Case) -> dict[str, Any]:
        return next((row for row in self.report["rows"] if row["name"] == case.name), {})

    def run(self, wanted: list[Case], seconds_a_row: float = 0.4, passes: Sequence[str] = tuple(PASSES)) -> None:
        for name in passes:
            longest: dict[Any, float] = {}  # that a row of a call took so far
            for case in wanted if name == "quick" else compiled_rows(wanted):
                row, kind = self.row(case), (case.problem.op, case.direction)
                again = self.is_ours_to_repeat(row, name)
                if name in row.get("passes", ()) and not again:
                    continue
                started = time.monotonic()
                if started + longest.get(kind, FIRST_GUESS[name]) > self.deadline:
                    self.report["not reached"].append(f"{case.name}, {name}")
                    continue
                self.run_one(case, name, () if again else PASSES[name], seconds_a_row, again)
                longest[kind] = max(longest.get(kind, 0.0), time.monotonic() - started)
        self.finish()

    @staticmethod
    def is_ours_to_repeat(row: dict[str, Any], name: str) -> bool:
        return name in row.get("broke the device", ()) and name not in row.get("repeated", ())

    def run_one(self, case: Case, name: str, versions: Sequence[str], seconds: float, again: bool) -> None:
        try:
            found = measure.run(case, self.timer, measure.Settings(names=versions, seconds=seconds))
        except Exception as error:  # out of memory, say: the next row is smaller
            found = measure.failed(case, error)
        measure.judge(found, self.ceilings)
        row = self.join(case, found, name)
        if again:
            row.setdefault("repeated", []).append(name)
        self.finish()
        try:
            measure.clean(self.timer)
        except RuntimeError as error:
            told = str(error).splitlines()[0]
            row.setdefault("broke the device", {})[name] = row["wrong"] = told
            self.finish()
            raise DeviceBroken from error

    def join(self, case: Case, found: dict[str, Any], name: str) -> dict[str, Any]:
        """The row with what this pass found; of ours the first pass stays, unless it has no time."""
        row = self.row(case)
        if not row:
            row = {**found, "passes": []}
            self.report["rows"].append(row)
        else:
            row.pop("wrong", None)
            ours = row["versions"].get("ours", {})
            row["versions"] |= found["versions"]
            if "us" in ours and "wrong" not in found:
                row["versions"]["ours"] = ours
            if "wrong" in found:
                row["wrong"] = found["wrong"]
        if name not in row["passes"]:
            row["passes"].append(name)
        return row

    def finish(self) -> None:
        failures = [f"{row['name']}: {row['wrong']}" for row in self.report["rows"] if "wrong" in row]
        self.report.pop("failure", None)
        if failures:
            self.report["failure"] = f"{len(failures)} rows, {failures[0]} first"
        missed = len(self.report["not reached"])
        self.report["summary"] = f"{len(self.report['rows'])} rows" + (
            f", {missed} not reached in time" if missed else ""
        )
        results.write(self.out, self.report)


def compile_ahead(wanted: list[Case]) -> None:
    """Has torch.compile do its work and keep it, for another process that times: that one then reaches more rows."""
    if wanted and wanted[0].problem.device != "cpu":
        torch.cuda.set_per_process_memory_fraction(0.4)  # tests run beside it
    for case in wanted:
        for name, make in baselines.versions(case.problem, case.problem.inputs()).items():
            if name in PASSES["compiled"]:
                with contextlib.suppress(Exception):  # it will be told where it is timed
                    measure.call_of(case, make())()
        baselines.forget_compiled()
        print(f"compiled {case.name}", flush=True)


def supervise(out: Path, seconds: float) -> int:
    """This program again and again, until no row breaks the device; the exit code."""
    out.unlink(missing_ok=True)
    deadline = time.monotonic() + seconds
    while True:
        left = max(0.0, deadline - time.monotonic())
        done = subprocess.run([sys.executable, *sys.argv, "--worker", "--seconds", f"{left:.0f}"])
        if done.returncode != BROKEN or left == 0:
            return done.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="rows, or beginnings of their names; all of them by default")
    parser.add_argument("--out", type=Path, default=Path("build/gpu-check/bench.json"))
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--compile-ahead", action="store_true", help="time nothing; fill the cache of torch.compile")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile and flex_attention")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    every = rows(arguments.device)
    wanted = [case for case in every if not arguments.names or case.name.startswith(tuple(arguments.names))]
    if arguments.list:
        print("\n".join(case.name for case in wanted))
        return 0
    torch._functorch.config.donated_buffer = False  # backwards are timed again and again on one graph
    if arguments.compile_ahead:
        compile_ahead(compiled_rows(wanted))
        return 0
    if not arguments.worker:
        return supervise(arguments.out, arguments.seconds)
    started = time.monotonic()
    bench = Bench(timing.timer_for(arguments.device), arguments.out, arguments.seconds)
    bench.deadline = started + arguments.seconds
    try:
        bench.run(wanted, passes=("quick",) if arguments.no_compile else tuple(PASSES))
    except DeviceBroken as broken:
        print(broken.__cause__, file=sys.stderr)
        return BROKEN
    return 1 if "failure" in bench.report else 0


if __name__ == "__main__":
    sys.exit(main())
