"""Maps moved along motion, and motion as dense flow at a feature's resolution, as the published networks take it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from arseg.errors import InputError
from arseg_ext import ops

Resize = Literal["bilinear", "nearest"]


def warp(
    x: Tensor,
    motion: Tensor,
    block: int | None = None,
    frame_size: Sequence[int] | None = None,
    *,
    grid: str = "aligned",
) -> Tensor:
    """`x` `[N, C, h, w]` moved along `motion`, vectors of blocks or dense; arguments: those of `arseg_ext.ops.creff`.

    Raises `InputError` where `motion` is of blocks and `block` or `frame_size` is missing.
    """
    if motion.is_floating_point():
        return ops.flow_warp(x, motion, grid=grid)
    if block is None or frame_size is None:
        raise InputError(f"motion: an int16 field needs block and frame_size, got {block} and {frame_size}")
    return ops.mv_warp(x, motion, block=block, frame_size=frame_size, grid=grid)


def dense_motion(motion: Tensor, block: int, frame_size: Sequence[int]) -> Tensor:
    """int16 blocks `[N, Hb, Wb, 2]` in quarter pixels -> float32 `[N, H, W, 2]` in pixels, one vector a pixel."""
    height, width = frame_size
    pixels = motion.repeat_interleave(block, 1)[:, :height].repeat_interleave(block, 2)[:, :, :width]
    return pixels.float() / 4


def resize_motion(flow: Tensor, size: Sequence[int], mode: Resize = "bilinear") -> Tensor:
    """Flow `[N, H, W, 2]` in pixels of the frame -> `[N, *size, 2]` in pixels of the feature.

    Both axes are scaled by the ratio of the heights. The published networks were trained with "nearest" and are
    evaluated with "bilinear", whose corner pixels keep their place. Fits `ops.flow_warp(..., grid="legacy")`.
    """
    height, width = size
    flow = flow.permute(0, 3, 1, 2) * (height / flow.shape[1])
    if flow.shape[2:] != (height, width):
        corners = True if mode == "bilinear" else None
        flow = F.interpolate(flow, size=(height, width), mode=mode, align_corners=corners)
    return flow.permute(0, 2, 3, 1)
