"""Shapes, strides, options and vectors that nobody thought of."""

import pytest
import torch
from helpers.op_samples import GRIDS, OUTSIDES, channels_last, error, randn, strided, transposed, vectors

from arseg_ext import ops, oracle

# Where it is missing this file is skipped, and the others of the folder are still collected.
hypothesis = pytest.importorskip("hypothesis", exc_type=ImportError)
given, settings, st = hypothesis.given, hypothesis.settings, hypothesis.strategies

SIDES = st.integers(1, 20)
LAYOUTS = st.sampled_from([lambda tensor: tensor, strided, transposed, channels_last])
SETTINGS = settings(max_examples=40)


@SETTINGS
@given(
    n=st.integers(1, 2),
    c=st.integers(1, 9),
    h=SIDES,
    w=st.one_of(SIDES, st.integers(60, 70)),
    block=st.sampled_from([4, 8, 16]),
    frame=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    padded=st.booleans(),
    reach=st.sampled_from([0, 3, 60, 32000]),
    grid=st.sampled_from(GRIDS),
    layout=LAYOUTS,
    seed=st.integers(0, 99),
)
def test_mv_warp(n, c, h, w, block, frame, padded, reach, grid, layout, seed):
    feature = layout(randn(n, c, h, w, seed=seed)).requires_grad_()
    unit = 16 if padded else block
    motion = vectors(n, *(-(-side // unit) * unit // block for side in frame), 2, seed=seed, reach=reach)
    exact = feature.detach().clone().requires_grad_()
    out = ops.mv_warp(feature, motion, block=block, frame_size=frame, grid=grid)
    expected = oracle.mv_warp(exact, motion, block=block, frame_size=frame, grid=grid)
    grad = layout(randn(n, c, h, w, seed=seed + 1))
    out.backward(grad)
    expected.backward(grad)
    assert error(out, expected) < 1e-9
    assert error(feature.grad, exact.grad) < 1e-9


@SETTINGS
@given(
    n=st.integers(1, 2),
    c=st.integers(1, 9),
    value_channels=st.integers(1, 6),
    h=SIDES,
    w=st.one_of(SIDES, st.integers(60, 70)),
    window=st.tuples(*[st.sampled_from([3, 5, 7, 9, 11, 13, 15])] * 2),
    outside=st.sampled_from(OUTSIDES),
    scale=st.sampled_from([1.0, 0.25, -2.0, 0.0]),
    layout=LAYOUTS,
    seed=st.integers(0, 99),
)
def test_local_attention(n, c, value_channels, h, w, window, outside, scale, layout, seed):
    maps = [randn(n, c, h, w, seed=seed), randn(n, c, h, w, seed=seed + 1), randn(n, value_channels, h, w, seed=seed)]
    mine = [layout(tensor).requires_grad_() for tensor in maps]
    exact = [tensor.clone().requires_grad_() for tensor in maps]
    options = {"window": window, "outside": outside, "scale": scale}
    out, expected = ops.local_attention(*mine, **options), oracle.local_attention(*exact, **options)
    grad = randn(n, value_channels, h, w, seed=seed + 2)
    got = torch.autograd.grad(out, mine, layout(grad))
    wanted = torch.autograd.grad(expected, exact, grad)
    assert error(out, expected) < 1e-12
    assert all(error(a, b) < 1e-10 for a, b in zip(got, wanted, strict=True))
