"""What a call costs beyond its arithmetic: every operator on maps of one pixel, beside torch.ops.aten.add on the same.

    python benchmarks/call_overhead.py [--rounds 60] [--out benchmarks/results/call_overhead.json]

One thread, one process; each round runs every call 60 times in turn. A ratio is the median of those of the rounds, and
"least" that of the least times, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from arseg_ext import ops
from arseg_ext.profiler.problems import Problem
from arseg_ext.profiler.results import facts

CALLS = 60
TARGETS = {"mv_warp": 3.0, "local_attention": 3.0, "creff": 6.0, "creff_logits": 6.0, "creff_labels": 6.0}
MODES = {"inference_mode": torch.inference_mode, "no_grad": torch.no_grad, "grad mode": contextlib.nullcontext}


def calls() -> dict[str, Callable[[], Any]]:
    """By name; "add" first."""
    pixel = torch.zeros(1, 1, 1, 1)
    made: dict[str, Callable[[], Any]] = {"add": lambda: torch.ops.aten.add(pixel, pixel)}
    for op in ops.__all__:
        channels = 2 if op == "resize_labels" else 1
        problem = Problem(op, (1, channels, 1, 1), block=4, low_size=(1, 1), size=(1, 1), classes=2)
        inputs, function = problem.inputs(), getattr(ops, op)
        defaults = {name: each.default for name, each in inspect.signature(function).parameters.items()}
        # As a user calls it: without what is as by default.
        options = {name: value for name, value in inputs.options.items() if value != defaults[name]}
        tensors = tuple(inputs.tensors.values())
        made[op] = lambda function=function, tensors=tensors, options=options: function(*tensors, **options)
    return made


def measured(rounds: int) -> dict[str, dict[str, float]]:
    functions = calls()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            function()
            started = time.perf_counter()
            for _ in range(CALLS):
                function()
            times[name].append((time.perf_counter() - started) / CALLS * 1e6)
    add = times["add"]
    return {
        name: {
            "us": round(statistics.median(each), 2),
            "least us": round(min(each), 2),
            "ratio": round(statistics.median(one / other for one, other in zip(each, add, strict=True)), 2),
            "least ratio": round(min(each) / min(add), 2),
        }
        for name, each in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {"facts": facts(["cpu"]), "modes": {}}
    for mode, scope in MODES.items():
        with scope():
            rows = measured(arguments.rounds)
        results["modes"][mode] = rows
        for name, row in rows.items():
            aim = f"  (aim {TARGETS[name]:g})" if name in TARGETS else ""
            ratios = f"x add {row['ratio']:6.2f}  least {row['least ratio']:6.2f}{aim}"
            print(f"{mode:14} {name:16} {row['us']:8.2f} us  {ratios}")
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
