"""The CUDA kernels of the fusion, run on the CPU, against float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers.op_samples import (
    GRIDS,
    OUTSIDES,
    TOLERANCE,
    channels_last,
    creff_parameters,
    error,
    randn,
    strided,
    vectors,
)

from arseg_ext import oracle

# N, C, H, W, low-resolution H, W: two tiles and a rest, the low-resolution map larger than the map, one pixel of it.
SIZES = (
    (1, 8, 11, 19, 6, 9),
    (2, 5, 5, 18, 5, 18),
    (1, 40, 9, 7, 12, 9),
    (1, 64, 10, 17, 5, 8),
    (1, 72, 3, 5, 1, 1),
    (1, 136, 9, 18, 5, 8),
)
DTYPES = list(TOLERANCE)


def inputs(size, dtype, dense):
    n, c, h, w, low_h, low_w = size
    maps = [randn(n, c, h, w, dtype=dtype), randn(n, c, low_h, low_w, seed=5, dtype=dtype)]
    parameters = creff_parameters(c, dtype, scale=0.3 / c**0.25)
    if dense:
        return maps, randn(n, h, w, 2, scale=2.0), parameters, {}
    return maps, vectors(n, h, w, 2), parameters, {"block": 8, "frame_size": [8 * h, 8 * w]}


def expected_of(maps, motion, parameters, field, **options):
    doubles = [tensor.double() for tensor in (*maps, *parameters)]
    return oracle.creff(*doubles[:2], motion, *doubles[2:], **field, **options)


@pytest.mark.parametrize("window", [(3, 3), (5, 5), (7, 7), (9, 9), (3, 7)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_features(emulated, dtype, window):
    for i, size in enumerate(SIZES):
        dense, grid, outside = bool(i % 2), GRIDS[i // 2 % 2], OUTSIDES[(i + window[1] // 2) % 2]
        maps, motion, parameters, field = inputs(size, dtype, dense)
        options = {"window": window, "grid": grid, "outside": outside}
        expected = expected_of(maps, motion, parameters, field, **options)
        for layout in (torch.Tensor.contiguous, channels_last, strided)[i % 3 :][:1]:
            out = emulated.creff(*map(layout, maps), motion, *parameters, **field, **options)
            assert out.dtype == dtype
            assert error(out, expected) <= 8 * TOLERANCE[dtype], (size, dense, grid, outside)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_tf32(emulated, dtype):
    """Of the attention of float32, as attention by itself has it; nothing else takes notice."""
    for i, size in enumerate(SIZES[:4]):
        maps, motion, parameters, field = inputs(size, dtype, bool(i % 2))
        classifier = randn(12, size[1], seed=8, dtype=dtype, scale=0.3), randn(12, seed=9, dtype=dtype)
        expected = expected_of(maps, motion, parameters, field, window=(7, 7))
        for op, more in ((emulated.creff, ()), (emulated.creff_logits, classifier)):
            exact, tf32 = (
                op(*maps, motion, *parameters, *more, window=[7, 7], **field, allow_tf32=allowed)
                for allowed in (False, True)
            )
            if dtype == torch.float32:
                difference = error(tf32, exact)
                assert 2.0**-16 < difference <= 6 * 2.0**-10, (size, op)  # units of TF32
                assert more or error(exact, expected) < difference / 10, size
            else:
                assert torch.equal(tf32, exact)
        into = torch.empty_like(maps[0])
        options = {"window": [7, 7], "block": None, "frame_size": None, "grid": "aligned", "outside": "zero", **field}
        emulated._creff_into(*maps, motion, *parameters, **options, allow_tf32=True, out=into)
        assert torch.equal(into, emulated.creff(*maps, motion, *parameters, window=[7, 7], **field, allow_tf32=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_into_a_given_map(emulated, dtype):
    maps, motion, parameters, field = inputs(SIZES[0], dtype, False)
    options = {"window": [7, 7], "grid": "aligned", "outside": "zero", **field}
    expected = emulated.creff(*maps, motion, *parameters, **options)
    for layout in (torch.Tensor.contiguous, channels_last, strided):
        out = layout(torch.full_like(maps[0], float("nan")))
        emulated._creff_into(*maps, motion, *parameters, **options, out=out)
        assert torch.equal(out, expected)


@pytest.mark.parametrize("classes", [1, 12, 40, 256])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_logits_and_labels(emulated, dtype, classes):
    for i, size in enumerate(SIZES):
        maps, motion, parameters, field = inputs(size, dtype, bool(i % 2))
        options = {"window": (7, 7) if i % 2 else (3, 3), "grid": "aligned", "outside": "zero"}
        weight = randn(classes, size[1], seed=8, dtype=dtype, scale=0.3)
        bias = randn(classes, seed=9, dtype=dtype)
        fused = expected_of(maps, motion, parameters, field, **options)
        expected = F.conv2d(fused, weight.double()[:, :, None, None], bias.double())
        arguments = (*maps, motion, *parameters, weight if i % 2 else weight[:, :, None, None], bias)
        logits = emulated.creff_logits(*arguments, **field, **options)
        most = max(1.0, float(expected.abs().max()))
        assert error(logits, expected) <= 8 * TOLERANCE[dtype] * most, size
        labels = emulated.creff_labels(*arguments, **field, **options)
        chosen = expected.gather(1, labels.long()[:, None])[:, 0]
        assert float((expected.amax(1) - chosen).max()) <= 16 * TOLERANCE[dtype] * most, size


@pytest.mark.parametrize(
    ("classes", "window", "channels"),
    [(5, 3, 16), (12, 7, 16), (19, 3, 16), (70, 7, 16), (12, 3, 72), (19, 7, 72)],
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_labels_of_what_is_not_finite(emulated, dtype, classes, window, channels):
    """The first NaN, and no class whose bias is -Inf, on each of the kernels that choose."""
    maps, motion, parameters, field = inputs((1, channels, 9, 18, 5, 9), dtype, False)
    weight = randn(classes, channels, seed=8, dtype=dtype, scale=0.3)
    options = {"window": (window, window), "grid": "aligned", "outside": "zero", **field}

    def labels(bias):
        arguments = (*maps, motion, *parameters, weight, bias)
        found, logits = emulated.creff_labels(*arguments, **options), emulated.creff_logits(*arguments, **options)
        assert torch.equal(logits.isnan().any(1), logits.gather(1, found.long()[:, None])[:, 0].isnan())
        return found, logits

    bias = randn(classes, seed=9, dtype=dtype)
    for wrong in ([1], [classes - 1], [2, classes - 2], [0, 3], list(range(1, classes))):
        bias[wrong] = float("nan")
        assert (labels(bias)[0] == wrong[0]).all()
        bias[wrong] = float("-inf")
        found, logits = labels(bias)
        assert not torch.isin(found.long(), torch.tensor(wrong)).any() and (logits[:, wrong] == -torch.inf).all()
        bias[wrong] = 0
    maps[1][0, 3, 2, 4] = float("nan")
    found, logits = labels(bias)
    up = F.interpolate(maps[1].float(), (9, 18), mode="bilinear", align_corners=True).isnan().any(1)
    asks = F.max_pool2d(up[:, None].float(), 3, 1, 1)[:, 0].bool()  # its query is NaN
    assert torch.equal(logits.isnan(), asks[:, None].expand_as(logits)) and (found[asks] == 0).all()


@pytest.mark.parametrize(("classes", "channels"), [(5, 16), (19, 16), (5, 72), (19, 72)])
def test_labels_of_infinite_logits(emulated, classes, channels):
    """Values that float16 cannot hold are Inf: so are all classes, and what is none, 0 times Inf, is not chosen."""
    maps, motion, parameters, field = inputs((1, channels, 9, 18, 5, 9), torch.float16, False)
    maps[0] = maps[0].abs() + 1
    parameters = list(parameters)
    parameters[4] = torch.full_like(parameters[4], 30000.0)  # of values
    weight = randn(classes, channels, seed=8, dtype=torch.float16).abs() + 0.1
    bias = randn(classes, seed=9, dtype=torch.float16)
    arguments = (*maps, motion, *parameters, weight, bias)
    options = {"window": (3, 3), "grid": "aligned", "outside": "masked", **field}
    logits, found = emulated.creff_logits(*arguments, **options), emulated.creff_labels(*arguments, **options)
    infinite = (logits == torch.inf).all(1)
    assert infinite.any() and (found[infinite] == 0).all() and (found < classes).all()


@pytest.mark.parametrize("channels", [8, 72])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_upsampling_counts_every_tap(emulated, dtype, channels):
    """0 times Inf is NaN, as in torch's interpolate, in the residual and in the queries."""
    for low in ((5, 9), (9, 17), (3, 17)):
        maps, motion, parameters, field = inputs((1, channels, 9, 17, *low), dtype, False)
        options = {"window": (3, 3), "grid": "aligned", "outside": "zero", **field}
        for value in (float("inf"), float("-inf"), float("nan")):
            low_res = maps[1].clone()
            low_res[0, 5, 1, 3] = value
            out = emulated.creff(maps[0], low_res, motion, *parameters, **options)
            up = F.interpolate(low_res.double(), (9, 17), mode="bilinear", align_corners=True)
            touched = F.max_pool2d((~up.isfinite()).any(1, keepdim=True).double(), 3, 1, 1).bool()
            assert torch.equal((~out.isfinite()).any(1, keepdim=True), touched)


def test_no_pixels(emulated):
    maps, motion, parameters, field = inputs((0, 8, 4, 4, 2, 2), torch.float32, False)
    options = {"window": [3, 3], "grid": "aligned", "outside": "zero", **field}
    assert emulated.creff(*maps, motion, *parameters, **options).shape == (0, 8, 4, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_nan_reaches_what_it_must_and_no_more(emulated, dtype):
    """A value reaches keys and values one pixel around it, and through the window three more."""
    maps, _, parameters, _ = inputs((1, 8, 15, 21, 8, 11), dtype, True)
    flow = torch.zeros(1, 15, 21, 2)
    options = {"window": [7, 7], "grid": "aligned", "outside": "zero"}
    clean = emulated.creff(*maps, flow, *parameters, **options)
    maps[0][0, 3, 7, 10] = float("nan")
    out = emulated.creff(*maps, flow, *parameters, **options)
    touched = torch.zeros(1, 1, 15, 21, dtype=torch.bool)
    touched[..., 3:12, 6:15] = True
    assert out.isnan().any(1, keepdim=True).equal(touched)
    assert torch.equal(out[~touched.expand_as(out)], clean[~touched.expand_as(out)])
