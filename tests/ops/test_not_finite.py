"""Inf and NaN: labels are those of torch's interpolate and argmax, on every path."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from helpers.op_samples import channels_last, creff_parameters, randn, vectors

from arseg_ext import ops

INF, NAN = float("inf"), float("nan")
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@pytest.fixture(params=["plain", "avx2", "avx512", "avx512_bf16"])
def capability(request):
    try:
        if torch.ops.arseg._use_cpu_capability(request.param) != request.param:
            pytest.skip("not the processor for it")
        yield request.param
    except RuntimeError as error:
        pytest.skip(str(error))
    finally:
        torch.ops.arseg._use_cpu_capability("")


def with_accidents(logits, seed):
    """A few values of a map become Inf, -Inf and NaN."""
    generator = torch.Generator().manual_seed(seed)
    flat = logits.flatten()
    for i, value in enumerate((NAN, INF, -INF, NAN, INF, -INF)):
        if seed >> i & 1:
            flat[torch.randint(0, flat.numel(), (1 + i % 2,), generator=generator)] = value
    return flat.view_as(logits)


def torched(logits, size, align_corners=False):
    # Half types are added up in float32, and not rounded before they are compared.
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return F.interpolate(wide, size, mode="bilinear", align_corners=align_corners).argmax(1)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_resized_labels_are_those_of_torch(capability, dtype, align_corners):
    # Classes of less than a vector, of several, with a rest; twice the size, the same, odd ratios, smaller, one pixel.
    cases = itertools.product(
        (1, 2, 12, 33), (((4, 5), (8, 10)), ((4, 5), (4, 5)), ((3, 6), (16, 67)), ((7, 9), (4, 3)), ((1, 1), (3, 2)))
    )
    for seed, (classes, (size, target)) in enumerate(cases, 1):
        logits = with_accidents(randn(2, classes, *size, seed=seed, dtype=dtype), seed)
        expected = torched(logits, target, align_corners)
        for layout in (torch.Tensor.contiguous, channels_last):
            labels = ops.resize_labels(layout(logits), target, align_corners=align_corners)
            assert torch.equal(labels.long(), expected), (classes, size, target)


def test_ties_and_nans_take_the_first(capability):
    for classes in (3, 20, 70):
        for first, second in itertools.combinations((0, 1, classes // 2, classes - 1), 2):
            logits = torch.full((1, classes, 2, 3), -1.0)
            logits[:, [first, second]] = 1.0
            assert (ops.resize_labels(logits, (4, 9)) == first).all()
            logits[:, second] = NAN
            assert (ops.resize_labels(logits, (4, 9)) == second).all()
            logits[:, first] = INF  # NaN wins over it
            assert torch.equal(ops.resize_labels(logits, (4, 9)).long(), torched(logits, (4, 9)))
            logits[:, first] = NAN
            assert (ops.resize_labels(logits, (4, 9)) == first).all()
    assert not ops.resize_labels(torch.full((1, 5, 2, 2), -INF), (4, 4)).any()


def fusion(dtype, classes=6, channels=4):
    maps = randn(1, channels, 6, 9, dtype=dtype), randn(1, channels, 3, 5, seed=2, dtype=dtype)
    weight, bias = randn(classes, channels, seed=3, dtype=dtype), randn(classes, seed=4, dtype=dtype)
    field = {"window": 3, "block": 8, "frame_size": (48, 72)}
    return [*maps, vectors(1, 6, 9, 2), *creff_parameters(channels, dtype), weight, bias], field


def composed(arguments, options):
    """The parts one by one, as for gradients."""
    *fused, weight, bias = arguments
    leaf = fused[3].detach().requires_grad_()
    features = ops.creff(*fused[:3], leaf, *fused[4:], **options)
    assert features.requires_grad
    return F.conv2d(features.detach(), weight[:, :, None, None], bias)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_class_that_is_not_finite(capability, dtype, value):
    """A NaN class wins at every pixel, an infinite one as its sign says."""
    for index in (0, 3, 5):
        arguments, options = fusion(dtype)
        arguments[-1][index] = value
        labels = ops.creff_labels(*arguments, **options)
        assert torch.equal(labels.long(), composed(arguments, options).argmax(1))
        assert torch.equal(labels.long(), ops.creff_logits(*arguments, **options).argmax(1))
        assert ((labels == index) == (value != -INF)).all()
    arguments, options = fusion(dtype)
    arguments[-1][[1, 4]] = NAN
    assert (ops.creff_labels(*arguments, **options) == 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_feature_that_is_not_finite(capability, dtype, value):
    """In the same places on the fused path and by torch's operators; labels are those of the logits."""
    for index, place in ((1, (0, 0)), (1, (1, 2)), (1, (2, 4)), (0, (3, 5))):
        arguments, options = fusion(dtype)
        arguments[index][0, 2, place[0], place[1]] = value
        features, by_parts = ops.creff(*arguments[:-2], **options), composed(arguments, options)
        leaf = arguments[3].detach().requires_grad_()
        apart = ops.creff(*arguments[:3], leaf, *arguments[4:-2], **options).detach()
        assert torch.equal(features.isnan(), apart.isnan()) and torch.equal(features == INF, apart == INF)
        labels, logits = ops.creff_labels(*arguments, **options), ops.creff_logits(*arguments, **options)
        assert torch.equal(labels.long(), logits.argmax(1))
        assert torch.equal(logits.isnan(), by_parts.isnan())
        assert torch.equal(labels.long(), by_parts.argmax(1))


def test_what_lies_beside_a_warp_s_position_stays_out(capability):
    feature = torch.zeros(1, 3, 4, 5)
    feature[..., 1, 2] = NAN
    still = ops.mv_warp(feature, torch.zeros(1, 4, 5, 2, dtype=torch.int16), block=8, frame_size=(32, 40))
    assert torch.equal(still.isnan(), feature.isnan())
