"""The CPU kernels of every target that this processor can run: values, edges, bits."""

import math

import pytest
import torch
from helpers.op_samples import GRIDS, OUTSIDES, channels_last, creff_parameters, error, randn, strided, vectors

import arseg_ext
from arseg_ext import ops, oracle

CAPABILITIES = arseg_ext.build_config()["cpu_capabilities"]
# Rounding of the result, and of queries, keys and weights where pairs of bfloat16 are multiplied.
RELATIVE = {torch.float32: 2e-5, torch.float64: 1e-12, torch.float16: 2e-3, torch.bfloat16: 3e-2}
SIZES = [(1, 16, 50, 150), (2, 3, 1, 40), (1, 33, 7, 1), (1, 64, 2, 3), (1, 48, 13, 67), (2, 128, 9, 17), (1, 1, 31, 5)]


@pytest.fixture(params=CAPABILITIES, autouse=True)
def capability(request):
    name = torch.ops.arseg._use_cpu_capability(request.param)
    yield name
    torch.ops.arseg._use_cpu_capability("")


def assert_close(mine, oracle, dtype):
    assert mine.dtype == dtype and mine.shape == oracle.shape
    assert error(mine, oracle) <= RELATIVE[dtype] * max(1.0, float(oracle.abs().max()))


def fusion_inputs(size, low=None, classes=0, dtype=torch.float64, blocks=8, reach=40):
    n, c, h, w = size
    maps = [randn(n, c, h, w), randn(n, c, *(low or (-(-h // 2), -(-w // 2))), seed=1)]
    motion = vectors(n, -(-h // blocks), -(-w // blocks), 2, reach=reach)
    parameters = creff_parameters(c)
    head = [randn(classes, c, seed=7), randn(classes, seed=8)] if classes else []
    rounded = [tensor.to(dtype) for tensor in (*maps, *parameters, *head)]
    return rounded, motion, {"block": blocks, "frame_size": (h, w)}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", RELATIVE, ids=str)
@pytest.mark.parametrize("window", [3, 7, (5, 9), (9, 3), (15, 13)], ids=str)
def test_attention(dtype, window):
    for outside in OUTSIDES:
        for index, (n, c, h, w) in enumerate(SIZES):
            maps = [0.5 * randn(n, c, h, w, seed=seed) for seed in range(2)] + [randn(n, c + 1, h, w, seed=2)]
            maps = [(channels_last, strided, lambda x: x)[index % 3](tensor.to(dtype)) for tensor in maps]
            out = ops.local_attention(*maps, window=window, outside=outside, scale=0.7)
            doubles = [tensor.double() for tensor in maps]
            expected = oracle.local_attention(*doubles, window=window, outside=outside, scale=0.7)
            assert_close(out, expected, dtype)


@pytest.mark.parametrize("dtype", RELATIVE, ids=str)
@pytest.mark.parametrize("grid", GRIDS)
def test_fusion(dtype, grid):
    """Low-resolution maps smaller, larger and of one pixel; channels_last, contiguous and strided."""
    for index, size in enumerate(SIZES):
        low = (None, (1, 1), (size[2] + 3, 2 * size[3]))[index % 3]
        layout = (channels_last, strided, lambda x: x)[(index + 1) % 3]
        rounded, motion, options = fusion_inputs(size, low, dtype=dtype)
        options |= {"grid": grid, "outside": OUTSIDES[index % 2], "window": (7, 3, (5, 9))[index % 3]}
        doubles = [tensor.double() for tensor in rounded]
        expected = oracle.creff(doubles[0], doubles[1], motion, *doubles[2:], **options)
        mine = [layout(tensor) if tensor.dim() == 4 else tensor for tensor in rounded]
        out = ops.creff(mine[0], mine[1], motion, *mine[2:], **options)
        assert_close(out, expected, dtype)
        into = torch.empty_like(out)
        assert ops.creff(mine[0], mine[1], motion, *mine[2:], **options, out=into) is into
        assert torch.equal(into, out)
        flow = oracle.block_flow(motion, size[2:], block=8, frame_size=size[2:])
        dense = {key: value for key, value in options.items() if key not in ("block", "frame_size")}
        assert_close(ops.creff(mine[0], mine[1], flow, *mine[2:], **dense), expected, dtype)


@pytest.mark.parametrize("dtype", RELATIVE, ids=str)
@pytest.mark.parametrize("classes", [1, 12, 35])
def test_fusion_with_a_classifier(dtype, classes):
    for size in SIZES:
        rounded, motion, options = fusion_inputs(size, classes=classes, dtype=dtype)
        doubles = [tensor.double() for tensor in rounded]
        fused = oracle.creff(doubles[0], doubles[1], motion, *doubles[2:8], **options)
        expected = torch.nn.functional.conv2d(fused, doubles[8][:, :, None, None], doubles[9])
        assert_close(ops.creff_logits(rounded[0], rounded[1], motion, *rounded[2:], **options), expected, dtype)
        labels = ops.creff_labels(rounded[0], rounded[1], motion, *rounded[2:], **options)
        assert labels.dtype == torch.uint8 and labels.shape == (size[0], *size[2:])
        best = expected.amax(1)
        chosen = expected.gather(1, labels[:, None].long())[:, 0]
        assert float((best - chosen).max()) <= 2 * RELATIVE[dtype] * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_classifier_gradients_go_through_the_parts(dtype):
    rounded, motion, options = fusion_inputs((1, 4, 9, 11), classes=3, dtype=dtype)
    plain = ops.creff_logits(rounded[0], rounded[1], motion, *rounded[2:], **options)
    leaves = [tensor.requires_grad_() for tensor in rounded]
    out = ops.creff_logits(leaves[0], leaves[1], motion, *leaves[2:], **options)
    assert error(out, plain) <= 2 * RELATIVE[dtype] * float(plain.abs().max())
    out.sum().backward()
    assert all(leaf.grad is not None and leaf.grad.abs().sum() > 0 for leaf in leaves)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", RELATIVE, ids=str)
def test_resized_labels(dtype, align_corners):
    for index, (classes, size) in enumerate([(1, (5, 7)), (11, (90, 131)), (20, (3, 2)), (35, (19, 70))]):
        logits = (channels_last, strided, lambda x: x)[index % 3](randn(2, classes, 12, 17).to(dtype))
        labels = ops.resize_labels(logits, size, align_corners=align_corners)
        options = {"mode": "bilinear", "align_corners": align_corners}
        expected = torch.nn.functional.interpolate(logits.double(), size, **options)
        assert labels.shape == (2, *size) and labels.dtype == torch.uint8
        chosen = expected.gather(1, labels[:, None].long())
        assert float((expected.amax(1, keepdim=True) - chosen).max()) <= 1e-5


def test_vectors_that_point_far_outside():
    rounded, motion, options = fusion_inputs((1, 16, 20, 40), dtype=torch.float32, reach=32767)
    motion[0, 0, 0] = torch.tensor([-32768, 32767], dtype=torch.int16)
    doubles = [tensor.double() for tensor in rounded]
    expected = oracle.creff(doubles[0], doubles[1], motion, *doubles[2:], **options)
    assert_close(ops.creff(rounded[0], rounded[1], motion, *rounded[2:], **options), expected, torch.float32)
    flow = torch.tensor([float("nan"), float("inf"), -1e30, 1e30]).repeat(400).reshape(1, 20, 40, 2)
    assert_close(ops.flow_warp(rounded[0], flow), oracle.flow_warp(doubles[0], flow), torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_bad_pixel_stays_within_its_window(dtype, bad):
    y, x, radius = 11, 20, 3
    clean = [randn(1, 16, 24, 70, seed=seed).to(dtype) for seed in range(3)]
    before = ops.local_attention(*clean, window=7)
    far = torch.ones(24, 70, dtype=torch.bool)
    far[y - radius : y + radius + 1, x - radius : x + radius + 1] = False
    for which in range(3):
        maps = [tensor.clone() for tensor in clean]
        maps[which][0, 5, y, x] = bad
        after = ops.local_attention(*maps, window=7)
        assert torch.equal(after[..., far], before[..., far])
        assert not math.isnan(bad) or after[0, :, y, x].isnan().any()
    rounded, motion, options = fusion_inputs((1, 16, 24, 70), low=(24, 70), dtype=dtype, reach=0)
    before = ops.creff(rounded[0], rounded[1], motion, *rounded[2:], **options)
    reach = radius + 1  # the convolution
    far[y - reach : y + reach + 1, x - reach : x + reach + 1] = False
    for which in range(2):
        maps = [tensor.clone() for tensor in rounded]
        maps[which][0, 5, y, x] = bad
        after = ops.creff(maps[0], maps[1], motion, *maps[2:], **options)
        assert torch.equal(after[..., far], before[..., far])
        assert not math.isnan(bad) or after[0, :, y, x].isnan().any()


@pytest.mark.parametrize("large", ["value", "weight", "classifier"])
def test_sums_that_overflow_stay_within_their_window(large):
    """Inputs are finite, and values of the convolution, or their projection, are not: pairs of rows share a word."""
    y, x, reach = 11, 20, 4
    rounded, motion, options = fusion_inputs((1, 16, 24, 70), low=(24, 70), classes=5, dtype=torch.bfloat16, reach=0)
    reference_map, low_res, query, query_bias, key, key_bias, value, value_bias, classifier, bias = rounded
    for zeroed in (key[5], low_res[0, 5], value_bias[5], reference_map[0, 5]):
        zeroed.zero_()
    value[5], classifier[:, 5], bad = {"value": (4, 1, 3e38), "weight": (3e38, 1, 4), "classifier": (1, 3e38, 100)}[
        large
    ]
    fused = (query, query_bias, key, key_bias, value, value_bias)
    bad_map = reference_map.clone()
    bad_map[0, 5, y, x] = bad
    far = torch.ones(24, 70, dtype=torch.bool)
    far[y - reach : y + reach + 1, x - reach : x + reach + 1] = False

    def runs(feature):
        yield ops.creff(feature, low_res, motion, *fused, **options)
        yield ops.creff_logits(feature, low_res, motion, *fused, classifier, bias, **options)

    found = list(zip(runs(reference_map), runs(bad_map), strict=True))
    for clean, after in found[large == "classifier" :]:
        assert clean.isfinite().all() and not after.isfinite().all()
        assert torch.equal(after[..., far], clean[..., far])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("channels", [1, 8, 15, 16, 17, 24, 32, 48])
def test_nothing_is_written_beside_the_result(channels, dtype):
    """Tiles write whole blocks of channels: into the map itself only where it has as many."""
    size, field = (1, channels, 16, 48), {"block": 4, "frame_size": [64, 192]}
    reference, low = (channels_last(randn(*s, dtype=dtype)) for s in (size, (1, channels, 8, 24)))
    motion, parameters = torch.zeros(1, 16, 48, 2, dtype=torch.int16), creff_parameters(channels, dtype)
    both = channels_last(torch.full((2, *size[1:]), 7.0, dtype=dtype))
    ops.creff(reference, low, motion, *parameters, window=3, **field, out=both[:1])
    assert torch.equal(both[1], torch.full_like(both[1], 7.0))
    assert torch.equal(both[:1], ops.creff(reference, low, motion, *parameters, window=3, **field))


def test_bfloat16_is_no_worse_than_eager():
    rounded, motion, options = fusion_inputs((1, 64, 40, 70), dtype=torch.bfloat16)
    doubles = [tensor.double() for tensor in rounded]
    expected = oracle.creff(doubles[0], doubles[1], motion, *doubles[2:], **options)
    eager = oracle.creff(rounded[0], rounded[1], motion, *rounded[2:], **options)
    mine = ops.creff(rounded[0], rounded[1], motion, *rounded[2:], **options)

    def rms(tensor):
        return float((tensor.double() - expected).square().mean().sqrt())

    assert rms(mine) <= rms(eager)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_bits_do_not_depend_on_threads(dtype):
    rounded, motion, options = fusion_inputs((1, 32, 100, 130), classes=5, dtype=dtype)
    maps = [channels_last(randn(1, 32, 100, 130, seed=seed).to(dtype)) for seed in range(4)]

    def results():
        leaves = [tensor.clone().requires_grad_() for tensor in maps[:3]]
        attended = ops.local_attention(*leaves, window=7)
        return [
            ops.mv_warp(rounded[0], motion, **options),
            ops.creff(rounded[0], rounded[1], motion, *rounded[2:8], **options),
            ops.creff_labels(rounded[0], rounded[1], motion, *rounded[2:], **options),
            attended.detach(),
            *torch.autograd.grad(attended, leaves, maps[3]),
        ]

    threads = torch.get_num_threads()
    try:
        first = results()
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            for expected, got in zip(first, results(), strict=True):
                assert torch.equal(expected, got)
    finally:
        torch.set_num_threads(threads)
