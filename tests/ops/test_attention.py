"""Values of local_attention and creff against the reference."""

import pytest
import torch
from helpers.op_samples import (
    DTYPES,
    GRIDS,
    OUTSIDES,
    SIZES,
    TOLERANCE,
    WINDOWS,
    channels_last,
    creff_parameters,
    error,
    randn,
    strided,
    transposed,
    vectors,
)

from arseg_ext import ops, oracle


def qkv(size, dtype=torch.float64, value_channels=None):
    n, c, h, w = size
    return (
        randn(n, c, h, w, seed=1, dtype=dtype),
        randn(n, c, h, w, seed=2, dtype=dtype),
        randn(n, value_channels or c, h, w, seed=3, dtype=dtype),
    )


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("outside", OUTSIDES)
def test_meets_the_reference(window, outside):
    for dtype in DTYPES:
        for size in SIZES:
            query, key, value = qkv(size, dtype, value_channels=size[1] + 1)
            out = ops.local_attention(query, key, value, window=window, outside=outside, scale=0.7)
            doubles = (query.double(), key.double(), value.double())
            expected = oracle.local_attention(*doubles, window=window, outside=outside, scale=0.7)
            assert out.dtype == dtype and out.is_contiguous()
            assert error(out, expected) <= TOLERANCE[dtype], (dtype, size)


def test_zero_keys_outside_stay_in_the_softmax():
    query = key = torch.zeros(1, 1, 1, 1)
    value = torch.ones(1, 1, 1, 1)
    assert ops.local_attention(query, key, value, window=3).item() == pytest.approx(1 / 9)
    assert ops.local_attention(query, key, value, window=3, outside="masked").item() == 1.0


def test_saturated_softmax_picks_one_key():
    query = torch.full((1, 1, 1, 9), 100.0)
    key = torch.zeros(1, 1, 1, 9)
    key[..., 4] = 100.0
    value = torch.arange(9.0).reshape(1, 1, 1, 9)
    out = ops.local_attention(query, key, value, window=3)
    assert out[0, 0, 0, 3:6].tolist() == [4.0, 4.0, 4.0]


def test_nan_stays_within_the_window():
    for place in range(3):
        for outside in OUTSIDES:
            maps = list(qkv((1, 3, 9, 75), torch.float32))
            clean = ops.local_attention(*maps, window=(3, 5), outside=outside)
            maps[place][0, 1, 4, 63] = float("nan")
            out = ops.local_attention(*maps, window=(3, 5), outside=outside)
            touched = torch.zeros(1, 1, 9, 75, dtype=torch.bool)
            if place == 0:
                touched[..., 4, 63] = True
            else:
                touched[..., 3:6, 61:66] = True
            assert torch.equal(out[~touched.expand_as(out)], clean[~touched.expand_as(out)])
            assert out.isnan().any(1, keepdim=True).equal(touched)


@pytest.mark.parametrize("layout", [strided, transposed, channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_any_strides(layout, dtype):
    maps = qkv((2, 5, 6, 11), dtype)
    expected = ops.local_attention(*maps, window=5)
    assert torch.equal(ops.local_attention(*map(layout, maps), window=5), expected)
    assert torch.equal(ops.local_attention(layout(maps[0]), *maps[1:], window=5), expected)


def test_expanded_inputs():
    key = randn(1, 4, 1, 1).expand(2, 4, 5, 6)
    query, value = randn(2, 4, 5, 6), randn(2, 1, 5, 6).expand(2, 3, 5, 6)
    expected = oracle.local_attention(query, key, value, window=3)
    assert error(ops.local_attention(query, key, value, window=3), expected) < 1e-12


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("outside", OUTSIDES)
@pytest.mark.parametrize("dense", [False, True])
def test_creff_meets_the_reference(grid, outside, dense):
    for n, c, h, w, low in ((2, 3, 8, 11, (4, 6)), (1, 5, 5, 70, (5, 70)), (1, 2, 7, 5, (1, 1)), (0, 2, 4, 4, (2, 2))):
        maps = (randn(n, c, h, w), randn(n, c, *low, seed=5))
        parameters = creff_parameters(c)
        if dense:
            motion, field = randn(n, h, w, 2, scale=2.0), {}
        else:
            motion = vectors(n, -(-h // 2), -(-w // 2), 2)
            field = {"block": 16, "frame_size": (8 * h, 8 * w)}
        options = {"window": (3, 5), "grid": grid, "outside": outside, **field}
        expected = oracle.creff(*maps, motion, *parameters, **options)
        assert error(ops.creff(*maps, motion, *parameters, **options), expected) < 1e-12
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            cast = [tensor.to(dtype) for tensor in (*maps, *parameters)]
            doubles = [tensor.double() for tensor in cast]
            out = ops.creff(*cast[:2], motion, *cast[2:], **options)
            expected = oracle.creff(*doubles[:2], motion, *doubles[2:], **options)
            assert out.dtype == dtype
            # Each step is rounded to the storage type.
            assert error(out, expected) <= 8 * TOLERANCE[dtype], (dtype, n, c, h, w)
