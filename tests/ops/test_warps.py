"""Values of mv_warp and flow_warp against the reference."""

import pytest
import torch
from helpers.op_samples import (
    DTYPES,
    GRIDS,
    SIZES,
    TOLERANCE,
    channels_last,
    error,
    randn,
    strided,
    transposed,
    vectors,
)

from arseg_ext import ops, oracle


def blocks(pixels: int, block: int) -> int:
    return -(-pixels // block)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_flow_warp_meets_the_reference(dtype, grid):
    for size in SIZES:
        feature = randn(*size, dtype=dtype)
        for flow_dtype in DTYPES:
            flow = randn(size[0], *size[2:], 2, dtype=flow_dtype, scale=3.0)
            out = ops.flow_warp(feature, flow, grid=grid)
            assert out.dtype == dtype and out.is_contiguous()
            assert error(out, oracle.flow_warp(feature.double(), flow, grid=grid)) <= TOLERANCE[dtype] * 4, size


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("block", [4, 8, 16])
def test_mv_warp_meets_the_reference(block, grid):
    for dtype in DTYPES:
        for size in SIZES:
            for frame in ((size[2] * 8, size[3] * 8), (37, 101), (size[2], size[3])):
                feature = randn(*size, dtype=dtype)
                for unit in (block, 16):  # the frame as it is, and padded to whole macroblocks
                    motion = vectors(size[0], *(blocks(side, unit) * unit // block for side in frame), 2)
                    out = ops.mv_warp(feature, motion, block=block, frame_size=frame, grid=grid)
                    expected = oracle.mv_warp(feature.double(), motion, block=block, frame_size=frame, grid=grid)
                    assert out.dtype == dtype and out.is_contiguous()
                    assert error(out, expected) <= TOLERANCE[dtype] * 4, (size, frame)


def test_mv_warp_is_flow_warp_by_the_scaled_vectors():
    feature = randn(1, 3, 9, 16)
    motion = torch.tensor([6, -10], dtype=torch.int16).expand(1, 5, 8, 2)
    flow = torch.tensor([6 / 4 * 16 / 128, -10 / 4 * 9 / 72], dtype=torch.float64).expand(1, 9, 16, 2)
    out = ops.mv_warp(feature, motion, block=16, frame_size=(72, 128))
    assert error(out, ops.flow_warp(feature, flow)) < 1e-13


def test_known_vector_by_hand():
    # Frame 8 x 16 at half size; two blocks. Left: 4 video pixels to the right = 2 feature pixels. Right: still.
    feature = torch.arange(32.0).reshape(1, 1, 4, 8)
    motion = torch.tensor([[[[16, 0], [0, 0]]]], dtype=torch.int16)
    out = ops.mv_warp(feature, motion, block=8, frame_size=(8, 16))
    assert torch.equal(out[..., :4], feature[..., 2:6])
    assert torch.equal(out[..., 4:], feature[..., 4:])


def test_taps_outside_contribute_zero():
    feature = torch.ones(1, 1, 3, 4)
    flow = torch.tensor([-0.25, 0.5]).expand(1, 3, 4, 2)
    expected = torch.tensor([[0.75, 1, 1, 1], [0.75, 1, 1, 1], [0.375, 0.5, 0.5, 0.5]])
    assert torch.equal(ops.flow_warp(feature, flow)[0, 0], expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_motion_copies_bit_for_bit(dtype):
    feature = randn(2, 3, 5, 70, dtype=dtype)
    feature[0, 0, 2, 3] = float("nan")
    feature[1, 2, 4, 69] = float("inf")
    still = torch.zeros(2, 3, 18, 2, dtype=torch.int16)
    for out in (
        ops.mv_warp(feature, still, block=16, frame_size=(40, 280)),
        ops.flow_warp(feature, torch.zeros(2, 5, 70, 2)),
    ):
        assert torch.equal(out.nan_to_num(7), feature.nan_to_num(7))


def test_legacy_grid_is_grid_sample_with_the_authors_flags():
    feature, flow = randn(2, 3, 6, 9), randn(2, 6, 9, 2, scale=2.0)
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(9.0), indexing="ij")
    position = torch.stack((x, y), -1) + flow
    normalised = 2 * position / torch.tensor([8.0, 5.0]) - 1
    expected = torch.nn.functional.grid_sample(feature, normalised, padding_mode="zeros", align_corners=False)
    assert error(ops.flow_warp(feature, flow, grid="legacy"), expected) < 1e-12


def test_aligned_grid_is_grid_sample_with_aligned_corners():
    feature, flow = randn(2, 3, 6, 9), randn(2, 6, 9, 2, scale=2.0)
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(9.0), indexing="ij")
    normalised = 2 * (torch.stack((x, y), -1) + flow) / torch.tensor([8.0, 5.0]) - 1
    expected = torch.nn.functional.grid_sample(feature, normalised, padding_mode="zeros", align_corners=True)
    assert error(ops.flow_warp(feature, flow), expected) < 1e-12


@pytest.mark.parametrize("grid", GRIDS)
def test_far_and_invalid_positions_give_zero(grid):
    feature = randn(1, 2, 4, 4, dtype=torch.float32) + 5
    for bad in (float("nan"), float("inf"), float("-inf"), 1e30, -1e30, 3e9, -3e9, 2.0**63):
        for axis in (0, 1):
            flow = torch.zeros(1, 4, 4, 2)
            flow[0, 1, 2, axis] = bad
            flow.requires_grad_()
            leaf = feature.clone().requires_grad_()
            out = ops.flow_warp(leaf, flow, grid=grid)
            assert torch.equal(out[0, :, 1, 2], torch.zeros(2))
            out.sum().backward()
            assert leaf.grad.isfinite().all() and flow.grad.isfinite().all()
            assert torch.equal(flow.grad[0, 1, 2], torch.zeros(2))
    extreme = torch.full((1, 1, 1, 2), -32768, dtype=torch.int16)
    assert torch.equal(ops.mv_warp(feature, extreme, block=16, frame_size=(16, 16), grid=grid), torch.zeros(1, 2, 4, 4))


def test_nan_stays_in_the_pixels_that_sample_it():
    feature = randn(1, 1, 7, 7)
    feature[0, 0, 3, 3] = float("nan")
    out = ops.flow_warp(feature, torch.full((1, 7, 7, 2), 0.5, dtype=torch.float64))
    assert {tuple(p) for p in out[0, 0].isnan().nonzero().tolist()} == {(2, 2), (2, 3), (3, 2), (3, 3)}


@pytest.mark.parametrize("layout", [strided, transposed, channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_strides(layout, dtype):
    feature = randn(2, 5, 6, 11, dtype=dtype)
    flow = randn(2, 6, 11, 2, scale=2.0)
    motion = vectors(2, 3, 6, 2)
    field = {"block": 16, "frame_size": (48, 88)}
    assert torch.equal(ops.flow_warp(layout(feature), layout(flow)), ops.flow_warp(feature, flow))
    assert torch.equal(ops.mv_warp(layout(feature), layout(motion), **field), ops.mv_warp(feature, motion, **field))


@pytest.mark.parametrize(
    "shape", [(1, 5, 12, 1100), (1, 1030, 3, 150), (2, 3, 110, 70)], ids=["wide", "many channels", "high"]
)
def test_strips_and_pieces_of_rows_meet(shape):
    """Strips, pieces of rows between planes and pixels, and pixels that are fetched because they jump."""
    feature, flow = randn(*shape, dtype=torch.float32), 4 * randn(shape[0], *shape[2:], 2, seed=1, dtype=torch.float32)
    flow[:, :, : shape[3] // 2] = 1.25
    contiguous = ops.flow_warp(feature, flow)
    torch.testing.assert_close(
        contiguous.double(), oracle.flow_warp(feature.double(), flow.double()), rtol=1e-5, atol=1e-5
    )
    assert torch.equal(ops.flow_warp(channels_last(feature), flow), contiguous)


def test_coordinates_keep_their_precision_on_wide_maps():
    # At x = 4000 a float16 position is off by up to 2 pixels, a bfloat16 one by 16.
    feature = torch.arange(4096, dtype=torch.float32).expand(1, 1, 1, 4096)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        out = ops.flow_warp(feature, torch.tensor([0.25, 0.0], dtype=dtype).expand(1, 1, 4096, 2))
        assert torch.equal(out[..., :-1], feature[..., :-1] + 0.25)


@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, channels_last], ids=["contiguous", "channels_last"])
def test_the_gradient_has_the_memory_format_of_the_gradient_it_is_given(layout):
    feature, grad = randn(2, 6, 5, 7).requires_grad_(), layout(randn(2, 6, 5, 7, seed=1))
    flow, motion = randn(2, 5, 7, 2), vectors(2, 5, 7, 2)
    for warped in (ops.flow_warp(feature, flow), ops.mv_warp(feature, motion, block=8, frame_size=(40, 56))):
        (found,) = torch.autograd.grad(warped, feature, grad, retain_graph=True)
        (plain,) = torch.autograd.grad(warped, feature, grad.contiguous())
        assert found.stride() == grad.stride() and torch.equal(found, plain)
