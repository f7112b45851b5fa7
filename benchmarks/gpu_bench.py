"""Times of the operators on a GPU beside plain PyTorch: the benchmarks of gpu_check.py, a row for each operator, shape
and dtype.

`python benchmarks/gpu_bench.py --out FILE [--seconds N] [--list] [NAME...]`. Rows come in two passes, so that a time
limit cuts off the least: first our operators beside eager PyTorch and the chain of the original, then beside
torch.compile and flex_attention, whose compilation takes most of the time. A pass times its versions in turn. Every
result is compared with float32 before it is timed; ours being wrong is a failure, another version that differs by too
much is not timed. Rows are run by a process that is started anew where one broke the device: an error there ends all
use of it in that process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpu_models
import gpu_timing
import gpu_versions
import torch
import torch._functorch.config
from gpu_models import Shape
from gpu_phases import write_json
from gpu_timing import DTYPES, Timer
from gpu_versions import Inputs, Version
from torch import Tensor

SHAPES = (Shape(64, 720, 960), Shape(256, 90, 120, 8), Shape(512, 128, 256, 8))
OPS = ("creff", "labels", "attention", "warp", "creff backward", "attention backward", "warp backward")
# Error allowed, relative to the largest value. Plain PyTorch rounds every step of half types, the logits among them.
TOLERANCE = {"fp32": 2e-3, "fp16": 2e-2, "bf16": 6e-2}
BASELINE_TOLERANCE = {"fp32": 2e-3, "fp16": 0.1, "bf16": 0.4}
LABELS_EQUAL = {"fp32": 0.999, "fp16": 0.98, "bf16": 0.9}
BROKEN = 3  # exit code: the device cannot be used any more
FIRST_GUESS = {"quick": 2.0, "compiled": 20.0}  # seconds of a row, while none was run
PASSES = {"quick": ("ours", "eager", "chain", "localAttention"), "compiled": ("ours", "compiled", "flex")}


@dataclass(frozen=True)
class Row:
    op: str
    shape: Shape
    dtype: str

    @property
    def name(self) -> str:
        return f"{self.op} {self.shape} {self.dtype}"

    @property
    def forward_op(self) -> str:
        return self.op.removesuffix(" backward")

    @property
    def is_backward(self) -> bool:
        return self.op.endswith(" backward")


def rows() -> list[Row]:
    """The most wanted first: what the time limit cuts off is at the end."""
    half_first = ("bf16", "fp32", "fp16")
    return [Row(op, shape, dtype) for dtype in half_first for shape in SHAPES for op in OPS]


def compiled_rows(wanted: list[Row]) -> list[Row]:
    """In the order of the pass with torch.compile: what takes least to compile first."""
    return sorted((row for row in wanted if row.op != "labels"), key=lambda row: row.is_backward)


def call_of(row: Row, x: Inputs, version: Version) -> Callable[[], list[tuple[int, Tensor]]]:
    """The call that is timed. Its results come with their place: -1, or that of the argument they are a gradient of."""
    if not row.is_backward:

        def forward() -> list[tuple[int, Tensor]]:
            with torch.no_grad():
                return [(-1, version.function(*version.arguments))]

        return forward
    arguments = [
        each.detach().requires_grad_(i in version.leaves) if each.is_floating_point() else each
        for i, each in enumerate(version.arguments)
    ]
    out = version.function(*arguments)
    grad = gradient_like(out, x)
    wanted = [arguments[i] for i in version.leaves]

    def backward() -> list[tuple[int, Tensor]]:
        grads = torch.autograd.grad(out, wanted, grad, retain_graph=True)
        return list(zip(version.leaves, grads, strict=True))

    return backward


def gradient_like(out: Tensor, x: Inputs) -> Tensor:
    """The one gradient of all versions, in the layout of their result."""
    if out.shape == x.grad.shape:
        return x.grad if x.grad.stride() == out.stride() else x.grad.contiguous()
    tiles = gpu_versions.gpu_flex.Tiles(x.shape.height, x.shape.width, gpu_versions.WINDOW)
    return tiles.queries(x.grad)


def difference(row: Row, version: Version, results: list[tuple[int, Tensor]], right: list[Tensor]) -> float:
    """From float32: the largest error relative to the largest value; for labels, the share that differs."""
    found = 0.0
    for (place, result), expected in zip(results, right, strict=True):
        got = version.restore(result, place)
        if row.op == "labels":
            return float((got != expected).float().mean())
        error = float((got.float() - expected).abs().max())
        found = max(found, error / max(float(expected.abs().max()), 1e-30))
        found = found if error == error else float("inf")
    return found


def is_right(row: Row, name: str, off: float) -> bool:
    if row.op == "labels":
        return off <= 1 - LABELS_EQUAL[row.dtype]
    # The gradients of the convolutions' weights add up, in half types, what PyTorch's backward has rounded.
    own = name == "ours" and row.op != "creff backward"
    return off <= (TOLERANCE if own else BASELINE_TOLERANCE)[row.dtype]


def expected_of(row: Row, x: Inputs) -> list[Tensor]:
    exact = x.exact()
    results = call_of(row, exact, gpu_versions.expected(row.forward_op, x))()
    return [result.detach().clone() for _, result in results]


def run_row(row: Row, names: tuple[str, ...], timer: Timer, seconds: float) -> dict[str, Any]:
    """Each version's time, or why it has none; "wrong" where ours is."""
    found: dict[str, Any] = {"versions": {}, "difference": {}}
    with timer.session():
        x = Inputs(row.shape, DTYPES[row.dtype], timer.device)
        right = expected_of(row, x)
        ready: dict[str, Callable[[], Any]] = {}
        for name, make in gpu_versions.MAKERS[row.forward_op](x).items():
            if name not in names:
                continue
            try:
                version = make()
                call = call_of(row, x, version)
                off = difference(row, version, call(), right)
                found["difference"][name] = float(f"{off:.2g}")
                if is_right(row, name, off):
                    ready[name], how = timer.prepare(call)
                    found["versions"][name] = {"timed by": how}
                    continue
                reason = f"off by {off:.2g} of the largest value"
            except Exception as error:  # a baseline that cannot do it must not cost the others their row
                reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error) else ''}"
            found["versions"][name] = {"failure": reason}
            if name == "ours":
                found["wrong"] = reason
        del right
        times = gpu_timing.measure(timer, ready, seconds)
        for name, each in times.items():
            found["versions"][name] |= gpu_timing.summary(each)
    return found


def judge(row: Row, found: dict[str, Any], ceilings: gpu_models.Ceilings) -> None:
    """Adds speeds of all versions, and how many times faster ours is; medians of the same pass are divided."""
    itemsize = DTYPES[row.dtype].itemsize
    ours = found["versions"].get("ours", {}).get("us")
    for name, version in found["versions"].items():
        if "us" not in version:
            continue
        speed = gpu_models.speed(row.op, row.shape, row.dtype, itemsize, version["us"] / 1e6, ceilings)
        version |= {key: float(f"{value:.4g}") for key, value in speed.items()}
        if ours and name != "ours":
            version["times ours"] = float(f"{version['us'] / ours:.3g}")


class DeviceBroken(Exception):
    """After an error on the device nothing else runs on it in this process."""


def ceilings_of(report: dict[str, Any]) -> gpu_models.Ceilings:
    found = report["ceilings"]
    matmul = {name: value * 1e12 for name, value in found["matmul TFLOP/s"].items()}
    return gpu_models.Ceilings(found["copy GB/s"] * 1e9, matmul)


class Bench:
    """All rows in two passes, written after each row; what `out` has of an earlier process stays."""

    def __init__(self, timer: Timer, out: Path, seconds: float, ceilings: gpu_models.Ceilings | None = None):
        self.timer, self.out = timer, out
        self.deadline = time.monotonic() + seconds
        self.report: dict[str, Any] = {"rows": {}, "not reached": []}
        if out.exists():
            self.report = json.loads(out.read_text(encoding="utf-8"))
            self.report["not reached"] = []
            ceilings = ceilings_of(self.report)
        self.ceilings = ceilings or gpu_timing.ceilings(timer)
        self.report["ceilings"] = {
            "copy GB/s": float(f"{self.ceilings.copy / 1e9:.4g}"),
            "matmul TFLOP/s": {name: float(f"{value / 1e12:.4g}") for name, value in self.ceilings.matmul.items()},
        }

    def run(self, wanted: list[Row], seconds_a_row: float = 0.4, passes: Sequence[str] = tuple(PASSES)) -> None:
        for name in passes:
            versions = PASSES[name]
            longest: dict[str, float] = {}  # that a row of an operator took so far
            for row in wanted if name == "quick" else compiled_rows(wanted):
                before = self.report["rows"].get(row.name, {}).get(name)
                if before is not None and not self.is_ours_to_repeat(before):
                    continue
                started = time.monotonic()
                if started + longest.get(row.op, FIRST_GUESS[name]) > self.deadline:
                    self.report["not reached"].append(f"{row.name}, {name}")
                    continue
                if before is None:
                    self.run_one(row, name, versions, seconds_a_row)
                else:  # by itself, which shows whether ours broke it
                    self.run_one(row, name, ("ours",), seconds_a_row, before["broke the device"])
                longest[row.op] = max(longest.get(row.op, 0.0), time.monotonic() - started)
        self.finish()

    @staticmethod
    def is_ours_to_repeat(found: dict[str, Any]) -> bool:
        return "broke the device" in found and "failure" in found and not found.get("repeated")

    def run_one(self, row: Row, name: str, versions: tuple[str, ...], seconds: float, broke: str | None = None) -> None:
        try:
            found = run_row(row, versions, self.timer, seconds)
            judge(row, found, self.ceilings)
        except Exception as error:  # out of memory, say: the next row is smaller
            found = {"failure": f"{type(error).__name__}: {str(error)[:200]}"}
        if broke is not None:
            found |= {"broke the device": broke, "repeated": True}
        self.report["rows"].setdefault(row.name, {})[name] = found
        self.finish()
        if name == "compiled":
            gpu_versions.forget_compiled()
        try:
            self.timer.release()
        except RuntimeError as error:
            found["broke the device"] = found["failure"] = str(error).splitlines()[0]
            self.finish()
            raise DeviceBroken from error

    def finish(self) -> None:
        failures = [
            f"{row}: {found.get('wrong') or found['failure']}"
            for row, passes in self.report["rows"].items()
            for found in passes.values()
            if "wrong" in found or "failure" in found
        ]
        self.report.pop("failure", None)
        if failures:
            self.report["failure"] = f"{len(failures)} rows, {failures[0]} first"
        missed = len(self.report["not reached"])
        self.report["summary"] = f"{len(self.report['rows'])} rows" + (
            f", {missed} not reached in time" if missed else ""
        )
        write_json(self.out, self.report)


def compile_ahead(wanted: list[Row], device: str) -> None:
    """Has torch.compile do its work and keep it, for another process that times: that one then reaches more rows."""
    if device != "cpu":
        torch.cuda.set_per_process_memory_fraction(0.4)  # tests run beside it
    for row in wanted:
        x = Inputs(row.shape, DTYPES[row.dtype], device)
        for name, make in gpu_versions.MAKERS[row.forward_op](x).items():
            if name in ("compiled", "flex"):
                with contextlib.suppress(Exception):  # it will be told where it is timed
                    call_of(row, x, make())()
        gpu_versions.forget_compiled()
        print(f"compiled {row.name}", flush=True)


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
    wanted = [row for row in rows() if not arguments.names or row.name.startswith(tuple(arguments.names))]
    if arguments.list:
        print("\n".join(row.name for row in wanted))
        return 0
    torch._functorch.config.donated_buffer = False  # backwards are timed again and again on one graph
    if arguments.compile_ahead:
        compile_ahead(compiled_rows(wanted), arguments.device)
        return 0
    if not arguments.worker:
        return supervise(arguments.out, arguments.seconds)
    started = time.monotonic()
    bench = Bench(gpu_timing.timer_for(arguments.device), arguments.out, arguments.seconds)
    bench.deadline = started + arguments.seconds
    try:
        bench.run(wanted, passes=("quick",) if arguments.no_compile else tuple(PASSES))
    except DeviceBroken as broken:
        print(broken.__cause__, file=sys.stderr)
        return BROKEN
    return 1 if "failure" in bench.report else 0


if __name__ == "__main__":
    sys.exit(main())
