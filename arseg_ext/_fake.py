"""Fake kernels: shapes, dtypes and errors of the operators without their data, for torch.compile and export."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format

from arseg_ext import _checks


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
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=suggest_memory_format(like))


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
    query: Tensor, key: Tensor, value: Tensor, *, window: Sequence[int], outside: str, scale: float
) -> tuple[Tensor, Tensor]:
    _checks.attention("local_attention", query, key, value, window, outside)
    return _map(query, value.shape), _per_pixel(query)


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


def creff(reference: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _map_like(reference)


def creff_out(*args: Any, **kwargs: Any) -> None:
    return None


def creff_classified(reference: Tensor, *args: Any, labels: bool, **kwargs: Any) -> Tensor:
    batch, _, height, width = reference.shape
    if labels:
        return reference.new_empty((batch, height, width), dtype=torch.uint8)
    return _map(reference, (batch, args[9].shape[0], height, width))


KERNELS: dict[str, Callable[..., Any]] = {
    "mv_warp": mv_warp,
    "_mv_warp_backward": mv_warp_backward,
    "flow_warp": flow_warp,
    "_flow_warp_backward_feature": flow_warp_backward_feature,
    "_flow_warp_backward_flow": flow_warp_backward_flow,
    "_local_attention": local_attention,
    "_local_attention_backward": local_attention_backward,
    "resize_labels": resize_labels,
    "_creff": creff,
    "_creff_out": creff_out,
    "_creff_classified": creff_classified,
}


def register() -> None:
    for name, kernel in KERNELS.items():
        torch.library.register_fake(f"arseg::{name}", _raising_like_kernels(kernel))
