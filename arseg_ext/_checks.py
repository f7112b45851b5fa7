"""Checks of arguments, for the Python functions and the fake kernels.

The sentences are those of csrc/**/checks.h; tests/ops/test_errors.py compares them word by word. A value of the wrong
type is a TypeError, any other a ValueError.
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
GRIDS = ("aligned", "legacy")
OUTSIDES = ("zero", "masked")
BLOCKS = (4, 8, 16)
MACROBLOCK = 16  # what codecs pad a frame to whole ones of


def fail(sentence: str) -> NoReturn:
    raise ValueError(sentence)


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def list_text(sizes: Sequence[int]) -> str:
    return "[" + ", ".join(str(size) for size in sizes) + "]"


def described(value: Any) -> str:
    """A value of the wrong type for a message: itself where it is short, else its type."""
    if value is None or isinstance(value, (bool, int, float, str, list, tuple)):
        text = repr(value)
        if len(text) <= 40:
            return text
    return f"a {type(value).__module__}.{type(value).__qualname__}".replace("builtins.", "")


def is_integer(value: Any) -> bool:
    """Whether it is an int, also NumPy's and torch.compile's, but no bool."""
    if isinstance(value, (int, torch.SymInt)):
        return not isinstance(value, bool)
    return isinstance(value, numbers.Integral)


def is_pair(value: Any) -> bool:
    """Whether it is a sequence of ints (of any length: the value is another check's)."""
    return isinstance(value, Sequence) and not isinstance(value, str) and all(is_integer(item) for item in value)


def integers(value: Sequence[Any]) -> list[Any]:
    """The plain ints of a sequence that `is_pair`, whatever kind of ints they are."""
    return [item if isinstance(item, (int, torch.SymInt)) else operator.index(item) for item in value]


def is_tensor(op: str, **tensors: Any) -> None:
    """Each is a dense torch.Tensor."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{op}: {name} must be a torch.Tensor, got {described(tensor)}")
        if tensor.is_nested:
            raise TypeError(f"{op}: {name} must be a dense tensor, got a nested one")
        if tensor.layout != torch.strided:
            raise TypeError(f"{op}: {name} must be a dense tensor, got one of layout {tensor.layout}")


def block_size(op: str, block: Any) -> int:
    if not is_integer(block):
        raise TypeError(f"{op}: block must be 4, 8 or 16, got {described(block)}")
    return integers([block])[0]


def frame_sides(op: str, frame_size: Any) -> list[int]:
    if not is_pair(frame_size):
        raise TypeError(
            f"{op}: frame_size must be (height, width) in video pixels, both positive, got {described(frame_size)}"
        )
    return integers(frame_size)


def window_pair(op: str, window: Any) -> list[int]:
    """(height, width) of a window that may be given as one int."""
    if is_integer(window):
        return integers([window, window])
    if not is_pair(window):
        raise TypeError(
            f"{op}: window must be odd and between 3 and 15, an int or (height, width), got {described(window)}"
        )
    return integers(window)


def resized_sides(op: str, size: Any) -> list[int]:
    if not is_pair(size):
        raise TypeError(f"{op}: size must be (height, width), got {described(size)}")
    return integers(size)


def is_number(op: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, torch.SymInt, torch.SymFloat)):
        raise TypeError(f"{op}: {name} must be a number, got {described(value)}")


def is_flag(op: str, name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{op}: {name} must be True or False, got {described(value)}")


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


def castable_dtype(op: str, name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """The dtype of another, or under autocast, which makes them equal, any floating one."""
    if autocast_on(other):
        floating(op, name, tensor)
    else:
        same_dtype(op, name, tensor, other_name, other)


def same_device(op: str, name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.device != other.device:
        fail(f"{op}: {name} must be on the device of {other_name}, {other.device}, got {tensor.device}")


def shape(op: str, name: str, tensor: Tensor, expected: Sequence[int]) -> None:
    if tensor.dim() != len(expected) or any(have != want for have, want in zip(tensor.shape, expected, strict=True)):
        fail(f"{op}: {name} must have shape {list_text(expected)}, got {list_text(tensor.shape)}")


def autocast_on(tensor: Tensor) -> bool:
    """Whether autocast will make the dtypes equal, so that they may differ here."""
    return tensor.device.type in ("cpu", "cuda") and torch.is_autocast_enabled(tensor.device.type)


def one_of(op: str, name: str, value: Any, choices: tuple[str, str]) -> None:
    sentence = f"{op}: {name} must be '{choices[0]}' or '{choices[1]}', got "
    if not isinstance(value, str):
        raise TypeError(sentence + described(value))
    if value not in choices:
        fail(f"{sentence}'{value}'")


def grid_name(op: str, grid: str) -> None:
    one_of(op, "grid", grid, GRIDS)


def outside_name(op: str, outside: str) -> None:
    one_of(op, "outside", outside, OUTSIDES)


def feature_map(op: str, name: str, tensor: Tensor) -> None:
    dims(op, name, tensor, "[N, C, H, W]")
    floating(op, name, tensor)


def block_name(op: str, block: int) -> None:
    if block not in BLOCKS:
        fail(f"{op}: block must be 4, 8 or 16, got {block}")


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
    block_name(op, block)
    if len(frame_size) != 2 or any(side <= 0 for side in frame_size):
        fail(
            f"{op}: frame_size must be (height, width) in video pixels, both positive, got "
            f"{list_text(tuple(frame_size))}"
        )
    height, width = motion.shape[1:3]
    exact = [-(-side // block) for side in frame_size]
    padded = [-(-side // MACROBLOCK) * (MACROBLOCK // block) for side in frame_size]
    if not any(height == rows and width == columns for rows, columns in (exact, padded)):
        fail(
            f"{op}: motion must have {list_text(exact)} blocks of {block} pixels for frame_size "
            f"{list_text(tuple(frame_size))}, or {list_text(padded)} where the frame is padded to whole macroblocks of "
            f"{MACROBLOCK}, got {list_text((height, width))}"
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
    """`mixed` allows key and value another dtype where autocast is on."""
    dtype = castable_dtype if mixed else same_dtype
    dims(op, "query", query, "[N, C, H, W]")
    floating(op, "query", query)
    same_device(op, "key", key, "query", query)
    dtype(op, "key", key, "query", query)
    shape(op, "key", key, query.shape)
    same_device(op, "value", value, "query", query)
    dtype(op, "value", value, "query", query)
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
        castable_dtype(op, name, tensor, "reference", reference)


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


def upsample(op: str, name: str, tensor: Tensor, size: Sequence[int]) -> None:
    dims(op, name, tensor, "[N, C, H, W]")
    floating(op, name, tensor)
    if len(size) != 2 or any(side <= 0 for side in size):
        fail(f"{op}: size must be (height, width), both positive, got {list_text(tuple(size))}")


def accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def logsumexp(op: str, query: Tensor, tensor: Tensor) -> None:
    expected = accumulator(query.dtype)
    if tensor.dtype != expected:
        fail(f"{op}: logsumexp must be {dtype_name(expected)}, got {dtype_name(tensor.dtype)}")
    shape(op, "logsumexp", tensor, (query.shape[0], query.shape[2], query.shape[3]))
