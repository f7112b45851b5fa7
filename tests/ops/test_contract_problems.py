"""What PyTorch expects of an operator, a test for each expectation, over the problems that benchmarks share."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from arseg_ext import nn, ops
from arseg_ext.profiler.problems import LAYOUTS, OPERATORS, SMALL, Problem

EACH = pytest.mark.parametrize("problem", SMALL, ids=[f"{i}-{problem.op}" for i, problem in enumerate(SMALL)])
DIFFERENTIABLE = [problem for problem in SMALL if problem.differentiable]
EACH_GRADIENT = pytest.mark.parametrize(
    "problem", DIFFERENTIABLE, ids=[f"{i}-{problem.op}" for i, problem in enumerate(DIFFERENTIABLE)]
)
TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
# What an operator gives under autocast to bfloat16, by its maps' dtype; the warps and resize_labels are left alone.
AUTOCAST = {
    **{op: {"float32": "float32", "float16": "float16", "float64": "float64"} for op in ("mv_warp", "flow_warp")},
    **{
        op: {"float32": "bfloat16", "float16": "bfloat16", "float64": "float64"}
        for op in ("local_attention", "creff", "creff_logits")
    },
    **{op: dict.fromkeys(("float32", "float16", "float64"), "uint8") for op in ("creff_labels", "resize_labels")},
}


def close(problem, result, exact, dtype=None):
    if result.dtype == torch.uint8:  # of equal logits either label is right
        return float((result != exact).float().mean()) <= (0.0 if problem.dtype == "float64" else 0.1)
    most = max(1.0, float(exact.abs().max()) if exact.numel() else 1.0)
    error = float((result.double() - exact.double()).abs().max()) if exact.numel() else 0.0
    return error <= TOLERANCE[dtype or problem.dtype] * most


def function_of(problem, inputs):
    """The call as a function of its differentiable arguments, and these."""
    names = problem.differentiable

    def function(*leaves):
        tensors = {**inputs.tensors, **dict(zip(names, leaves, strict=True))}
        return getattr(ops, problem.op)(**tensors, **inputs.options)

    return function, tuple(inputs.tensors[name].detach() for name in names)


class Call(torch.nn.Module):
    """A problem's call of its tensors in their order."""

    def __init__(self, problem):
        super().__init__()
        self.op, self.names = problem.op, OPERATORS[problem.op].tensors
        self.options = problem.inputs().options

    def forward(self, *tensors):
        return getattr(ops, self.op)(**dict(zip(self.names, tensors, strict=True)), **self.options)


def test_every_operator_has_a_problem():
    assert {problem.op for problem in SMALL} == set(OPERATORS) == set(ops.__all__)


@pytest.mark.slow
@EACH
def test_opcheck(problem):
    inputs = problem.inputs(grad=bool(problem.differentiable))
    schema = getattr(torch.ops.arseg, problem.op).default._schema
    given = {**inputs.tensors, **inputs.options}
    window = given.get("window")
    given.update({"window": list(window)} if window is not None else {})
    names = [argument.name for argument in schema.arguments if not argument.kwarg_only]
    options = {name: value for name, value in given.items() if name not in names}
    args = tuple(given[name] for name in names)
    torch.library.opcheck(getattr(torch.ops.arseg, problem.op).default, args, options)


@EACH_GRADIENT
def test_gradients_by_torch_func(problem):
    """torch.func.grad, vjp and jacrev give what torch.autograd gives."""
    inputs = dataclasses.replace(problem, dtype="float64").inputs()
    function, leaves = function_of(problem, inputs)
    places = tuple(range(len(leaves)))
    asked = [leaf.clone().requires_grad_() for leaf in leaves]
    result = function(*asked)
    weights = torch.randn(result.shape, dtype=result.dtype, generator=torch.Generator().manual_seed(3))
    expected = torch.autograd.grad((result * weights).sum(), asked)
    found = torch.func.grad(lambda *x: (function(*x) * weights).sum(), places)(*leaves)
    pulled = torch.func.vjp(function, *leaves)[1](weights)
    for ours, back, right in zip(found, pulled, expected, strict=True):
        assert torch.equal(ours, right) and torch.equal(back, right)
    last = torch.func.jacrev(lambda x: function(*leaves[:-1], x)[:1, :1, :2, :2], chunk_size=1)(leaves[-1])
    corner = torch.zeros_like(result)
    corner[0, 0, 0, 1] = 1
    right = torch.autograd.grad(function(*asked), asked[-1], corner)[0]
    assert torch.allclose(last[0, 0, 0, 1], right, atol=1e-12)


@EACH_GRADIENT
def test_gradcheck(problem):
    small = dataclasses.replace(problem, dtype="float64", shape=(1, 2, 3, 4), frame_size=(24, 32), low_size=(2, 2))
    function, leaves = function_of(small, small.inputs())
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(function, leaves, fast_mode=True, nondet_tol=0.0)


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compile(problem, dynamic):
    call, inputs = Call(problem), problem.inputs(grad=bool(problem.differentiable))
    tensors = tuple(inputs.tensors.values())
    torch.compiler.reset()
    compiled = torch.compile(call, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    assert torch.equal(compiled(*tensors), call(*tensors))
    with torch.no_grad():
        assert torch.equal(compiled(*tensors), call(*tensors))


@EACH
def test_export_is_pickled_and_runs(problem, tmp_path):
    call, tensors = Call(problem), tuple(problem.inputs().tensors.values())
    torch.export.save(torch.export.export(call, tensors), tmp_path / "call.pt2")
    assert torch.equal(torch.export.load(tmp_path / "call.pt2").module()(*tensors), call(*tensors))


@pytest.mark.slow
def test_aot_inductor_package(tmp_path):
    """All operators in one package: saved, loaded, run."""
    problems = SMALL[::2]

    class All(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = torch.nn.ModuleList(Call(problem) for problem in problems)

        def forward(self, *groups):
            return [call(*group) for call, group in zip(self.calls, groups, strict=True)]

    module = All().eval()
    groups = tuple(tuple(problem.inputs().tensors.values()) for problem in problems)
    with torch.no_grad():
        expected = module(*groups)
        program = torch.export.export(module, groups)
        path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "all.pt2"))
        results = torch._inductor.aoti_load_package(path)(*groups)
    for problem, result, right in zip(problems, results, expected, strict=True):
        assert close(problem, result, right), problem


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_autocast(problem, dtype):
    inputs = dataclasses.replace(problem, dtype=dtype).inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = problem.call(inputs)
    assert str(result.dtype) == f"torch.{AUTOCAST[problem.op][dtype]}"


@EACH
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_layouts(problem, layout, dtype):
    """Any strides, and channels_last maps give a channels_last result."""
    of = dataclasses.replace(problem, layout=layout, dtype=dtype)
    inputs = of.inputs()
    result = of.call(inputs)
    assert close(of, result, of.oracle(inputs.to("float64"))), of
    if result.dim() == 4 and layout in ("channels_last", "contiguous"):
        memory = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        assert result.is_contiguous(memory_format=memory)


@EACH
def test_views_that_say_minus(problem):
    """PyTorch has no negative strides, but views that stand for minus their memory."""
    inputs = problem.inputs()
    name = next(iter(inputs.tensors))
    minus = dataclasses.replace(inputs, tensors={**inputs.tensors, name: torch._neg_view(-inputs.tensors[name])})
    assert minus.tensors[name].is_neg() and torch.equal(problem.call(minus), problem.call(inputs))


@EACH
@pytest.mark.parametrize("shape", [(0, 3, 5, 7), (2, 3, 1, 7), (2, 3, 5, 1), (1, 1, 1, 1), (1, 17, 2, 3)], ids=str)
def test_odd_sizes(problem, shape):
    """No image, one row, one column, one pixel, and windows larger than the map."""
    frame = (8 * shape[2], 8 * shape[3])
    window = (15, 15) if "window" in OPERATORS[problem.op].options else problem.window
    changes = {"shape": shape, "frame_size": frame, "window": window, "low_size": (1, 2), "size": (3, 1)}
    odd = dataclasses.replace(problem, **changes, dtype="float64")
    result = odd.call(inputs := odd.inputs())
    assert tuple(result.shape) == odd.result_shape
    if shape[0]:
        assert close(odd, result, odd.oracle(inputs))


@EACH
def test_the_same_bits_from_any_number_of_threads(problem):
    large = dataclasses.replace(problem, shape=(2, 12, 33, 41), frame_size=(264, 328), low_size=(17, 20), size=(66, 81))
    inputs = large.inputs()
    expected, before = large.call(inputs), torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(large.call(inputs), expected)
    finally:
        torch.set_num_threads(before)
    found: list[torch.Tensor] = []
    callers = [threading.Thread(target=lambda: found.append(large.call(inputs))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 4 and all(torch.equal(each, expected) for each in found)


@EACH
def test_flops(problem):
    inputs = problem.inputs()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        problem.call(inputs)
    assert counter.get_total_flops() >= 0
    multiplied = {"local_attention", "creff", "creff_logits", "creff_labels"}
    assert (counter.get_total_flops() > 0) == (problem.op in multiplied)
    if problem.op in multiplied:  # the problem counts warps and resizing, too
        assert 0.5 < counter.get_total_flops() / problem.flops() <= 1


@EACH
def test_meta(problem):
    inputs = problem.inputs()
    shapes = dataclasses.replace(inputs, tensors={name: each.to("meta") for name, each in inputs.tensors.items()})
    result, real = problem.call(shapes), problem.call(inputs)
    assert result.device.type == "meta" and result.dtype == real.dtype and result.stride() == real.stride()
    assert result.shape == real.shape


def test_modules_are_pickled_and_copied():
    problem = Problem("creff", (1, 3, 5, 7), frame_size=(40, 56), low_size=(3, 4))
    inputs = problem.inputs()
    maps = tuple(inputs.tensors[name] for name in ("reference", "low_res", "motion"))
    module = nn.CReFF(3)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        options = {"block": problem.block, "frame_size": problem.frame}
        assert torch.equal(other(*maps, **options), module(*maps, **options))
    for module in (nn.MVWarp(16), nn.LocalAttention(3)):
        assert repr(pickle.loads(pickle.dumps(module))) == repr(copy.deepcopy(module)) == repr(module)


def test_code_that_torch_keeps_compiled_is_that_of_these_sources():
    """torch's cache on disk looks at names and schemas alone: without a tag, an upgrade would run code of old parts."""
    assert "arseg_ext " in torch.compiler.config.cache_key_tag
