"""Checks of arguments, for the Python functions and the fake kernels.

The sentences are those of csrc/**/checks.h; tests/ops/test_errors.py compares them word by word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
GRIDS = ("aligned", "legacy")
OUTSIDES = ("zero", "masked")
BLOCKS = (4, 8, 16)


def fail(sentence: str) -> NoReturn:
    raise ValueError(sentence)


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def list_text(sizes: Sequence[int]) -> str:
    return "[" + ", ".join(str(size) for size in sizes) + "]"


def dims(op: str, name: str, tensor: Tensor, layout: str) -> None:
    count = layout.count(",") + 1
    if tensor.dim() != count:
        fail(f"{op}: {name} must have {count} dimensions {layout}, got shape {list_text(tensor.shape)}")


def floating(op: str, name: str, tensor: Tensor) -> None:
    if tensor.dtype not in FLOATING:
        fail(f"{op}: {name} must be float32, float64, float16 or bfloat16, got {dtype_name(tensor.dtype)}")


def same_dtype(op: str, name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.dtype != other.dtype:
        fail(
            f"{op}: {name} must have the dtype of {other_name}, {dtype_name(other.dtype)}, "
            f"got {dtype_name(tensor.dtype)}"
        )


def same_device(op: str, name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.device != other.device:
        fail(f"{op}: {name} must be on the device of {other_name}, {other.device}, got {tensor.device}")


def shape(op: str, name: str, tensor: Tensor, expected: Sequence[int]) -> None:
    if tensor.dim() != len(expected) or any(have != want for have, want in zip(tensor.shape, expected, strict=True)):
        fail(f"{op}: {name} must have shape {list_text(expected)}, got {list_text(tensor.shape)}")


def autocast_on(tensor: Tensor) -> bool:
    """Whether autocast will make the dtypes equal, so that they may differ here."""
    return tensor.device.type in ("cpu", "cuda") and torch.is_autocast_enabled(tensor.device.type)


def grid_name(op: str, grid: str) -> None:
    if grid not in GRIDS:
        fail(f"{op}: grid must be 'aligned' or 'legacy', got '{grid}'")


def feature_map(op: str, name: str, tensor: Tensor) -> None:
    dims(op, name, tensor, "[N, C, H, W]")
    floating(op, name, tensor)


def motion_field(
    op: str, map_name: str, feature: Tensor, motion: Tensor, block: int, frame_size: Sequence[int]
) -> None:
    same_device(op, "motion", motion, map_name, feature)
    if motion.dtype != torch.int16:
        fail(f"{op}: motion must be int16, got {dtype_name(motion.dtype)}")
    if motion.dim() != 4 or motion.shape[3] != 2:
        fail(f"{op}: motion must have shape [N, Hb, Wb, 2], got {list_text(motion.shape)}")
    if motion.shape[0] != feature.shape[0]:
        fail(f"{op}: motion must have the batch size of {map_name}, {feature.shape[0]}, got {motion.shape[0]}")
    if block not in BLOCKS:
        fail(f"{op}: block must be 4, 8 or 16, got {block}")
    if len(frame_size) != 2 or any(side <= 0 for side in frame_size):
        fail(
            f"{op}: frame_size must be (height, width) in video pixels, both positive, got "
            f"{list_text(tuple(frame_size))}"
        )
    rows, columns = (-(-side // block) for side in frame_size)
    if motion.shape[1] < rows or motion.shape[2] < columns:
        fail(
            f"{op}: motion must cover the frame with at least [{rows}, {columns}] blocks, "
            f"got [{motion.shape[1]}, {motion.shape[2]}]"
        )


def dense_flow(op: str, map_name: str, feature: Tensor, flow: Tensor) -> None:
    same_device(op, "flow", flow, map_name, feature)
    floating(op, "flow", flow)
    shape(op, "flow", flow, (feature.shape[0], feature.shape[2], feature.shape[3], 2))


def mv_warp(
    op: str, name: str, feature: Tensor, motion: Tensor, block: int, frame_size: Sequence[int], grid: str
) -> None:
    feature_map(op, name, feature)
    motion_field(op, name, feature, motion, block, frame_size)
    grid_name(op, grid)


def flow_warp(op: str, name: str, feature: Tensor, flow: Tensor, grid: str) -> None:
    feature_map(op, name, feature)
    dense_flow(op, name, feature, flow)
    grid_name(op, grid)


def window_sides(op: str, window: Sequence[int]) -> None:
    if len(window) != 2 or any(side < 3 or side > 15 or side % 2 == 0 for side in window):
        fail(
            f"{op}: window must be odd and between 3 and 15, an int or (height, width), got {list_text(tuple(window))}"
        )


def attention(
    op: str, query: Tensor, key: Tensor, value: Tensor, window: Sequence[int], outside: str, *, mixed: bool = False
) -> None:
    """`mixed` allows key and value another dtype."""
    dims(op, "query", query, "[N, C, H, W]")
    floating(op, "query", query)
    same_device(op, "key", key, "query", query)
    if not mixed:
        same_dtype(op, "key", key, "query", query)
    shape(op, "key", key, query.shape)
    same_device(op, "value", value, "query", query)
    if not mixed:
        same_dtype(op, "value", value, "query", query)
    dims(op, "value", value, "[N, C, H, W]")
    shape(op, "value", value, (query.shape[0], value.shape[1], query.shape[2], query.shape[3]))
    window_sides(op, window)
    outside_name(op, outside)


def classifier(op: str, reference: Tensor, weight: Tensor, bias: Tensor, most: int | None) -> None:
    """A 1x1 classifier [K, C] or [K, C, 1, 1] of at most `most` classes, and its bias [K]."""
    channels, classes = reference.shape[1], weight.shape[0] if weight.dim() else 0
    shapes = ((classes, channels), (classes, channels, 1, 1))
    if classes < 1 or not any(
        weight.dim() == len(want) and all(a == b for a, b in zip(weight.shape, want, strict=True)) for want in shapes
    ):
        fail(
            f"{op}: classifier_weight must have shape [K, {channels}] or [K, {channels}, 1, 1], got "
            f"{list_text(weight.shape)}"
        )
    if most is not None and classes > most:
        fail(f"{op}: classifier_weight must have at most {most} classes, got {classes}")
    shape(op, "classifier_bias", bias, (classes,))
    for name, tensor in (("classifier_weight", weight), ("classifier_bias", bias)):
        same_device(op, name, tensor, "reference", reference)
        if not autocast_on(reference):
            same_dtype(op, name, tensor, "reference", reference)


def resize_labels(logits: Tensor, size: Sequence[int]) -> None:
    op = "resize_labels"
    dims(op, "logits", logits, "[N, K, H, W]")
    floating(op, "logits", logits)
    if not 1 <= logits.shape[1] <= 256:
        fail(f"{op}: logits must have 1 to 256 classes, got {logits.shape[1]}")
    if logits.shape[2] == 0 or logits.shape[3] == 0:
        fail(f"{op}: logits must not be empty, got shape {list_text(logits.shape)}")
    if len(size) != 2 or any(side < 0 for side in size):
        fail(f"{op}: size must be (height, width), got {list_text(tuple(size))}")


def outside_name(op: str, outside: str) -> None:
    if outside not in OUTSIDES:
        fail(f"{op}: outside must be 'zero' or 'masked', got '{outside}'")


def accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def logsumexp(op: str, query: Tensor, tensor: Tensor) -> None:
    expected = accumulator(query.dtype)
    if tensor.dtype != expected:
        fail(f"{op}: logsumexp must be {dtype_name(expected)}, got {dtype_name(tensor.dtype)}")
    shape(op, "logsumexp", tensor, (query.shape[0], query.shape[2], query.shape[3]))
