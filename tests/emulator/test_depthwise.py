"""The CUDA kernels of the gradients of creff's convolutions, run on the CPU, against torch's in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers.op_samples import TOLERANCE, channels_last, error, randn, strided
from torch._prims_common import suggest_memory_format

# One pixel, a row and a column, odd sizes, more than a chunk of channels, more than a strip of rows, no image.
SIZES = ((1, 1, 1, 1), (1, 3, 1, 9), (2, 5, 7, 1), (2, 8, 11, 13), (1, 70, 4, 7), (1, 6, 67, 5), (0, 3, 4, 5))


def expected(map, grads, weights, direct=None):
    """Of the map, and of each weight and bias."""
    map = map.double().clone().requires_grad_()
    leaves = [map]
    for grad, weight in zip(grads, weights, strict=True):
        weight = weight.double().clone().requires_grad_()
        bias = torch.zeros(map.shape[1], dtype=torch.float64, requires_grad=True)
        leaves += [weight, bias]
        F.conv2d(map, weight, bias, padding=1, groups=map.shape[1]).backward(grad.double())
    gradients = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
    if direct is not None:
        gradients[0] = gradients[0] + direct.double()
    return gradients


def is_near(got, right, dtype):
    most = max(1.0, float(right.abs().max())) if right.numel() else 1.0
    return error(got, right) <= TOLERANCE[dtype] * most and got.dtype == dtype


@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, channels_last, strided])
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_gradients(emulated, dtype, layout):
    for size in SIZES:
        maps = [layout(randn(*size, dtype=dtype, seed=seed)) for seed in range(4)]
        weights = [strided(randn(size[1], 1, 3, 3, dtype=dtype, seed=seed)) for seed in (1, 2)]
        right = expected(maps[0], maps[1:3], weights)
        got = emulated._keys_values_backward(*maps[1:3], maps[0], *weights, wants_warped=True)
        assert all(is_near(*pair, dtype) for pair in zip(got, right, strict=True)), size
        assert got[0].is_contiguous(memory_format=suggest_memory_format(maps[0]))
        frozen = emulated._keys_values_backward(*maps[1:3], maps[0], *weights, wants_warped=False)
        assert frozen[0].shape == (0, *size[1:])
        assert all(torch.equal(*pair) for pair in zip(frozen[1:], got[1:], strict=True)), size
        got = emulated._queries_backward(maps[3], maps[1], maps[0], weights[0])
        right = expected(maps[0], maps[1:2], weights[:1], direct=maps[3])
        assert all(is_near(*pair, dtype) for pair in zip(got, right, strict=True)), size


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_sums_of_weights_are_not_rounded_on_the_way(emulated, dtype):
    """4,000 pixels of the same sign: added up in bfloat16 they would stand still at 256."""
    map, grad = randn(1, 8, 50, 80, dtype=dtype).abs(), randn(1, 8, 50, 80, dtype=dtype, seed=1).abs()
    weight = randn(8, 1, 3, 3, dtype=dtype)
    got = emulated._queries_backward(grad, grad, map, weight)
    for mine, right in zip(got[1:], expected(map, [grad], [weight])[1:], strict=True):
        assert error(mine, right) <= torch.finfo(dtype).eps * float(right.abs().max())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({1: randn(1, 8, 4, 6)}, r"grad_query must have shape \[1, 8, 4, 5\]"),
        ({0: randn(1, 8, 4, 5, dtype=torch.float32)}, "grad_upsampled"),
        ({3: randn(8, 1, 3, 2)}, r"query_weight must have shape \[8, 1, 3, 3\]"),
    ],
)
def test_what_is_refused(library, change, sentence):
    arguments = [randn(1, 8, 4, 5), randn(1, 8, 4, 5), randn(1, 8, 4, 5), randn(8, 1, 3, 3)]
    library._queries_backward(*arguments)
    for place, argument in change.items():
        arguments[place] = argument
    with pytest.raises(RuntimeError, match=sentence):
        library._queries_backward(*arguments)
