"""What the GPU benchmarks compare with, on the CPU at small sizes: every version against the reference in float64."""

from __future__ import annotations

import functools

import gpu_bench
import gpu_flex
import gpu_versions
import pytest
import torch
from gpu_models import Shape
from gpu_versions import MAKERS, Inputs

from arseg_ext import oracle

SHAPE = Shape(8, 14, 19)
ON_THE_CPU = {"warp": ("ours", "eager", "chain"), "attention": ("ours", "eager", "chain", "flex")}
VERSIONS = [(op, name) for op in MAKERS for name in ON_THE_CPU.get(op, ("ours", "eager", "chain"))]


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return Inputs(SHAPE, torch.float32, "cpu")


def reference_of(op: str, x: Inputs):
    """The function and its arguments, float64 leaves in the order of Version.leaves."""
    doubles = [each.double() for each in (x.reference, x.low_res, *x.parameters)]
    maps = [each.double() for each in (x.query, x.key, x.value)]
    if op == "warp":
        return functools.partial(oracle.mv_warp, motion=x.motion, **x.options), doubles[:1], [0]
    if op == "attention":
        return functools.partial(oracle.local_attention, window=7), maps, [0, 1, 2]

    def creff(feature, low_res, *parameters):
        return oracle.creff(feature, low_res, x.motion, *parameters, **x.options)

    return creff, doubles, list(range(1, len(doubles)))


def close(got, expected) -> bool:
    return float((got.double() - expected).abs().max()) <= 2e-5 * max(1.0, float(expected.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("op, name", VERSIONS)
def test_results(inputs, op, name):
    version = MAKERS[op](inputs)[name]()
    got = version.restore(version.function(*version.arguments), -1)
    function, arguments, _ = reference_of("creff" if op == "labels" else op, inputs)
    expected = function(*arguments)
    if op != "labels":
        assert close(got, expected)
        return
    weight, bias = (each.double() for each in inputs.classifier)
    logits = torch.einsum("kc,nchw->nkhw", weight, expected) + bias[:, None, None]
    chosen = logits.gather(1, got.long()[:, None])[:, 0]
    assert got.dtype == torch.uint8 and float((logits.amax(1) - chosen).max()) < 1e-5


@pytest.mark.parametrize("op, name", [(op, name) for op, name in VERSIONS if op != "labels" and name != "flex"])
def test_gradients(inputs, op, name):
    version = MAKERS[op](inputs)[name]()
    row = gpu_bench.Row(f"{op} backward", SHAPE, "fp32")
    call = gpu_bench.call_of(row, inputs, version)
    function, arguments, places = reference_of(op, inputs)
    leaves = [each.clone().requires_grad_(i in places) for i, each in enumerate(arguments)]
    expected = torch.autograd.grad(function(*leaves), [leaves[i] for i in places], inputs.grad.double())
    for _ in range(2):  # the same graph again
        results = call()
        assert len(results) == len(expected)
        for (_, got), right in zip(results, expected, strict=True):
            assert close(got, right)


@pytest.mark.parametrize("height, width, window", [(14, 19, 7), (8, 16, 3), (17, 33, 9), (1, 1, 7)])
def test_blocks_of_flex_attention_hold_every_key_of_the_window(height, width, window):
    tiles = gpu_flex.Tiles(height, width, window)
    mask = tiles.mask(torch.device("cpu"))
    queries, keys = tiles.rows * tiles.columns * gpu_flex.BLOCK, tiles.key_rows * tiles.key_columns * gpu_flex.BLOCK
    pairs = tiles.in_window(None, None, torch.arange(queries)[:, None], torch.arange(keys))
    seen = mask.to_dense()[0, 0].bool()
    wanted = pairs.unflatten(0, (-1, gpu_flex.BLOCK)).unflatten(2, (-1, gpu_flex.BLOCK)).any(3).any(1)
    assert not (wanted & ~seen).any()
    assert torch.equal(pairs.sum(1), torch.full((queries,), window * window))
    # In the order of tiles and back.
    x = torch.randn(1, 4, height, width)
    assert torch.equal(tiles.restore(tiles.queries(x), False), x)
    assert torch.equal(tiles.restore(tiles.keys(x), True), x)


def test_the_package_of_the_original_is_asked_for_on_cuda_alone(inputs):
    assert not gpu_versions.has_package(inputs)


def test_float32_copies_keep_the_values():
    half = Inputs(SHAPE, torch.bfloat16, "cpu")
    exact = half.exact()
    assert exact.query.dtype == torch.float32 and torch.equal(exact.query, half.query.float())
    assert exact.motion is half.motion and exact.parameters[0].dtype == torch.float32
