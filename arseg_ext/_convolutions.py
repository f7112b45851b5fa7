"""The parts of creff that have weights, and their gradients, made of torch's operators: what every device has.

CUDA has kernels of its own for the gradients (csrc/depthwise), of the same contract.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg_ext import _checks
from arseg_ext._layouts import in_layout_of
from arseg_ext._torch_private import convolves


def _computed_in(map: Tensor) -> torch.dtype:
    """The dtype of a convolution of `map`: float32 where a processor has no instructions for its half type, for which
    torch then convolves one channel after the other, 100 times as long."""
    if map.device.type == "cpu" and map.dtype in (torch.bfloat16, torch.float16) and not convolves(map.dtype):
        return torch.float32
    return map.dtype


def _is_slow(map: Tensor) -> bool:
    """Whether torch convolves one channel after the other, in 70 times the time of float32: products of whole maps are
    faster."""
    return map.device.type == "cpu" and map.dtype == torch.float64


def _moved(map: Tensor) -> list[Tensor]:
    """What each of the nine weights of a depthwise convolution meets, in their order; views of one padded copy."""
    height, width = map.shape[2:]
    padded = F.pad(map, (1, 1, 1, 1))
    return [padded[:, :, y : y + height, x : x + width] for y in range(3) for x in range(3)]


def _weighted_sum(map: Tensor, weight: Tensor, start: Tensor) -> Tensor:
    out = start
    for moved, own in zip(_moved(map), weight.flatten(1).unbind(1), strict=True):
        out = torch.addcmul(out, moved, own[:, None, None])
    return out


def _gradients_by_products(grad: Tensor, map: Tensor, weight: Tensor, wants_map: bool) -> tuple[Tensor, Tensor, Tensor]:
    of_map = _weighted_sum(grad, weight.flip(2, 3), grad.new_zeros(())) if wants_map else grad.new_empty(0)
    of_weight = torch.stack([(moved * grad).sum((0, 2, 3)) for moved in _moved(map)], 1)
    return of_map, of_weight.view_as(weight), grad.sum((0, 2, 3))


def _convolved(map: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if _is_slow(map):
        return in_layout_of(_weighted_sum(map, weight, bias[:, None, None]), map)
    dtype = _computed_in(map)
    out = F.conv2d(map.to(dtype), weight.to(dtype), bias.to(dtype), padding=1, groups=map.shape[1])
    return in_layout_of(out.to(map.dtype), map)


def _gradients(grad: Tensor, map: Tensor, weight: Tensor, wants_map: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Of the map (undefined where it is not wanted), the weight and the bias of a convolution of `map`."""
    if _is_slow(map):
        return _gradients_by_products(grad, map, weight, wants_map)
    wanted = [wants_map, True, True]
    channels, dtype = map.shape[1], _computed_in(map)
    of_map, of_weight, of_bias = torch.ops.aten.convolution_backward(
        *(each.to(dtype) for each in (grad, map, weight)),
        *([channels], [1, 1], [1, 1], [1, 1], False, [0, 0], channels, wanted),
    )
    return of_map.to(map.dtype) if wants_map else of_map, of_weight.to(map.dtype), of_bias.to(map.dtype)


def queries(low_res: Tensor, query_weight: Tensor, query_bias: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The map upsampled to `size`, and its queries: one operator, so that their gradient is one pass over the maps."""
    upsampled = torch.ops.arseg._upsample(low_res, size)
    return upsampled, _convolved(upsampled, query_weight, query_bias)


def queries_backward(
    grad_upsampled: Tensor, grad_query: Tensor, upsampled: Tensor, query_weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the upsampled map, what reached it by itself included, of the weight and of the bias."""
    like, weights = {"grad_query": grad_query, "grad_upsampled": grad_upsampled}, {"query_weight": query_weight}
    _checks.depthwise("_queries_backward", "upsampled", upsampled, like, weights)
    grad, of_weight, of_bias = _gradients(grad_query, upsampled, query_weight)
    return in_layout_of(grad + grad_upsampled, upsampled), of_weight.contiguous(), of_bias


def keys_values(
    warped: Tensor, key_weight: Tensor, key_bias: Tensor, value_weight: Tensor, value_bias: Tensor
) -> tuple[Tensor, Tensor]:
    return _convolved(warped, key_weight, key_bias), _convolved(warped, value_weight, value_bias)


def keys_values_backward(
    grad_key: Tensor,
    grad_value: Tensor,
    warped: Tensor,
    key_weight: Tensor,
    value_weight: Tensor,
    *,
    wants_warped: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the warped map (without an image where it is not wanted), of weights and of biases."""
    like, weights = {"grad_key": grad_key, "grad_value": grad_value}, {"key_weight": key_weight}
    weights["value_weight"] = value_weight
    _checks.depthwise("_keys_values_backward", "warped", warped, like, weights)
    by_key, of_key_weight, of_key_bias = _gradients(grad_key, warped, key_weight, wants_warped)
    by_value, of_value_weight, of_value_bias = _gradients(grad_value, warped, value_weight, wants_warped)
    grad = in_layout_of(by_key + by_value, warped) if wants_warped else warped.new_empty((0, *warped.shape[1:]))
    return grad, of_key_weight.contiguous(), of_key_bias, of_value_weight.contiguous(), of_value_bias


KERNELS: dict[str, Callable[..., Any]] = {
    "_queries": queries,
    "_queries_backward": queries_backward,
    "_keys_values": keys_values,
    "_keys_values_backward": keys_values_backward,
}
