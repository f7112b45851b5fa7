"""The gradient of bilinear upsampling: ours, in one order, where torch's on CUDA adds by atomics."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers.op_samples import TOLERANCE, channels_last, creff_parameters, error, randn, strided, transposed, vectors
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from arseg_ext import ops

# N, C, (h, w), (H, W): the usual 2x, odd ratios, one pixel either way, no change, smaller, no image.
SIZES = (
    (2, 3, (4, 5), (8, 10)),
    (1, 8, (3, 7), (11, 20)),
    (1, 2, (1, 1), (6, 40)),
    (2, 1, (3, 1), (1, 9)),
    (1, 5, (1, 4), (7, 1)),
    (1, 3, (5, 6), (5, 6)),
    (1, 4, (9, 8), (4, 3)),
    (1, 2, (50, 3), (997, 4)),
    (0, 3, (2, 2), (4, 4)),
)


def expected_gradient(grad, size):
    leaf = torch.zeros(*grad.shape[:2], *size, dtype=torch.float64, requires_grad=True)
    F.interpolate(leaf, grad.shape[2:], mode="bilinear", align_corners=True).backward(grad.double())
    return leaf.grad


@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, channels_last, strided, transposed])
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_gradient_meets_torchs(dtype, layout):
    for n, c, small, large in SIZES:
        grad = randn(n, c, *large, dtype=dtype)
        expected = expected_gradient(grad, small)
        got = torch.ops.arseg._upsample_backward(layout(grad), small)
        assert got.dtype == dtype
        most = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
        assert error(got, expected) <= TOLERANCE[dtype] * most, (n, c, small, large)


def test_expanded_gradient():
    grad = torch.ones((), dtype=torch.float64).expand(1, 2, 7, 9)
    assert error(torch.ops.arseg._upsample_backward(grad, (3, 4)), expected_gradient(grad, (3, 4))) < 1e-12


def test_gradcheck():
    low = randn(1, 2, 3, 4).requires_grad_()
    assert gradcheck(lambda x: torch.ops.arseg._upsample(x, (5, 9)), (low,))
    assert gradgradcheck(lambda x: torch.ops.arseg._upsample(x, (5, 9)), (low,))


def test_forward_mode():
    low, slope = randn(1, 2, 3, 4), randn(1, 2, 3, 4, seed=1)
    values, slopes = torch.func.jvp(lambda x: torch.ops.arseg._upsample(x, (5, 9)), (low,), (slope,))
    for got, expected in ((values, low), (slopes, slope)):
        assert error(got, F.interpolate(expected, (5, 9), mode="bilinear", align_corners=True)) < 1e-12


def test_one_nan_stays_where_it_is_read():
    grad = torch.zeros(1, 1, 8, 8)
    grad[0, 0, 0, 0] = float("nan")
    assert torch.ops.arseg._upsample_backward(grad, (4, 4)).isnan().sum() == 1  # a corner reads one pixel


def test_same_bits_for_any_number_of_threads():
    grad, before = randn(2, 9, 60, 80, dtype=torch.float32), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for layout in (torch.clone, channels_last):
                found.append(torch.ops.arseg._upsample_backward(layout(grad), (17, 31)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(each, found[0]) for each in found)


class Called(TorchDispatchMode):
    """The operators that run, by name."""

    def __init__(self):
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function._schema.name)
        return function(*args, **(kwargs or {}))


# Those of torch that refuse to run on CUDA under torch.use_deterministic_algorithms(True), as far as a gradient of
# ours could meet them: what resizes, samples, scatters or accumulates.
RANDOM_ORDER = ("upsample_bilinear2d_backward", "grid_sampler", "index_add", "scatter_add", "put_", "index_put")


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("op", ["creff", "creff_logits"])
def test_no_operator_of_a_gradient_adds_in_another_order_each_time(op, dense):
    inputs = [randn(1, 3, 8, 10), randn(1, 3, 4, 5, seed=1), *creff_parameters(3)]
    if op == "creff_logits":
        inputs += [randn(4, 3), randn(4)]
    inputs = [tensor.requires_grad_() for tensor in inputs]
    motion = randn(1, 8, 10, 2).requires_grad_() if dense else vectors(1, 4, 5, 2)
    field = {} if dense else {"block": 16, "frame_size": (64, 80)}
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with Called() as called:
            out = getattr(ops, op)(*inputs[:2], motion, *inputs[2:], window=3, **field)
            out.square().sum().backward()
    finally:
        torch.use_deterministic_algorithms(before)
    assert "arseg::_upsample_backward" in called.names and "arseg::_local_attention_backward" in called.names
    assert not [name for name in called.names if name.startswith("aten::") and any(bad in name for bad in RANDOM_ORDER)]
    assert all(tensor.grad is not None for tensor in inputs)
