"""The CUDA kernels of mv_warp, flow_warp and resize_labels, run on the CPU, against float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers.op_samples import GRIDS, TOLERANCE, channels_last, error, randn, strided, vectors
from torch._prims_common import suggest_memory_format

from arseg_ext import oracle

# N, C, H, W: one pixel, one row, primes, no image, channels of whole vectors and not, more than a warp of vectors.
SIZES = ((1, 1, 1, 1), (1, 3, 1, 9), (2, 5, 7, 11), (0, 3, 4, 5), (1, 8, 6, 33), (2, 64, 5, 7), (1, 300, 3, 4))
DTYPES = list(TOLERANCE)


def largest(values: torch.Tensor) -> float:
    return max(1.0, float(values.detach().abs().max())) if values.numel() else 1.0


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_mv_warp(emulated, dtype, grid):
    for n, c, h, w in SIZES:
        feature = randn(n, c, h, w, dtype=dtype)
        motion = vectors(n, h, w, 2)
        options = {"block": 8, "frame_size": [8 * h, 8 * w - 3], "grid": grid}
        expected = oracle.mv_warp(feature.double(), motion, **options)
        for layout in (torch.Tensor.contiguous, channels_last, strided):
            got = emulated.mv_warp(layout(feature), motion, **options)
            assert error(got, expected) <= TOLERANCE[dtype] and got.dtype == dtype
            assert got.is_contiguous(memory_format=suggest_memory_format(layout(feature)))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradient_of_the_feature(emulated, dtype, grid):
    for n, c, h, w in SIZES:
        grad, motion = randn(n, c, h, w, dtype=dtype), vectors(n, h, w, 2, reach=90)
        options = {"block": 8, "frame_size": [8 * h, 8 * w], "grid": grid}
        leaf = torch.zeros(n, c, h, w, dtype=torch.float64, requires_grad=True)
        oracle.mv_warp(leaf, motion, **options).backward(grad.double())
        got = emulated._mv_warp_backward(grad, motion, **options)
        assert error(got, leaf.grad) <= TOLERANCE[dtype] * max(
            1.0, float(leaf.grad.abs().max()) if leaf.grad.numel() else 1.0
        )


def test_all_vectors_at_one_pixel(emulated):
    """The list of one pixel holds the whole image, in order: the same bits under any schedule."""
    grad = randn(1, 8, 17, 19, dtype=torch.float32)
    y, x = torch.meshgrid(torch.arange(17.0), torch.arange(19.0), indexing="ij")
    flow = torch.stack([9 - x, 8 - y], -1)[None]
    runs = [emulated._flow_warp_backward_feature(grad, flow, grid="aligned") for _ in range(4)]
    for run in runs[1:]:
        assert torch.equal(run, runs[0])
    assert error(runs[0][..., 8, 9], grad.double().sum((2, 3))) < 1e-5
    runs[0][..., 8, 9] = 0
    assert not runs[0].any()


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_flow_warp_and_its_gradients(emulated, dtype, grid):
    for flow_dtype in (torch.float64, torch.float32):
        for n, c, h, w in SIZES:
            feature, grad = randn(n, c, h, w, dtype=dtype), randn(n, c, h, w, seed=1, dtype=dtype)
            flow = randn(n, h, w, 2, seed=2, dtype=flow_dtype, scale=3.0)
            leaf, flow_leaf = (x.double().clone().requires_grad_() for x in (feature, flow))
            out = oracle.flow_warp(leaf, flow_leaf, grid=grid)
            out.backward(grad.double())
            results = {
                "out": (emulated.flow_warp(feature, flow, grid=grid), out),
                "feature": (emulated._flow_warp_backward_feature(grad, flow, grid=grid), leaf.grad),
                "flow": (emulated._flow_warp_backward_flow(grad, feature, flow, grid=grid), flow_leaf.grad),
            }
            for name, (got, expected) in results.items():
                tolerance = max(TOLERANCE[dtype], TOLERANCE[flow_dtype] if name == "flow" else 0)
                assert error(got, expected) <= tolerance * largest(expected), (name, flow_dtype, n, c, h, w)


def test_nan_beside_the_position_does_not_leak(emulated):
    feature = torch.zeros(1, 8, 3, 4)
    feature[..., 1, 2] = float("nan")
    still = emulated.mv_warp(feature, torch.zeros(1, 3, 4, 2, dtype=torch.int16), block=8, frame_size=[24, 32])
    assert torch.equal(still.isnan(), feature.isnan())


def test_flow_of_nan_and_far_away(emulated):
    flow = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e30]).repeat(2, 1).T.reshape(1, 2, 2, 2)
    assert not emulated.flow_warp(torch.ones(1, 4, 2, 2), flow).any()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_resize_labels(emulated, dtype, align_corners):
    for (n, k, h, w), size in (((2, 6, 4, 5), [7, 13]), ((1, 1, 1, 1), [3, 2]), ((1, 256, 9, 8), [4, 3])):
        logits = randn(n, k, h, w, dtype=dtype)
        resized = F.interpolate(logits.double(), size, mode="bilinear", align_corners=align_corners)
        for layout in (torch.Tensor.contiguous, channels_last, strided):
            labels = emulated.resize_labels(layout(logits), size, align_corners=align_corners)
            chosen = resized.gather(1, labels.long()[:, None])[:, 0]
            assert float((resized.amax(1) - chosen).max()) < 1e-5


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_resized_labels_of_inf_and_nan(emulated, dtype, align_corners):
    for k, size, target in ((5, (4, 5), [8, 10]), (5, (4, 5), [4, 5]), (40, (3, 6), [16, 67]), (3, (7, 9), [4, 3])):
        for value in (float("nan"), float("inf"), float("-inf")):
            logits = randn(1, k, *size, dtype=dtype)
            logits[0, 1, 1, 2] = logits[0, k - 1, 1, 2] = logits[0, 2, 0, 0] = value
            wide = logits.to(torch.promote_types(dtype, torch.float32))
            expected = F.interpolate(wide, target, mode="bilinear", align_corners=align_corners).argmax(1)
            assert torch.equal(emulated.resize_labels(logits, target, align_corners=align_corners).long(), expected)


def sparse(*strides: int, dtype: torch.dtype) -> torch.Tensor:
    """[1, 2, 2, 2] over more than 2^31 elements, of which only those few are ever in memory."""
    extent = 1 + sum(strides)
    try:
        memory = torch.empty(extent, dtype=dtype)
    except RuntimeError as error:
        pytest.skip(f"no address space for {extent} elements: {error}")
    return memory.as_strided((1, 2, 2, 2), (extent, *strides))


@pytest.mark.parametrize("far", range(3))
def test_offsets_of_more_than_31_bits(emulated, far):
    strides = [4, 2, 1]
    strides[far] = 2**31 + 8
    motion, logits = sparse(*strides, dtype=torch.int16), sparse(*strides, dtype=torch.float16)
    motion.copy_(torch.tensor([0, 32, -32, 0, 64, -96, 32, 32], dtype=torch.int16).reshape(1, 2, 2, 2))
    logits.copy_(randn(1, 2, 2, 2, dtype=torch.float16))
    feature = randn(1, 8, 2, 2, dtype=torch.float32)
    options = {"block": 8, "frame_size": [16, 16], "grid": "aligned"}
    assert torch.equal(
        emulated.mv_warp(feature, motion, **options), emulated.mv_warp(feature, motion.contiguous(), **options)
    )
    labels = emulated.resize_labels(logits, [5, 7], align_corners=True)
    assert torch.equal(labels, emulated.resize_labels(logits.contiguous(), [5, 7], align_corners=True))
