"""The CUDA kernels of local_attention, run on the CPU, against float64."""

from __future__ import annotations

import pytest
import torch
from helpers.op_samples import OUTSIDES, TOLERANCE, channels_last, error, randn, strided

from arseg_ext import oracle

WINDOWS = (3, 5, 7, 9, 11, (3, 7))
# N, C, Cv, H, W: a tile and a rest, channels of whole vectors and not, more channels than one chunk.
SIZES = ((1, 8, 8, 19, 35), (2, 40, 24, 5, 21), (1, 64, 64, 5, 18), (1, 72, 136, 5, 17), (1, 5, 3, 7, 6))
# For the kernel that takes everything, and has no tiles.
SMALL = ((1, 8, 8, 9, 13), (2, 5, 3, 6, 7), (1, 40, 72, 3, 5))
GRADIENT_TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}

UNIT = 2.0**-10  # of TF32, beside 1


def inputs(n, c, cv, h, w, dtype):
    query = randn(n, c, h, w, seed=1, dtype=dtype, scale=2 / c**0.5)
    return query, randn(n, c, h, w, seed=2, dtype=dtype), randn(n, cv, h, w, seed=3, dtype=dtype)


def run(emulated, maps, window, outside, scale=0.7, tf32=False):
    sides = [window, window] if isinstance(window, int) else list(window)
    return emulated._local_attention(*maps, window=sides, outside=outside, scale=scale, allow_tf32=tf32)


def expected_of(maps, window, outside, scale=0.7):
    leaves = [tensor.double().clone().requires_grad_() for tensor in maps]
    return leaves, oracle.local_attention(*leaves, window=window, outside=outside, scale=scale)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_forward_and_backward(emulated, dtype, window):
    tiled = isinstance(window, int) and window <= 9 and dtype != torch.float64
    for outside in OUTSIDES:
        for size in SIZES if tiled else SMALL:
            maps = [channels_last(tensor) for tensor in inputs(*size, dtype)]
            leaves, expected = expected_of(maps, window, outside)
            out, logsumexp = run(emulated, maps, window, outside)
            assert out.dtype == dtype and error(out, expected) <= TOLERANCE[dtype], (outside, size)
            grad = channels_last(randn(*expected.shape, seed=4, dtype=dtype))
            expected.backward(grad.double())
            sides = [window, window] if isinstance(window, int) else list(window)
            grads = emulated._local_attention_backward(grad, *maps, logsumexp, window=sides, outside=outside, scale=0.7)
            for got, leaf in zip(grads, leaves, strict=True):
                relative = float((got.double() - leaf.grad).norm() / leaf.grad.norm())
                assert relative <= GRADIENT_TOLERANCE[dtype], (outside, size)


@pytest.mark.parametrize("window", [3, 7, 9], ids=str)
def test_tf32(emulated, window):
    for i, size in enumerate(SIZES):
        outside = OUTSIDES[i % 2]
        maps = [channels_last(tensor) for tensor in inputs(*size, torch.float32)]
        expected = expected_of(maps, window, outside)[1]
        exact, tf32 = (run(emulated, maps, window, outside, tf32=allowed) for allowed in (False, True))
        assert error(tf32[0], expected) <= 6 * UNIT, size
        # Beside maps that are cut before, the weights alone are cut, each by less than a unit.
        cut = [(tensor.view(torch.int32) & -(1 << 13)).view(torch.float32) for tensor in maps]
        out, logsumexp = run(emulated, cut, window, outside)
        assert error(tf32[0], out) <= 2 * UNIT and error(tf32[1], logsumexp) <= 1.1 * UNIT, size
        assert error(tf32[0], expected) > 10 * error(exact[0], expected), size  # tensor cores have made it
        whole = emulated.local_attention(*maps, window=[window] * 2, outside=outside, scale=0.7, allow_tf32=True)
        assert torch.equal(whole, tf32[0])


@pytest.mark.parametrize("window", [11, (3, 7)], ids=str)
def test_tf32_is_an_allowance(emulated, window):
    maps = inputs(2, 5, 3, 6, 7, torch.float32)
    for exact, tf32 in zip(
        *(run(emulated, maps, window, "zero", tf32=allowed) for allowed in (False, True)), strict=True
    ):
        assert torch.equal(exact, tf32)


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_any_strides_and_no_pixels(emulated, dtype):
    maps = inputs(2, 8, 16, 6, 11, dtype)
    expected = run(emulated, maps, 5, "zero")
    for layout in (channels_last, strided):
        got = run(emulated, [layout(tensor) for tensor in maps], 5, "zero")
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    out, logsumexp = run(emulated, inputs(0, 8, 16, 6, 11, dtype), 5, "zero")
    assert out.shape == (0, 16, 6, 11) and logsumexp.shape == (0, 6, 11)


@pytest.mark.parametrize("window", [3, 7], ids=str)
@pytest.mark.parametrize(
    ("dtype", "tf32"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False)], ids=str
)
def test_nan_stays_within_the_window(emulated, dtype, tf32, window):
    y, x, reach = 7, 14, window // 2
    for place in range(3):
        for outside in OUTSIDES:
            maps = [channels_last(tensor) for tensor in inputs(1, 72, 72, 12, 27, dtype)]
            clean = run(emulated, maps, window, outside, tf32=tf32)[0]
            maps[place][0, 1, y, x] = float("nan")
            out = run(emulated, maps, window, outside, tf32=tf32)[0]
            touched = torch.zeros(1, 1, 12, 27, dtype=torch.bool)
            around = 0 if place == 0 else reach
            touched[..., y - around : y + around + 1, x - around : x + around + 1] = True
            assert out.isnan().any(1, keepdim=True).equal(touched)
            out, clean = (each[~touched.expand_as(each)] for each in (out, clean))
            # Beside a NaN the values of a patch are not cut.
            assert error(out, clean) <= 2 * UNIT if tf32 else torch.equal(out, clean)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_the_same_bits_under_every_schedule(emulated, dtype):
    maps = inputs(1, 64, 64, 9, 18, dtype)
    runs = []
    for _ in range(3):
        out, logsumexp = run(emulated, maps, 7, "zero")
        runs.append(
            (
                out,
                logsumexp,
                *emulated._local_attention_backward(out, *maps, logsumexp, window=[7, 7], outside="zero", scale=0.7),
            )
        )
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_logits_far_from_zero(emulated, dtype):
    """The largest logit is taken off before exp2; keys outside do not come back in the gradient."""
    maps = [tensor.abs() for tensor in inputs(1, 64, 64, 5, 9, dtype)]
    maps[0] = -8 * maps[0]
    for outside in OUTSIDES:
        leaves, expected = expected_of(maps, 5, outside, scale=1.0)
        out, logsumexp = run(emulated, maps, 5, outside, scale=1.0)
        assert error(out, expected) <= 4 * TOLERANCE[dtype]
        expected.backward(torch.ones_like(expected))
        grads = emulated._local_attention_backward(
            torch.ones_like(out), *maps, logsumexp, window=[5, 5], outside=outside, scale=1.0
        )
        for got, leaf in zip(grads, leaves, strict=True):
            assert got.isfinite().all()
            assert error(got, leaf.grad) <= 20 * TOLERANCE[dtype] * max(1.0, float(leaf.grad.abs().max()))
