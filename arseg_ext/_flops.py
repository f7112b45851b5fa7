"""Counts for torch.utils.flop_counter: two operations for each multiply-accumulate, as torch counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from arseg_ext import _fake
from arseg_ext._after_import import call_after_import


def attention_flops(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *args: Any, window: Sequence[int], **kwargs: Any
) -> int:
    """QK and PV over every key of the window, inside the image or not, as the paper counts."""
    batch, channels, height, width = query
    return 2 * batch * height * width * window[0] * window[1] * (channels + value[1])


def attention_backward_flops(
    grad: Sequence[int],
    query: Sequence[int],
    key: Sequence[int],
    value: Sequence[int],
    *args: Any,
    window: Sequence[int],
    **kwargs: Any,
) -> int:
    """Logits and dP, dQ, dK, dV; recomputation for the second pass is not counted."""
    batch, channels, height, width = query
    return 2 * batch * height * width * window[0] * window[1] * (3 * channels + 2 * value[1])


def convolution_flops(map: Sequence[int], convolutions: int) -> int:
    """Depthwise 3x3."""
    batch, channels, height, width = map
    return 2 * batch * height * width * channels * 9 * convolutions


def queries_flops(low_res: Sequence[int], weight: Any, bias: Any, size: Sequence[int], **kwargs: Any) -> int:
    return convolution_flops((*low_res[:2], *size), 1)


def keys_values_flops(warped: Sequence[int], *args: Any, **kwargs: Any) -> int:
    return convolution_flops(warped, 2)


def queries_backward_flops(grad: Sequence[int], *args: Any, **kwargs: Any) -> int:
    """Gradients of the map and of the weight."""
    return convolution_flops(grad, 2)


def keys_values_backward_flops(grad: Sequence[int], *args: Any, wants_warped: bool, **kwargs: Any) -> int:
    return convolution_flops(grad, 4 if wants_warped else 2)


def fusion_flops(
    reference: Sequence[int], low_res: Sequence[int], *args: Any, window: Sequence[int] = (7, 7), **kwargs: Any
) -> int:
    """Attention and the three depthwise 3x3 convolutions."""
    batch, channels, height, width = reference
    return 2 * batch * height * width * channels * (2 * window[0] * window[1] + 3 * 9)


def classified_fusion_flops(
    reference: Sequence[int], low_res: Sequence[int], *args: Any, window: Sequence[int] = (7, 7), **kwargs: Any
) -> int:
    """The same with values of as many channels as there are classes, and the classifier on each value and each pixel of
    the low-resolution map."""
    batch, channels, height, width = reference
    classes = args[7][0]  # of the classifier's weight
    keys = window[0] * window[1]
    fusion = height * width * (keys * (channels + classes) + channels * (3 * 9 + classes))
    return 2 * batch * (fusion + low_res[2] * low_res[3] * channels * classes)


def no_flops(*args: Any, **kwargs: Any) -> int:
    """Warps and resizing move data; like torch's grid_sample they count nothing."""
    return 0


FORMULAS: dict[str, Callable[..., int]] = {
    "local_attention": attention_flops,
    "_local_attention": attention_flops,
    "_local_attention_backward": attention_backward_flops,
    "_queries": queries_flops,
    "_queries_backward": queries_backward_flops,
    "_keys_values": keys_values_flops,
    "_keys_values_backward": keys_values_backward_flops,
    "creff": fusion_flops,
    "_creff_out": fusion_flops,
    "_creff_into": fusion_flops,
    "creff_logits": classified_fusion_flops,
    "creff_labels": classified_fusion_flops,
}
"""The operators that multiply; all others count nothing."""


COUNTER = "torch.utils.flop_counter"


def register() -> None:
    """Gives torch the formulas, as soon as somebody imports its counter: that brings Triton, half a second."""
    call_after_import(COUNTER, _register)


def _register() -> None:
    from torch.utils.flop_counter import register_flop_formula

    ops = torch.ops.arseg
    for name, formula in FORMULAS.items():
        register_flop_formula(getattr(ops, name))(formula)
    for name in sorted(set(_fake.KERNELS) - set(FORMULAS)):
        register_flop_formula(getattr(ops, name))(no_flops)
