"""Devices without kernels of ours: plain PyTorch, told once. The CPU stands in for one, as if the library had none."""

from __future__ import annotations

import dataclasses
import warnings

import pytest
import torch

from arseg_ext import _devices, ops, oracle
from arseg_ext.profiler.problems import SMALL


@pytest.fixture
def without_kernels(monkeypatch):
    monkeypatch.setattr(_devices, "_compiled", {"meta"})
    monkeypatch.setattr(_devices, "_told", set())


@pytest.mark.parametrize("problem", SMALL, ids=str)
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_plain_pytorch_computes_it(problem, dtype, without_kernels):
    of = dataclasses.replace(problem, dtype=dtype)
    inputs = of.inputs()
    with pytest.warns(UserWarning, match=rf"^{of.op}: no kernel for device 'cpu', so plain PyTorch computes it"):
        result = _devices.run_plain(of.op, *inputs.tensors.values(), **inputs.options)
    exact = of.oracle(inputs.to("float64"))
    if result.dtype == torch.uint8:
        assert float((result != exact).float().mean()) <= (0 if dtype == "float64" else 0.1)
    else:
        assert str(result.dtype) == f"torch.{dtype}"
        assert float((result.double() - exact).abs().max()) <= (1e-9 if dtype == "float64" else 0.1)
    with warnings.catch_warnings():  # told once
        warnings.simplefilter("error")
        _devices.run_plain(of.op, *inputs.tensors.values(), **inputs.options)


@pytest.mark.parametrize("problem", [each for each in SMALL if each.op != "resize_labels"], ids=str)
def test_no_float64_where_there_is_none(problem, monkeypatch):
    """As on Apple's GPUs: no step of float32 maps makes a tensor of float64."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Float64Refused(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            assert getattr(result, "dtype", None) != torch.float64, function
            return result

    monkeypatch.setattr(oracle, "_positions_dtype", lambda device: torch.float32)
    inputs = problem.inputs()
    with Float64Refused():
        problem.oracle(inputs)


def test_gradients_are_plain_pytorch_s(without_kernels):
    problem = dataclasses.replace(next(each for each in SMALL if each.op == "creff"), dtype="float64")
    inputs = problem.inputs(grad=True)
    with pytest.warns(UserWarning, match="no kernel for device"):
        result = problem.call(inputs)
    nodes, seen = [result.grad_fn], set()
    while nodes:
        node = nodes.pop()
        seen.add(type(node).__name__)
        nodes += [each for each, _ in node.next_functions if each is not None]
    assert not any("_node" in name for name in seen)  # none of ours
    leaves = [inputs.tensors[name] for name in problem.differentiable]
    found = torch.autograd.grad(result.square().sum(), leaves)
    expected = torch.autograd.grad(problem.oracle(inputs).square().sum(), leaves)
    assert all(torch.allclose(a, b) for a, b in zip(found, expected, strict=True))


def test_a_device_of_somebody_else_s_comes_here():
    """The dispatcher finds the fallback for every operator, and it refuses what is no dense tensor of one device."""
    for name in ops.__all__:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"arseg::{name}", "CompositeExplicitAutograd")
    sparse = torch.eye(3)[None, None].to_sparse()
    with pytest.raises(RuntimeError, match=r"^resize_labels: arguments must be dense tensors on one device"):
        torch.ops.arseg.resize_labels(sparse, [2, 2])
