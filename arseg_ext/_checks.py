"""Checks of arguments, for the Python functions and the fake kernels.

Sentences that the compiled kernels say too are read from them once (`SENTENCES`, of csrc/common/messages.h): both use
the same words. A value of the wrong type is a TypeError, any other a ValueError.
"""

from __future__ import annotations

import json
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


SENTENCES: dict[str, str] = {}


def load_sentences() -> None:
    """The library is loaded."""
    SENTENCES.update(json.loads(torch.ops.arseg._messages()))


def sentence(message: str, **fields: str) -> str:
    """A message of csrc/common/messages.h with its fields filled."""
    return SENTENCES[message].format(**fields)


def fail(sentence: str) -> NoReturn:
    raise ValueError(sentence)


def refuse(message: str, **fields: str) -> NoReturn:
    raise ValueError(sentence(message, **fields))


def refuse_type(message: str, **fields: str) -> NoReturn:
    raise TypeError(sentence(message, **fields))


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
        refuse_type("block", op=op, got=described(block))
    return integers([block])[0]


def frame_sides(op: str, frame_size: Any) -> list[int]:
    if not is_pair(frame_size):
        refuse_type("frame_size", op=op, got=described(frame_size))
    return integers(frame_size)


def window_pair(op: str, window: Any) -> list[int]:
    """(height, width) of a window that may be given as one int."""
    if is_integer(window):
        return integers([window, window])
    if not is_pair(window):
        refuse_type("window", op=op, got=described(window))
    return integers(window)


def resized_sides(op: str, size: Any) -> list[int]:
    if not is_pair(size):
        refuse_type("size", op=op, got=described(size))
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
        refuse("dims", op=op, name=name, count=str(count), layout=layout, got=list_text(tensor.shape))


def floating(op: str, name: str, tensor: Tensor) -> None:
    if tensor.dtype not in FLOATING:
        refuse("floating", op=op, name=name, got=dtype_name(tensor.dtype))


def same_dtype(op: str, name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.dtype != other.dtype:
        expected, got = dtype_name(other.dtype), dtype_name(tensor.dtype)
        refuse("same_dtype", op=op, name=name, other=other_name, expected=expected, got=got)


def castable_dtype(op: str, name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """The dtype of another, or under autocast, which makes them equal, any floating one."""
    if autocast_on(other):
        floating(op, name, tensor)
    else:
        same_dtype(op, name, tensor, other_name, other)


def same_device(op: str, name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.device != other.device:
        expected, got = str(other.device), str(tensor.device)
        refuse("same_device", op=op, name=name, other=other_name, expected=expected, got=got)


def shape(op: str, name: str, tensor: Tensor, expected: Sequence[int]) -> None:
    if tensor.dim() != len(expected) or any(have != want for have, want in zip(tensor.shape, expected, strict=True)):
        refuse("shape", op=op, name=name, expected=list_text(expected), got=list_text(tensor.shape))


def autocast_on(tensor: Tensor) -> bool:
    """Whether autocast will make the dtypes equal, so that they may differ here."""
    return tensor.device.type in ("cpu", "cuda") and torch.is_autocast_enabled(tensor.device.type)


def one_of(op: str, name: str, value: Any, choices: tuple[str, str]) -> None:
    if not isinstance(value, str):
        refuse_type("choice", op=op, name=name, first=choices[0], second=choices[1], got=described(value))
    if value not in choices:
        refuse("choice", op=op, name=name, first=choices[0], second=choices[1], got=f"'{value}'")


def grid_name(op: str, grid: str) -> None:
    one_of(op, "grid", grid, GRIDS)


def outside_name(op: str, outside: str) -> None:
    one_of(op, "outside", outside, OUTSIDES)


def feature_map(op: str, name: str, tensor: Tensor) -> None:
    dims(op, name, tensor, "[N, C, H, W]")
    floating(op, name, tensor)


def block_name(op: str, block: int) -> None:
    if block not in BLOCKS:
        refuse("block", op=op, got=str(block))


def motion_field(
    op: str, map_name: str, feature: Tensor, motion: Tensor, block: int, frame_size: Sequence[int]
) -> None:
    same_device(op, "motion", motion, map_name, feature)
    if motion.dtype != torch.int16:
        refuse("dtype", op=op, name="motion", expected="int16", got=dtype_name(motion.dtype))
    if motion.dim() != 4 or motion.shape[3] != 2:
        refuse("shape", op=op, name="motion", expected="[N, Hb, Wb, 2]", got=list_text(motion.shape))
    if motion.shape[0] != feature.shape[0]:
        expected, got = str(feature.shape[0]), str(motion.shape[0])
        refuse("batch", op=op, name="motion", other=map_name, expected=expected, got=got)
    block_name(op, block)
    if len(frame_size) != 2 or any(side <= 0 for side in frame_size):
        refuse("frame_size", op=op, got=list_text(tuple(frame_size)))
    height, width = motion.shape[1:3]
    exact = [-(-side // block) for side in frame_size]
    padded = [-(-side // MACROBLOCK) * (MACROBLOCK // block) for side in frame_size]
    if not any(height == rows and width == columns for rows, columns in (exact, padded)):
        refuse(
            "blocks",
            op=op,
            exact=list_text(exact),
            block=str(block),
            frame_size=list_text(tuple(frame_size)),
            padded=list_text(padded),
            macroblock=str(MACROBLOCK),
            got=list_text((height, width)),
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
        refuse("window", op=op, got=list_text(tuple(window)))


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
        refuse("classifier", op=op, channels=str(channels), same=str(channels), got=list_text(weight.shape))
    if most is not None and classes > most:
        refuse("max_classes", op=op, name="classifier_weight", most=str(most), got=str(classes))
    shape(op, "classifier_bias", bias, (classes,))
    for name, tensor in (("classifier_weight", weight), ("classifier_bias", bias)):
        same_device(op, name, tensor, "reference", reference)
        castable_dtype(op, name, tensor, "reference", reference)


def resize_labels(logits: Tensor, size: Sequence[int]) -> None:
    op = "resize_labels"
    dims(op, "logits", logits, "[N, K, H, W]")
    floating(op, "logits", logits)
    if not 1 <= logits.shape[1] <= 256:
        refuse("classes", op=op, name="logits", most="256", got=str(logits.shape[1]))
    if logits.shape[2] == 0 or logits.shape[3] == 0:
        refuse("not_empty", op=op, name="logits", got=list_text(logits.shape))
    if len(size) != 2 or any(side < 0 for side in size):
        refuse("size", op=op, got=list_text(tuple(size)))


def upsample(op: str, name: str, tensor: Tensor, size: Sequence[int]) -> None:
    dims(op, name, tensor, "[N, C, H, W]")
    floating(op, name, tensor)
    if len(size) != 2 or any(side <= 0 for side in size):
        refuse("positive_size", op=op, got=list_text(tuple(size)))


def depthwise(op: str, name: str, map: Tensor, like: dict[str, Tensor], weights: dict[str, Tensor]) -> None:
    """A map [N, C, H, W], those that are to have its shape and dtype, and weights [C, 1, 3, 3] and biases [C]."""
    dims(op, name, map, "[N, C, H, W]")
    floating(op, name, map)
    for other, tensor in like.items():
        same_device(op, other, tensor, name, map)
        same_dtype(op, other, tensor, name, map)
        shape(op, other, tensor, map.shape)
    for other, tensor in weights.items():
        same_device(op, other, tensor, name, map)
        same_dtype(op, other, tensor, name, map)
        shape(op, other, tensor, (map.shape[1],) if other.endswith("bias") else (map.shape[1], 1, 3, 3))


def accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def logsumexp(op: str, query: Tensor, tensor: Tensor) -> None:
    expected = accumulator(query.dtype)
    if tensor.dtype != expected:
        refuse("dtype", op=op, name="logsumexp", expected=dtype_name(expected), got=dtype_name(tensor.dtype))
    shape(op, "logsumexp", tensor, (query.shape[0], query.shape[2], query.shape[3]))
