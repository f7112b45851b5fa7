"""Every operator on small odd shapes, forward and backward: what gpu_check.py runs under compute-sanitizer and ncu.

Prints "all operators ran" at its end; that results are right is for the tests.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import torch

from arseg_ext.profiler.problems import FUSIONS, Problem

DTYPES = ("float32", "float64", "float16", "bfloat16")
WINDOWS = (3, 7, 9, 11)


def problems(dtype: str, channels: int, height: int, width: int, window: int) -> Iterator[Problem]:
    shape = (1, channels, height, width)
    frame = (8 * height, 8 * width)
    low = (-(-height // 2), width // 2)
    common = Problem(
        "mv_warp", shape, dtype=dtype, window=(window, window), block=8, frame_size=frame, low_size=low, grid="legacy"
    )
    yield common
    yield replace(common, op="flow_warp", grid="aligned")
    yield replace(common, op="local_attention")
    for op in FUSIONS:
        yield replace(common, op=op, grid="aligned")
    yield replace(common, op="creff", outside="masked")
    yield replace(common, op="resize_labels", shape=(1, 12, height, width), size=(2 * height, 2 * width))


def run(problem: Problem, device: str) -> None:
    with torch.no_grad():
        problem.call(problem.inputs(device))
    if problem.wanted:
        inputs = problem.inputs(device, grad=True)
        result = problem.call(inputs)
        result.backward(problem.result_gradient(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--large", action="store_true", help="one call of each at 64x720x960 in bfloat16, for ncu")
    arguments = parser.parse_args()
    if arguments.large:
        wanted = list(problems("bfloat16", 64, 720, 960, 7))
    else:
        # A tile and a rest of one; channels of whole vectors and not, and more than one chunk of them.
        sizes = list(zip((5, 72, 32, 8), WINDOWS, strict=True))
        wanted = [p for dtype in DTYPES for channels, window in sizes for p in problems(dtype, channels, 9, 19, window)]
    for problem in wanted:
        run(problem, arguments.device)
    if torch.device(arguments.device).type == "cuda":
        torch.cuda.synchronize()
    print("all operators ran")


if __name__ == "__main__":
    main()
