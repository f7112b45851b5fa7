"""Operators made of others: torch.compile, export and autograd see the parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg_ext import _checks

_libraries: list[torch.library.Library] = []  # a Library unregisters when it is deleted


def local_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: Sequence[int],
    outside: str = "zero",
    scale: float = 1.0,
) -> Tensor:
    return torch.ops.arseg._local_attention(query, key, value, window=window, outside=outside, scale=scale)[0]


def check_creff(
    reference: Tensor,
    low_res: Tensor,
    motion: Tensor,
    convolutions: Sequence[tuple[str, Tensor, Tensor]],
    window: Sequence[int],
    block: int | None,
    frame_size: Sequence[int] | None,
    grid: str,
    outside: str,
) -> None:
    """Checks of creff beyond those of its parts."""
    op = "creff"
    _checks.feature_map(op, "reference", reference)
    _checks.feature_map(op, "low_res", low_res)
    _checks.same_device(op, "low_res", low_res, "reference", reference)
    mixed = _checks.autocast_on(reference)
    if not mixed:
        _checks.same_dtype(op, "low_res", low_res, "reference", reference)
    if low_res.shape[0] != reference.shape[0] or low_res.shape[1] != reference.shape[1]:
        _checks.fail(
            f"{op}: low_res must have the batch size and channels of reference, "
            f"{_checks.list_text(reference.shape[:2])}, got {_checks.list_text(low_res.shape[:2])}"
        )
    if low_res.shape[2] == 0 or low_res.shape[3] == 0:
        _checks.fail(f"{op}: low_res must not be empty, got shape {_checks.list_text(low_res.shape)}")
    for name, tensor, shape in (
        entry
        for kind, weight, bias in convolutions
        for entry in (
            (f"{kind}_weight", weight, (reference.shape[1], 1, 3, 3)),
            (f"{kind}_bias", bias, reference.shape[1:2]),
        )
    ):
        _checks.same_device(op, name, tensor, "reference", reference)
        _checks.shape(op, name, tensor, shape)
        if not mixed:
            _checks.same_dtype(op, name, tensor, "reference", reference)
    _checks.window_sides(op, window)
    _checks.outside_name(op, outside)
    if motion.is_floating_point():
        if block is not None or frame_size is not None:
            _checks.fail(
                f"{op}: block and frame_size belong to an int16 motion field, got motion in "
                f"{_checks.dtype_name(motion.dtype)}"
            )
        _checks.flow_warp(op, "reference", reference, motion, grid)
    else:
        if block is None or frame_size is None:
            _checks.fail(
                f"{op}: an int16 motion field needs block and frame_size, got block {block}, frame_size {frame_size}"
            )
        _checks.mv_warp(op, "reference", reference, motion, block, frame_size, grid)


def creff(
    reference: Tensor,
    low_res: Tensor,
    motion: Tensor,
    query_weight: Tensor,
    query_bias: Tensor,
    key_weight: Tensor,
    key_bias: Tensor,
    value_weight: Tensor,
    value_bias: Tensor,
    *,
    window: Sequence[int] = (7, 7),
    block: int | None = None,
    frame_size: Sequence[int] | None = None,
    grid: str = "aligned",
    outside: str = "zero",
) -> Tensor:
    convolutions = (
        ("query", query_weight, query_bias),
        ("key", key_weight, key_bias),
        ("value", value_weight, value_bias),
    )
    check_creff(reference, low_res, motion, convolutions, window, block, frame_size, grid, outside)
    ops = torch.ops.arseg
    if motion.is_floating_point():
        warped = ops.flow_warp(reference, motion, grid=grid)
    else:
        warped = ops.mv_warp(reference, motion, block=block, frame_size=frame_size, grid=grid)
    size = (reference.shape[2], reference.shape[3])
    upsampled = F.interpolate(low_res, size=size, mode="bilinear", align_corners=True)
    channels = reference.shape[1]
    query = F.conv2d(upsampled, query_weight, query_bias, padding=1, groups=channels)
    key = F.conv2d(warped, key_weight, key_bias, padding=1, groups=channels)
    value = F.conv2d(warped, value_weight, value_bias, padding=1, groups=channels)
    return upsampled + ops.local_attention(query, key, value, window=window, outside=outside)


def register() -> None:
    library = torch.library.Library("arseg", "IMPL", "CompositeImplicitAutograd")
    library.impl("local_attention", local_attention)
    library.impl("creff", creff)
    _libraries.append(library)
