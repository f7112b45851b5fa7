"""Times of the operators by pytest-benchmark: `make bench`, or
pytest benchmarks --benchmark-only -o python_files='bench_*.py'.

Maps are channels_last; compare_cpu.py compares with torch.compile. Shapes: the default network's map at 480x360
(64x90x120), and the paper's BiSeNet18 map at 960x720 (256x90x120), with motion in blocks of 4.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from arseg_ext.profiler.problems import OPERATORS, Problem, oracle

SIZES = ((64, 90, 120), (256, 90, 120))
DTYPES = ("float32", "bfloat16")
OPS = [op for op in OPERATORS if op != "resize_labels"]


def problems(op: str) -> list[Problem]:
    shapes = [(1, *size) for size in SIZES]
    return [Problem(op, shape, dtype=d, block=4, frame_size=(360, 480)) for shape in shapes for d in DTYPES]


@pytest.mark.parametrize("problem", [problem for op in OPS for problem in problems(op)], ids=str)
def test_forward(benchmark, problem):
    benchmark.group = problem.op
    inputs = problem.inputs()
    with torch.no_grad():
        benchmark(problem.call, inputs)


@pytest.mark.parametrize("problem", problems("local_attention") + problems("creff"), ids=str)
def test_forward_and_backward(benchmark, problem):
    benchmark.group = f"{problem.op}, forward and backward"
    inputs = problem.inputs(grad=True)
    wanted = [inputs.tensors[name] for name in problem.wanted]
    gradient = problem.result_gradient(problem.call(inputs).detach())
    benchmark(lambda: torch.autograd.grad(problem.call(inputs), wanted, gradient))


@pytest.mark.parametrize("problem", problems("mv_warp"), ids=str)
def test_copy(benchmark, problem):
    """What a warp is held to."""
    benchmark.group = "mv_warp"
    benchmark(torch.clone, problem.inputs().tensors["feature"])


@pytest.mark.parametrize("problem", problems("local_attention")[:1], ids=str)
def test_oracle(benchmark, problem):
    benchmark.group = "local_attention"
    inputs = replace(problem, dtype="float32").inputs()
    benchmark(oracle(problem.op), **inputs.tensors, **inputs.options)
