"""The fusion's convolutions and their gradients in half types, which a processor may have no instructions for."""

import pytest
import torch
from torch import Tensor

from arseg_ext import _convolutions

HALF = (torch.bfloat16, torch.float16)


def maps(dtype: torch.dtype) -> list[Tensor]:
    """A map, a gradient and a weight."""
    torch.manual_seed(0)
    shapes = ((2, 5, 6, 7), (2, 5, 6, 7), (5, 1, 3, 3))
    return [torch.randn(shape).to(dtype) for shape in shapes]


@pytest.mark.parametrize("convolves", [False, True])
@pytest.mark.parametrize("dtype", HALF)
def test_half_types_are_convolved_as_float32_and_rounded_once(monkeypatch, dtype, convolves):
    monkeypatch.setattr(_convolutions, "convolves", lambda dtype: convolves)
    map_, grad, weight = maps(dtype)
    bias = weight[:, 0, 0, 0]
    results = [_convolutions._convolved(map_, weight, bias), *_convolutions._gradients(grad, map_, weight)]
    map_, grad, weight, bias = (each.float() for each in (map_, grad, weight, bias))
    right = [_convolutions._convolved(map_, weight, bias), *_convolutions._gradients(grad, map_, weight)]
    for result, exact in zip(results, right, strict=True):
        assert result.dtype == dtype
        if convolves:  # torch's own kernels round as they like
            torch.testing.assert_close(result.float(), exact, rtol=0.05, atol=0.2)
        else:
            assert torch.equal(result, exact.to(dtype))


@pytest.mark.parametrize("dtype", HALF)
def test_a_gradient_of_the_map_that_is_not_wanted_is_not_made(dtype):
    map_, grad, weight = maps(dtype)
    of_map, of_weight, of_bias = _convolutions._gradients(grad, map_, weight, wants_map=False)
    assert of_map is None
    assert of_weight.dtype == of_bias.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_types_compute_in_their_own(dtype):
    assert _convolutions._computed_in(torch.zeros(1, 1, 1, 1, dtype=dtype)) == dtype
