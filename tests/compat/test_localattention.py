"""The place of the package `localAttention`: every function against loops, and all of it against the operators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.op_samples import DTYPES, TOLERANCE, channels_last, error, randn, strided, transposed
from torch.autograd import Function, gradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from arseg_ext import ops
from arseg_ext.compat import localattention

SMALL = Path(__file__).parent.parent / "fixtures" / "oracle_operators.npz"
WINDOWS = ((7, 7), (3, 5), (2, 4), (1, 1), (9, 3))
SIZES = ((2, 3, 4, 5), (1, 2, 1, 6), (1, 1, 3, 1), (0, 2, 3, 4))


def pairs(height, width, kH, kW):
    """(y, x), k and the neighbour (v, u) of the pixel at offset k, for those inside the image."""
    for y in range(height):
        for x in range(width):
            for k in range(kH * kW):
                v, u = y + k // kW - kH // 2, x + k % kW - kW // 2
                if 0 <= v < height and 0 <= u < width:
                    yield y, x, k, v, u


def inner_products(centre, neighbour, kH, kW):
    batch, _, height, width = centre.shape
    out = torch.zeros(batch, height, width, kH * kW, dtype=centre.dtype)
    for y, x, k, v, u in pairs(height, width, kH, kW):
        out[:, y, x, k] = (centre[:, :, y, x] * neighbour[:, :, v, u]).sum(1)
    return out


def gathered(neighbour, weight, kH, kW):
    out = torch.zeros_like(neighbour)
    for y, x, k, v, u in pairs(*neighbour.shape[2:], kH, kW):
        out[:, :, y, x] += weight[:, y, x, k, None] * neighbour[:, :, v, u]
    return out


def scattered(centre, weight, kH, kW):
    out = torch.zeros_like(centre)
    for y, x, k, v, u in pairs(*centre.shape[2:], kH, kW):
        out[:, :, v, u] += weight[:, y, x, k, None] * centre[:, :, y, x]
    return out


def calls(maps, window):
    """Name, result and what loops give, of all five functions."""
    a, b, weight = maps
    wide = a.double(), b.double(), weight.double()
    a64, b64, weight64 = wide
    return {
        "similar_forward": (localattention.similar_forward(a, b, *window), inner_products(a64, b64, *window)),
        "similar_backward ori": (
            localattention.similar_backward(b, weight, *window, True),
            gathered(b64, weight64, *window),
        ),
        "similar_backward loc": (
            localattention.similar_backward(a, weight, *window, False),
            scattered(a64, weight64, *window),
        ),
        "weighting_forward": (localattention.weighting_forward(b, weight, *window), gathered(b64, weight64, *window)),
        "weighting_backward_ori": (
            localattention.weighting_backward_ori(weight, a, *window),
            scattered(a64, weight64, *window),
        ),
        "weighting_backward_weight": (
            localattention.weighting_backward_weight(b, a, *window),
            inner_products(a64, b64, *window),
        ),
    }


def inputs(size, window, dtype=torch.float64):
    batch, _, height, width = size
    weight = randn(batch, height, width, window[0] * window[1], seed=2, dtype=dtype)
    return randn(*size, dtype=dtype), randn(*size, seed=1, dtype=dtype), weight


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("band_bytes", [1, 2**20])
def test_values(size, window, band_bytes, monkeypatch):
    monkeypatch.setitem(localattention._BAND_BYTES, "cpu", band_bytes)  # a row at a time, and the image at once
    for name, (got, expected) in calls(inputs(size, window), window).items():
        assert got.is_contiguous() and error(got, expected) < 1e-12, name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_types(dtype):
    window = (3, 5)
    for name, (got, expected) in calls(inputs((2, 3, 4, 5), window, dtype), window).items():
        bound = TOLERANCE[dtype] * max(1.0, float(expected.abs().max()))
        assert got.dtype == dtype and error(got, expected) < bound, name


@pytest.mark.parametrize("layout", [strided, transposed, channels_last], ids=lambda layout: layout.__name__)
def test_strides(layout):
    """The compiled package reads memory in order, whatever the strides are."""
    window = (3, 3)
    maps = [layout(x) for x in inputs((2, 3, 4, 5), window)]
    assert not maps[0].is_contiguous()
    for name, (got, expected) in calls(maps, window).items():
        assert error(got, expected) < 1e-12, name


def test_expanded():
    window = (3, 3)
    maps = [x[:1].expand(2, -1, -1, -1) for x in inputs((1, 3, 4, 5), window)]
    for name, (got, expected) in calls(maps, window).items():
        assert error(got, expected) < 1e-12, name


def test_what_is_not_finite_stays_in_its_window():
    query, key, weight = inputs((1, 2, 6, 7), (3, 3))
    key[0, 0, 2, 3] = float("nan")
    query[0, 0, 0, 0] = float("inf")
    out = localattention.similar_forward(query, key, 3, 3)
    assert not out[0, 0, 0, :3].any(), "Inf times a neighbour that is not there"
    assert out.isnan().sum() == 9
    summed = localattention.weighting_forward(key, weight, 3, 3)
    assert summed.isnan().sum() == 9 and summed[0, 0, 1:4, 2:5].isnan().all()


# --- gradients --------------------------------------------------------------------------------------------------


class OriginalSimilar(Function):
    """How a caller of the package makes a function of its two halves."""

    @staticmethod
    def forward(ctx, x_ori, x_loc, kH, kW):
        ctx.save_for_backward(x_ori, x_loc)
        ctx.window = kH, kW
        return localattention.similar_forward(x_ori, x_loc, kH, kW)

    @staticmethod
    def backward(ctx, grad):
        x_ori, x_loc = ctx.saved_tensors
        grads = [localattention.similar_backward(x, grad, *ctx.window, x is x_loc) for x in (x_loc, x_ori)]
        return *grads, None, None


class OriginalWeighting(Function):
    @staticmethod
    def forward(ctx, x_ori, x_weight, kH, kW):
        ctx.save_for_backward(x_ori, x_weight)
        ctx.window = kH, kW
        return localattention.weighting_forward(x_ori, x_weight, kH, kW)

    @staticmethod
    def backward(ctx, grad):
        x_ori, x_weight = ctx.saved_tensors
        grad_ori = localattention.weighting_backward_ori(x_weight, grad, *ctx.window)
        return grad_ori, localattention.weighting_backward_weight(x_ori, grad, *ctx.window), None, None


SIMILAR = (OriginalSimilar.apply, localattention.f_similar)
WEIGHTING = (OriginalWeighting.apply, localattention.f_weighting)


@pytest.mark.parametrize("window", [(3, 3), (2, 5)], ids=str)
def test_gradients_match_finite_differences(window):
    a, b, weight = (x.requires_grad_() for x in inputs((2, 2, 3, 4), window))
    for similar, weighting in zip(SIMILAR, WEIGHTING, strict=True):
        assert gradcheck(lambda x, y, f=similar: f(x, y, *window), (a, b))
        assert gradcheck(lambda x, y, f=weighting: f(x, y, *window), (b, weight))


def test_gradients_that_nobody_asked_for_are_not_made():
    a, b, weight = inputs((1, 2, 3, 4), (3, 3))
    for function, (first, second) in ((localattention.f_similar, (a, b)), (localattention.f_weighting, (b, weight))):
        for wanted in range(2):
            leaves = [first.clone().requires_grad_(wanted == 0), second.clone().requires_grad_(wanted == 1)]
            function(*leaves, 3, 3).sum().backward()
            assert [leaf.grad is not None for leaf in leaves] == [wanted == 0, wanted == 1]


def test_double_backward_is_refused():
    a, b, _ = (x.requires_grad_() for x in inputs((1, 2, 3, 4), (3, 3)))
    (grad,) = torch.autograd.grad(localattention.f_similar(a, b, 3, 3).square().sum(), a, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("window", [(3, 3), (7, 7), (3, 7)], ids=str)
@pytest.mark.parametrize("similar, weighting", list(zip(SIMILAR, WEIGHTING, strict=True)), ids=["original", "ours"])
def test_the_chain_is_the_operator(window, similar, weighting):
    """similar -> softmax -> weighting, as AR-Seg calls them, values and gradients."""
    maps = [randn(2, 5, 6, 9, seed=seed).requires_grad_() for seed in range(3)]
    grad = randn(2, 5, 6, 9, seed=3)
    query, key, value = maps
    chain = weighting(value, similar(query, key, *window).softmax(3), *window)
    fused = ops.local_attention(*maps, window=window, outside="zero")
    assert error(chain, fused) < 1e-12
    ours, theirs = (torch.autograd.grad(out, maps, grad) for out in (chain, fused))
    assert all(error(a, b) < 1e-12 for a, b in zip(ours, theirs, strict=True))


def test_the_chain_of_mixed_types():
    """Under CUDA's autocast weights are float32 and values half; each gradient has the type of its argument."""
    query, key, value = (randn(1, 4, 5, 6, seed=seed, dtype=torch.bfloat16).requires_grad_() for seed in range(3))
    weight = localattention.f_similar(query, key, 3, 3).softmax(3, dtype=torch.float32)  # as CUDA's autocast has it
    out = localattention.f_weighting(value, weight, 3, 3)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert all(x.grad.dtype == torch.bfloat16 and x.grad.any() for x in (query, key, value))


# --- the authors' outputs ---------------------------------------------------------------------------------------


def test_a_cut_of_the_authors_output():
    with np.load(SMALL) as arrays:
        query, key, value, expected = (torch.from_numpy(arrays[x]) for x in ("query", "key", "value", "attention"))
    weight = localattention.f_similar(query, key, 7, 7).softmax(3)
    assert error(localattention.f_weighting(value, weight, 7, 7)[..., :6, :6], expected) < 1e-5


def test_the_authors_similarities_and_sums(shared):
    raw = torch.load(shared / "oracle" / "oracle_creff.pt", weights_only=True)["raw"]
    similar = localattention.similar_forward(raw["q"], raw["k"], 7, 7)
    assert error(similar, raw["k7_similar"]) < 1e-5
    assert error(localattention.weighting_forward(raw["v"], similar.softmax(3), 7, 7), raw["k7_weighted"]) < 1e-5


# --- the module, memory, errors ---------------------------------------------------------------------------------


def test_the_module():
    module = localattention.LocalAttention(3, 8, 5, 3)
    assert {name: tuple(x.shape) for name, x in module.state_dict().items()} == {
        f"conv{i}.weight": (8, 3, 1, 1) for i in (1, 2, 3)
    }
    x = randn(2, 3, 6, 7, dtype=torch.float32)
    maps = [getattr(module, f"conv{i}")(x) for i in (1, 2, 3)]
    assert error(module(x), ops.local_attention(*maps, window=(5, 3))) < 1e-5


class Largest(TorchDispatchMode):
    """The most bytes that a tensor made within has."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.bytes = max(self.bytes, out.untyped_storage().nbytes())
        return out


def test_scratch_is_a_band():
    """Nothing is larger than the result and the arguments: the unfolded maps would be 49 of these."""
    size, window = (1, 64, 90, 120), (7, 7)
    query, key, weight = inputs(size, window, torch.float32)
    most = max(x.untyped_storage().nbytes() for x in (query, weight))
    for name in ("similar_forward", "weighting_forward", "weighting_backward_ori"):
        arguments = {"similar_forward": (query, key), "weighting_forward": (key, weight)}.get(name, (weight, key))
        with Largest() as largest:
            getattr(localattention, name)(*arguments, *window)
        assert 0 < largest.bytes <= most, name


@pytest.mark.parametrize(
    "name, arguments, error_type, sentence",
    [
        ("similar_forward", ("q", "k", 7.0, 7), TypeError, "similar_forward: kH must be an int, got float"),
        ("similar_forward", ("q", "k", 7, 0), ValueError, "similar_forward: kW must be at least 1, got 0"),
        ("similar_forward", ([1.0], "k", 3, 3), TypeError, "similar_forward: x_ori must be a tensor, got list"),
        (
            "similar_forward",
            ("q", "small", 3, 3),
            ValueError,
            r"similar_forward: x_loc must be \[1, 2, 3, 4\], as x_ori is \[1, 2, 3, 4\] and the window 3x3; "
            r"got \[1, 2, 2, 4\]",
        ),
        ("similar_forward", ("flat", "k", 3, 3), ValueError, r"x_ori must be \[N, C, H, W\], got \[2, 3, 4\]"),
        ("weighting_forward", ("q", "w", 3, 5), ValueError, r"x_weight must be \[1, 3, 4, 15\].* got \[1, 3, 4, 9\]"),
        ("weighting_backward_ori", ("w", "whole", 3, 3), ValueError, "grad_out must be of a floating dtype, got"),
        ("similar_backward", ("q", "meta", 3, 3, True), ValueError, "grad_out must be on cpu, as x is; got meta"),
    ],
)
def test_errors(name, arguments, error_type, sentence):
    tensors = {
        **dict(zip("qkw", inputs((1, 2, 3, 4), (3, 3)), strict=True)),
        "small": randn(1, 2, 2, 4),
        "flat": randn(2, 3, 4),
        "whole": torch.zeros(1, 2, 3, 4, dtype=torch.int32),
        "meta": torch.empty(1, 3, 4, 9, device="meta"),
    }
    given = [tensors[x] if isinstance(x, str) else x for x in arguments]
    with pytest.raises(error_type, match=sentence):
        getattr(localattention, name)(*given)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_what_the_cpu_gives():
    window = (7, 7)
    maps = inputs((2, 8, 20, 31), window, torch.float32)
    on_device = [x.cuda() for x in maps]
    for names in (("similar_forward", 0, 1), ("weighting_forward", 1, 2), ("weighting_backward_ori", 2, 0)):
        name, *places = names
        function = getattr(localattention, name)
        expected = function(*(maps[place] for place in places), *window)
        assert error(function(*(on_device[place] for place in places), *window).cpu(), expected) < 1e-4
