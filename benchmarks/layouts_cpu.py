"""Other layouts and dtypes against float32 maps in channels_last: times of each public operator on the CPU, in turn.

    python benchmarks/layouts_cpu.py [OPERATOR ...] [--sizes small big] [--rounds 9] [--out results.json]

A ratio is the processor's time of a variant over that of float32 channels_last in the same round, on one thread, which
other work on the machine disturbs least: their median and quartiles. "training" is forward and backward. The allocator
keeps its pages, as in compare_cpu.py.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from arseg_ext.profiler import baselines, measure, results, timing
from arseg_ext.profiler.measure import Case
from arseg_ext.profiler.problems import OPERATORS, Problem

SIZES = {"small": (90, 120), "big": (720, 960)}
CHANNELS, CLASSES = 64, 12
TRAINED = ("mv_warp", "flow_warp", "local_attention", "creff")
BASE = "fp32"
VARIANTS: dict[str, dict[str, str]] = {
    BASE: {},
    "contiguous": {"layout": "contiguous"},
    "fp16": {"dtype": "float16"},
    "bf16": {"dtype": "bfloat16"},
    "fp64": {"dtype": "float64"},
}


def problem_of(op: str, size: str) -> Problem:
    """The operator at a size; of resize_labels it is that of the result."""
    height, width = SIZES[size]
    if op == "resize_labels":
        return Problem(op, (1, CLASSES, height // 2, width // 2), size=(height, width))
    return Problem(op, (1, CHANNELS, height, width))


def cases(operators: list[str], sizes: list[str]) -> Iterator[tuple[str, str, Case]]:
    for size in sizes:
        for op in operators:
            yield op, size, Case(problem_of(op, size))
        if size == "small":  # the same kernels at every size, and big maps take minutes
            for op in operators:
                if op in TRAINED:
                    yield f"{op}, training", size, Case(problem_of(op, size), "training")


def call_of(case: Case, changes: dict[str, str]) -> Callable[[], Any]:
    problem = replace(case.problem, **changes)  # type: ignore[arg-type]
    version = baselines.ours(problem, problem.inputs("cpu", seed=0))
    return measure.call_of(replace(case, problem=problem), version)


def rounds(calls: dict[str, Callable[[], Any]], count: int) -> dict[str, list[float]]:
    """The processor's seconds of each call, `count` times, in turn; the first ones warm up and are left out."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(count + 1):
        for name, call in calls.items():
            started = time.process_time()
            call()
            times[name].append(time.process_time() - started)
    return {name: own[1:] for name, own in times.items()}


def ratios(times: dict[str, list[float]]) -> dict[str, Any]:
    """Of every variant: median and quartiles of the ratios of rounds."""
    found: dict[str, Any] = {"ms": round(statistics.median(times[BASE]) * 1e3, 3)}
    for name, own in times.items():
        if name != BASE:
            low, middle, high = timing.quartiles([a / b for a, b in zip(own, times[BASE], strict=True)])
            found[name] = {"times": round(middle, 2), "quartiles": [round(low, 2), round(high, 2)]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operators", nargs="*", help=f"of {', '.join(OPERATORS)}; all of them by default")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="JSON; rows that are there already are kept or replaced")
    arguments = parser.parse_args()
    for op in arguments.operators:
        if op not in OPERATORS:
            parser.error(f"OPERATOR is one of {', '.join(OPERATORS)}, not {op}")
    if any(os.environ.get(key) != value for key, value in results.ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **results.ALLOCATOR})
    torch.set_num_threads(1)
    report: dict[str, Any] = {"rows": {}}
    if arguments.out and arguments.out.exists():
        report = json.loads(arguments.out.read_text(encoding="utf-8"))
    report["facts"] = results.facts(["cpu"])
    for name, size, case in cases(arguments.operators or list(OPERATORS), arguments.sizes):
        calls = {variant: call_of(case, changes) for variant, changes in VARIANTS.items()}
        row = ratios(rounds(calls, arguments.rounds))
        report["rows"].setdefault(name, {})[size] = row
        others = " ".join(f"{variant} {row[variant]['times']:.2f}" for variant in VARIANTS if variant != BASE)
        print(f"{name} {size}: {row['ms']:.1f} ms; {others}", flush=True)
        del calls
        if arguments.out:
            arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
