"""Gradients: gradcheck, the reference's own, odd layouts, determinism, and no second derivative."""

import pytest
import torch
from helpers.op_samples import (
    GRIDS,
    OUTSIDES,
    TOLERANCE,
    channels_last,
    creff_parameters,
    error,
    randn,
    strided,
    transposed,
    vectors,
)
from torch.autograd import gradcheck

from arseg_ext import ops, oracle

FIELD = {"block": 16, "frame_size": (40, 56)}


def leaves(*tensors):
    return [tensor.clone().requires_grad_() for tensor in tensors]


@pytest.mark.parametrize("grid", GRIDS)
def test_gradcheck_warps(grid):
    feature, flow = leaves(randn(2, 2, 3, 4), randn(2, 3, 4, 2, scale=1.5))
    assert gradcheck(lambda f, d: ops.flow_warp(f, d, grid=grid), (feature, flow), fast_mode=False)
    motion = vectors(2, 3, 4, 2)
    assert gradcheck(lambda f: ops.mv_warp(f, motion, grid=grid, **FIELD), leaves(randn(2, 2, 3, 4)))


@pytest.mark.parametrize("outside", OUTSIDES)
@pytest.mark.parametrize("window", [3, (3, 5)])
def test_gradcheck_attention(window, outside):
    inputs = leaves(randn(1, 2, 3, 4, seed=1), randn(1, 2, 3, 4, seed=2), randn(1, 3, 3, 4, seed=3))
    assert gradcheck(lambda q, k, v: ops.local_attention(q, k, v, window=window, outside=outside, scale=0.6), inputs)


def test_large_logits_in_single_precision():
    """A logsumexp of some hundreds is rounded to 1e-5, as large as the slopes of a softmax that is nearly decided."""
    maps = [randn(1, 64, 12, 20, seed=seed, scale=2.5) for seed in (1, 2, 3)]
    grad = randn(1, 64, 12, 20, seed=4)

    def gradients(function, dtype):
        inputs = leaves(*(x.to(dtype) for x in maps))
        function(*inputs, window=7).backward(grad.to(dtype))
        return [x.grad.double() for x in inputs]

    exact = gradients(oracle.local_attention, torch.float64)
    for found, expected in zip(gradients(ops.local_attention, torch.float32), exact, strict=True):
        assert float((found - expected).norm() / expected.norm()) < 1e-4


@pytest.mark.parametrize("dense", [False, True])
def test_gradcheck_creff(dense):
    inputs = leaves(randn(1, 2, 4, 5), randn(1, 2, 2, 3, seed=5), *creff_parameters(2))
    motion = randn(1, 4, 5, 2) if dense else vectors(1, 3, 4, 2)
    field = {} if dense else FIELD

    def run(reference_map, low, *parameters):
        return ops.creff(reference_map, low, motion, *parameters, window=3, **field)

    assert gradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layout", [lambda t: t, strided, transposed, channels_last])
def test_gradients_meet_the_reference(dtype, layout):
    size = (2, 3, 5, 70)
    maps = [randn(*size, seed=seed, dtype=dtype) for seed in range(3)]
    grad = randn(*size, seed=7, dtype=dtype)
    flow = randn(2, 5, 70, 2, scale=2.0)
    motion = vectors(2, 3, 35, 2)
    field = {"block": 16, "frame_size": (40, 560)}
    calls = [
        (lambda module, f, d: module.flow_warp(f, d), [maps[0], flow]),
        (lambda module, f, d: module.flow_warp(f, d, grid="legacy"), [maps[0], flow.float()]),
        (lambda module, f: module.mv_warp(f, motion, **field), [maps[0]]),
        (lambda module, q, k, v: module.local_attention(q, k, v, window=(3, 5)), maps),
        (lambda module, q, k, v: module.local_attention(q, k, v, window=5, outside="masked"), maps),
    ]
    for call, inputs in calls:
        mine = [layout(tensor).requires_grad_() for tensor in inputs]
        exact = leaves(*(tensor.double() for tensor in inputs))
        got = torch.autograd.grad(call(ops, *mine), mine, layout(grad))
        expected = torch.autograd.grad(call(oracle, *exact), exact, grad.double())
        for mine_grad, oracle_grad, tensor in zip(got, expected, inputs, strict=True):
            assert mine_grad.dtype == tensor.dtype
            scale = max(1.0, float(oracle_grad.abs().max()))
            tolerance = max(TOLERANCE[dtype], TOLERANCE[tensor.dtype])
            assert error(mine_grad, oracle_grad) <= 2 * tolerance * scale


def test_expanded_gradient():
    maps = leaves(*(randn(1, 3, 5, 6, seed=seed) for seed in range(3)))
    ops.local_attention(*maps, window=3).sum().backward()  # the gradient of sum() has strides of 0
    exact = leaves(*(tensor.detach() for tensor in maps))
    oracle.local_attention(*exact, window=3).sum().backward()
    for mine, theirs in zip(maps, exact, strict=True):
        assert error(mine.grad, theirs.grad) < 1e-12


def test_only_what_is_needed():
    feature, flow = randn(1, 2, 3, 4), randn(1, 3, 4, 2)
    (grad,) = torch.autograd.grad(ops.flow_warp(feature, flow.requires_grad_()).sum(), flow)
    assert grad.shape == flow.shape
    out = ops.flow_warp(feature, flow.detach())
    assert not out.requires_grad


def test_strides_beyond_32_bits():
    # Pages that are never touched cost no memory.
    step = 2**32 + 64
    base = torch.empty(2 * step, dtype=torch.bfloat16)
    size, strides = (1, 2, 2, 16), (0, step, 16, 1)
    far = base.as_strided(size, strides)
    near = randn(*size, dtype=torch.bfloat16)
    far.copy_(near)
    flow, motion = randn(1, 2, 16, 2), vectors(1, 1, 8, 2)
    field = {"block": 16, "frame_size": (16, 128)}
    for call in (
        lambda t: ops.flow_warp(t, flow),
        lambda t: ops.mv_warp(t, motion, **field),
        lambda t: ops.local_attention(t, t, t, window=3),
    ):
        a, b = far.detach().requires_grad_(), near.clone().requires_grad_()
        out, expected = call(a), call(b)
        assert torch.equal(out, expected)
        (mine,) = torch.autograd.grad(out, a, far)
        (theirs,) = torch.autograd.grad(expected, b, near)
        assert torch.equal(mine, theirs)


def test_empty_batch():
    maps = leaves(*(torch.empty(0, 3, 4, 5) for _ in range(3)))
    ops.local_attention(*maps, window=3).sum().backward()
    assert all(tensor.grad.shape == tensor.shape for tensor in maps)
    feature, flow = leaves(torch.empty(0, 3, 4, 5), torch.empty(0, 4, 5, 2))
    ops.flow_warp(feature, flow).sum().backward()
    assert feature.grad.shape == feature.shape and flow.grad.shape == flow.shape


def every_gradient(threads: int) -> list[torch.Tensor]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        maps = leaves(*(randn(2, 9, 11, 70, seed=seed, dtype=torch.float32) for seed in range(3)))
        flow = randn(2, 11, 70, 2, scale=9.0, dtype=torch.float32).requires_grad_()
        motion = vectors(2, 6, 35, 2, reach=400)
        warped = ops.flow_warp(maps[0], flow) + ops.mv_warp(maps[0], motion, block=16, frame_size=(88, 560))
        out = ops.local_attention(maps[1], warped, maps[2], window=7)
        out.square().sum().backward()
        return [out.detach(), flow.grad, *(tensor.grad for tensor in maps)]
    finally:
        torch.set_num_threads(before)


def test_same_bits_for_any_number_of_threads():
    first = every_gradient(1)
    for threads in (1, 2, 3):
        assert all(torch.equal(a, b) for a, b in zip(first, every_gradient(threads), strict=True))


@pytest.mark.parametrize("name", ["mv_warp", "flow_warp", "local_attention"])
def test_double_backward_is_refused(name):
    feature = randn(1, 2, 3, 4).requires_grad_()
    out = {
        "mv_warp": lambda: ops.mv_warp(feature, vectors(1, 3, 4, 2), **FIELD),
        "flow_warp": lambda: ops.flow_warp(feature, randn(1, 3, 4, 2)),
        "local_attention": lambda: ops.local_attention(feature, feature, feature, window=3),
    }[name]()
    (grad,) = torch.autograd.grad(out.square().sum(), feature, create_graph=True)
    with pytest.raises(RuntimeError, match=f"^{name}: double backward is not supported$"):
        grad.sum().backward()


def test_masked_keys_have_no_gradient_where_all_logits_are_low():
    """A key outside the image has logit 0, far above the others: it must not come back in the backward."""
    query = torch.full((1, 16, 5, 18), 2.5)
    key, value = -2.5 + 0.1 * randn(1, 16, 5, 18, seed=1).float(), randn(1, 5, 5, 18, seed=2).float()
    mine = leaves(query, key, value)
    exact = leaves(*(tensor.double() for tensor in (query, key, value)))
    ops.local_attention(*mine, window=5, outside="masked").sum().backward()
    oracle.local_attention(*exact, window=5, outside="masked").sum().backward()
    for ours, expected in zip(mine, exact, strict=True):
        assert error(ours.grad, expected.grad) < 1e-4 * max(1.0, float(expected.grad.abs().max()))
