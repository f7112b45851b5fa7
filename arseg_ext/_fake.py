"""Fake kernels: shapes, dtypes and errors of the operators without their data, for torch.compile and export."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from arseg_ext import _checks, _composite
from arseg_ext._layouts import layout_of


def _raising_like_kernels(function: Callable[..., Any]) -> Callable[..., Any]:
    """The compiled kernels can only raise RuntimeError; so do these."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except ValueError as error:
            raise RuntimeError(str(error)) from None

    return wrapped


def _contiguous_like(tensor: Tensor) -> Tensor:
    return tensor.new_empty(tensor.shape)


def _map(like: Tensor, shape: Sequence[int]) -> Tensor:
    """A map in the memory format of `like`, as empty_map in csrc/cpu/tensors.h."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout_of(like))


def _map_like(tensor: Tensor) -> Tensor:
    return _map(tensor, tensor.shape)


def mv_warp(feature: Tensor, motion: Tensor, *, block: int, frame_size: Sequence[int], grid: str = "aligned") -> Tensor:
    _checks.mv_warp("mv_warp", "feature", feature, motion, block, frame_size, grid)
    return _map_like(feature)


def mv_warp_backward(grad: Tensor, motion: Tensor, *, block: int, frame_size: Sequence[int], grid: str) -> Tensor:
    _checks.mv_warp("_mv_warp_backward", "grad", grad, motion, block, frame_size, grid)
    return _map_like(grad)


def flow_warp(feature: Tensor, flow: Tensor, *, grid: str = "aligned") -> Tensor:
    _checks.flow_warp("flow_warp", "feature", feature, flow, grid)
    return _map_like(feature)


def flow_warp_backward_feature(grad: Tensor, flow: Tensor, *, grid: str) -> Tensor:
    _checks.flow_warp("_flow_warp_backward_feature", "grad", grad, flow, grid)
    return _map_like(grad)


def flow_warp_backward_flow(grad: Tensor, feature: Tensor, flow: Tensor, *, grid: str) -> Tensor:
    op = "_flow_warp_backward_flow"
    _checks.feature_map(op, "feature", feature)
    _checks.dense_flow(op, "feature", feature, flow)
    _checks.same_dtype(op, "grad", grad, "feature", feature)
    _checks.shape(op, "grad", grad, feature.shape)
    _checks.grid_name(op, grid)
    return _contiguous_like(flow)


def _per_pixel(query: Tensor) -> Tensor:
    dtype = _checks.accumulator(query.dtype)
    return query.new_empty((query.shape[0], query.shape[2], query.shape[3]), dtype=dtype)


def local_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: Sequence[int],
    outside: str = "zero",
    scale: float = 1.0,
    allow_tf32: bool = False,
) -> Tensor:
    _checks.attention("local_attention", query, key, value, window, outside)
    return _map(query, value.shape)


def local_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: Sequence[int],
    outside: str,
    scale: float,
    allow_tf32: bool = False,
) -> tuple[Tensor, Tensor]:
    out = local_attention(query, key, value, window=window, outside=outside, scale=scale)
    return out, _per_pixel(query)


def local_attention_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    logsumexp: Tensor,
    *,
    window: Sequence[int],
    outside: str,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    op = "_local_attention_backward"
    _checks.attention(op, query, key, value, window, outside)
    _checks.same_dtype(op, "grad", grad, "query", query)
    _checks.shape(op, "grad", grad, value.shape)
    _checks.logsumexp(op, query, logsumexp)
    return _map_like(query), _map_like(key), _map_like(value)


def resize_labels(logits: Tensor, size: Sequence[int], *, align_corners: bool = False) -> Tensor:
    _checks.resize_labels(logits, size)
    return logits.new_empty((logits.shape[0], *size), dtype=torch.uint8)


def upsample(input: Tensor, size: Sequence[int]) -> Tensor:
    _checks.upsample("_upsample", "input", input, size)
    return _map(input, (*input.shape[:2], *size))


def upsample_backward(grad: Tensor, size: Sequence[int]) -> Tensor:
    _checks.upsample("_upsample_backward", "grad", grad, size)
    return _map(grad, (*grad.shape[:2], *size))


def queries(low_res: Tensor, query_weight: Tensor, query_bias: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    weights = {"query_weight": query_weight, "query_bias": query_bias}
    _checks.depthwise("_queries", "low_res", low_res, {}, weights)
    upsampled = upsample(low_res, size)
    return upsampled, _map_like(upsampled)


def queries_backward(
    grad_upsampled: Tensor, grad_query: Tensor, upsampled: Tensor, query_weight: Tensor
) -> tuple[Tensor, ...]:
    like, weights = {"grad_query": grad_query, "grad_upsampled": grad_upsampled}, {"query_weight": query_weight}
    _checks.depthwise("_queries_backward", "upsampled", upsampled, like, weights)
    return _map_like(upsampled), *_of_weights(query_weight)


def _of_weights(weight: Tensor) -> tuple[Tensor, Tensor]:
    return _contiguous_like(weight), weight.new_empty(weight.shape[:1])


def keys_values(
    warped: Tensor, key_weight: Tensor, key_bias: Tensor, value_weight: Tensor, value_bias: Tensor
) -> tuple[Tensor, Tensor]:
    weights = {"key_weight": key_weight, "key_bias": key_bias, "value_weight": value_weight, "value_bias": value_bias}
    _checks.depthwise("_keys_values", "warped", warped, {}, weights)
    return _map_like(warped), _map_like(warped)


def keys_values_backward(
    grad_key: Tensor,
    grad_value: Tensor,
    warped: Tensor,
    key_weight: Tensor,
    value_weight: Tensor,
    *,
    wants_warped: bool,
) -> tuple[Tensor, ...]:
    like, weights = {"grad_key": grad_key, "grad_value": grad_value}, {"key_weight": key_weight}
    weights["value_weight"] = value_weight
    _checks.depthwise("_keys_values_backward", "warped", warped, like, weights)
    grad = _map_like(warped) if wants_warped else warped.new_empty((0, *warped.shape[1:]))
    return grad, *_of_weights(key_weight), *_of_weights(value_weight)


def _check_creff(op: str, tensors: Sequence[Tensor], options: dict[str, Any]) -> None:
    reference, low_res, motion, *parameters = tensors
    options = {**_composite.DEFAULTS, **options}
    _composite.check_creff(reference, low_res, motion, _composite.named(parameters), **options, op=op)


def creff(*tensors: Tensor, **options: Any) -> Tensor:
    _check_creff("creff", tensors, options)
    return _map_like(tensors[0])


def creff_out(*tensors: Tensor, **options: Any) -> None:
    *tensors_of_creff, out = tensors
    _check_creff("creff", tensors_of_creff, options)
    _checks.same_device("creff", "out", out, "reference", tensors[0])
    _checks.same_dtype("creff", "out", out, "reference", tensors[0])
    _checks.shape("creff", "out", out, tensors[0].shape)


def _check_classified(op: str, tensors: Sequence[Tensor], options: dict[str, Any]) -> None:
    *tensors_of_creff, weight, bias = tensors
    _check_creff(op, tensors_of_creff, options)
    _checks.classifier(op, tensors[0], weight, bias, most=256 if op == "creff_labels" else None)


def creff_logits(*tensors: Tensor, **options: Any) -> Tensor:
    _check_classified("creff_logits", tensors, options)
    batch, _, height, width = tensors[0].shape
    return _map(tensors[0], (batch, tensors[-2].shape[0], height, width))


def creff_labels(*tensors: Tensor, **options: Any) -> Tensor:
    _check_classified("creff_labels", tensors, options)
    batch, _, height, width = tensors[0].shape
    return tensors[0].new_empty((batch, height, width), dtype=torch.uint8)


KERNELS: dict[str, Callable[..., Any]] = {
    "mv_warp": mv_warp,
    "_mv_warp_backward": mv_warp_backward,
    "flow_warp": flow_warp,
    "_flow_warp_backward_feature": flow_warp_backward_feature,
    "_flow_warp_backward_flow": flow_warp_backward_flow,
    "local_attention": local_attention,
    "_local_attention": local_attention_forward,
    "_local_attention_backward": local_attention_backward,
    "resize_labels": resize_labels,
    "_upsample": upsample,
    "_upsample_backward": upsample_backward,
    "_queries": queries,
    "_queries_backward": queries_backward,
    "_keys_values": keys_values,
    "_keys_values_backward": keys_values_backward,
    "creff": creff,
    "creff_logits": creff_logits,
    "creff_labels": creff_labels,
    "_creff_out": creff_out,
    "_creff_into": lambda *tensors, out, **options: creff_out(*tensors, out, **options),
}


def register() -> None:
    for name, kernel in KERNELS.items():
        torch.library.register_fake(f"arseg::{name}", _raising_like_kernels(kernel))
