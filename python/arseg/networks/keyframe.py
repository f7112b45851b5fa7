"""What later frames take from the keyframe's own result, beside its feature."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg.errors import InputError
from arseg_ext import ops

from .base import with_corners


def warped_logits(
    kept: Tensor, motion: Tensor, block: int | None = None, frame_size: tuple[int, int] | None = None
) -> Tensor:
    """A keyframe's logits `[N, classes, h, w]` moved to a later frame.

    `motion`, `block`, `frame_size`: those of `arseg_ext.ops.creff`, vectors of blocks or dense.
    """
    both = (kept, torch.ones_like(kept[:, :1]))
    if motion.is_floating_point():
        warped, inside = (ops.flow_warp(x, motion) for x in both)
    elif block is None or frame_size is None:
        raise InputError(f"motion: an int16 field needs block and frame_size, got {block} and {frame_size}")
    else:
        warped, inside = (ops.mv_warp(x, motion, block=block, frame_size=frame_size) for x in both)
    return warped + (1 - inside) * kept  # what came into the picture has no past: leave it as it was there


def details(warped: Tensor, logits: Tensor, grid: Sequence[int]) -> Tensor:
    """What a map of the size `grid` could not hold of a keyframe's logits, where the frame's own agree with them.

    The warped logits less themselves, shrunk to the grid and enlarged; times the overlap of both results' classes,
    0 to 1, on the grid: where vectors lead astray, the details would be those of something else.

    Args:
        warped, logits: the keyframe's, and the frame's own, `[N, classes, h, w]`.
    """
    # torch shrinks no bfloat16 on the CPU.
    fine, own = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (warped, logits.detach()))
    coarse, seen = (
        F.interpolate(x, size=tuple(grid), mode="bilinear", align_corners=False, antialias=True) for x in (fine, own)
    )
    overlap = torch.minimum(coarse.softmax(1), seen.softmax(1)).sum(1, keepdim=True)
    size = (warped.shape[2], warped.shape[3])
    return ((fine - with_corners(coarse, size)) * with_corners(overlap, size)).to(warped.dtype)


def joined(logits: Tensor, warped: Tensor, weight: float | Tensor) -> Tensor:
    """The weighted mean of a frame's own logits (1) and the keyframe's, warped (`weight`)."""
    return (logits + weight * warped) / (1 + weight)
