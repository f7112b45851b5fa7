"""The problems that tests, benchmarks and profiler share."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys

import pytest
import torch
from helpers.op_samples import TOLERANCE
from torch.utils.flop_counter import FlopCounterMode

from arseg_ext import ops
from arseg_ext.profiler.problems import LAYOUTS, OPERATORS, SMALL, STANDARD, Problem, problem_of


def test_every_public_operator_has_a_problem_and_the_arguments_of_its_signature():
    assert set(OPERATORS) == set(ops.__all__) == {p.op for p in SMALL} == {p.op for p in STANDARD}
    for name, operator in OPERATORS.items():
        parameters = inspect.signature(getattr(ops, name)).parameters
        tensors = [each for each, p in parameters.items() if p.annotation == "Tensor"]
        assert list(operator.tensors) == tensors
        assert set(operator.options) == set(parameters) - {*tensors, "out"}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("problem", SMALL, ids=str)
def test_call_and_oracle_agree_and_shapes_are_as_announced(problem, layout):
    problem = dataclasses.replace(problem, layout=layout)
    inputs = problem.inputs(seed=1)
    result, exact = problem.call(inputs), problem.oracle(inputs.to("float64"))
    assert {name: tuple(each.shape) for name, each in inputs.tensors.items()} == problem.shapes
    assert {name: str(each.dtype) for name, each in inputs.tensors.items()} == {
        name: f"torch.{dtype}" for name, dtype in problem.dtypes.items()
    }
    assert tuple(result.shape) == problem.result_shape
    assert str(result.dtype) == f"torch.{problem.result_dtype}"
    if result.dtype == torch.uint8:
        assert torch.equal(result, exact)
    else:
        assert (result - exact).abs().max() < TOLERANCE[torch.float32]


@pytest.mark.parametrize("problem", [p for p in SMALL if p.differentiable], ids=str)
def test_the_result_has_the_gradients_that_are_announced(problem):
    frozen = dataclasses.replace(problem, frozen=problem.differentiable[:1])
    inputs = frozen.inputs(grad=True)
    assert [name for name, each in inputs.tensors.items() if each.requires_grad] == list(frozen.wanted)
    inputs = problem.inputs(grad=True)
    result = problem.call(inputs)
    wanted = [inputs.tensors[name] for name in problem.wanted]
    grads = torch.autograd.grad(result, wanted, problem.result_gradient(result))
    written = sum(grad.numel() * grad.element_size() for grad in grads)
    assert problem.bytes_written("backward") == written


def test_inputs_are_the_same_whatever_else_changes():
    problem = Problem("creff", (1, 4, 6, 8))
    other = dataclasses.replace(problem, window=(3, 5), layout="contiguous", low_size=(2, 2))
    first, second = problem.inputs(seed=3).tensors, other.inputs(seed=3).tensors
    assert torch.equal(first["reference"], second["reference"])
    assert torch.equal(first["value_weight"], second["value_weight"])
    assert not torch.equal(first["reference"], problem.inputs(seed=4).tensors["reference"])


def test_a_problem_is_found_again_from_its_inputs():
    for problem in SMALL:
        inputs = problem.inputs()
        found = problem_of(problem.op, inputs.tensors, inputs.options)
        assert (found.name, found.flops(), found.bytes_read()) == (problem.name, problem.flops(), problem.bytes_read())


def test_names_are_different():
    assert len({p.name for p in SMALL}) == len(SMALL)
    assert len({p.name for p in STANDARD}) == len(STANDARD)
    assert Problem("creff", (1, 64, 720, 960), dtype="bfloat16").name == "creff 64x720x960 bf16"
    assert Problem("mv_warp", (2, 3, 5, 7), window=(3, 3)).name == "mv_warp 2x3x5x7 fp32"


def test_costs_hold_what_torch_counts():
    """Attention's products are counted alike; ours adds interpolation, of which torch counts nothing."""
    problem = Problem("local_attention", (1, 8, 6, 5), window=(3, 5), value_channels=4)
    inputs = problem.inputs(grad=True)
    with FlopCounterMode(display=False) as counter:
        result = problem.call(inputs)
    forward = counter.get_total_flops()
    with counter:
        torch.autograd.grad(result, list(inputs.tensors.values()), problem.result_gradient(result))
    assert problem.flops() == forward == 2 * 15 * 30 * (8 + 4)
    assert problem.flops("backward") == counter.get_total_flops()
    values_alone = dataclasses.replace(problem, frozen=("query", "key"))
    assert values_alone.flops("backward") == 2 * 15 * 30 * (8 + 4)
    assert problem.bytes_read() + problem.bytes_written() == 4 * 30 * (8 + 8 + 4 + 4)


def test_what_has_no_backward_says_so():
    with pytest.raises(ValueError, match=r"creff_labels .* no argument wants a gradient"):
        Problem("creff_labels", (1, 4, 6, 8)).flops("backward")
    with pytest.raises(ValueError, match=r"op must be one of mv_warp, .* got 'warp'"):
        Problem("warp", (1, 4, 6, 8))


@pytest.mark.slow
def test_importing_it_is_cheap():
    code = """if True:
        import sys, arseg_ext, arseg_ext.profiler.problems
        print({"torch", "numpy"} & set(sys.modules))
        import arseg_ext.ops
        print({"arseg_ext.profiler.hooks", "arseg_ext.profiler.capture"} & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", "set()"]
