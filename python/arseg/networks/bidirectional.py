"""A frame between two keyframes, from both their results: what one of them does not show, the other may."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .motion import warp
from .trust import WEIGHTS, trust

TAU = 12.0
"""Levels of luma: by how much a warped keyframe may be off before it counts 1/e."""

LEAST = 1e-3
"""Share of its weight that is left to a keyframe which does not show the place at all."""


def pixel_luma(pixels: Tensor, size: Sequence[int]) -> Tensor:
    """RGB uint8 `[N, H, W, 3]` -> mean luma of each cell of a map, float32 `[N, 1, *size]` in 0..255."""
    luma = pixels.float() @ pixels.new_tensor(WEIGHTS, dtype=torch.float32)
    return F.interpolate(luma.unsqueeze(1), size=tuple(size), mode="area")


def bidirectional_logits(
    before: Tensor,
    after: Tensor,
    to_before: Tensor,
    to_after: Tensor,
    passed: Tensor,
    luma: Tensor,
    luma_before: Tensor,
    luma_after: Tensor,
    *,
    block: int,
    frame_size: tuple[int, int],
    tau: float = TAU,
) -> Tensor:
    """Logits of N frames between two keyframes, `[N, num_classes, h, w]`: a weighted mean of both results, warped.

    Each counts by how near it is in time, times exp(-e / tau), where e says how unlike the frame its picture looks when
    it is warped. A place that is out of its view counts `LEAST` of that.

    Args:
        before, after: logits of the keyframes, `[1, num_classes, h, w]`.
        to_before, to_after: vectors to them, int16 `[N, Hb, Wb, 2]`, see `arseg_ext.ops.mv_warp`.
        passed: of the time between the keyframes, the share before each frame, 0..1, `[N]`.
        luma, luma_before, luma_after: of the frames `[N, 1, h, w]` and the keyframes `[1, 1, h, w]`, see `pixel_luma`.
        block, frame_size: those of `arseg_ext.ops.creff`.
    """
    passed = passed.view(-1, 1, 1, 1).to(torch.float32)
    sides = (before, luma_before, to_before, 1 - passed), (after, luma_after, to_after, passed)
    totals, weights = [], []
    for logits, picture, motion, near in sides:
        logits, picture = (x.expand(len(motion), -1, -1, -1).contiguous() for x in (logits, picture))
        shown = torch.cat([picture, torch.ones_like(picture)], 1)
        moved, shown = (warp(x, motion, block, frame_size) for x in (logits, shown))
        inside = shown[:, 1:]
        error = F.avg_pool2d((luma - shown[:, :1]).abs(), 3, 1, 1, count_include_pad=False)
        weight = near * (trust(error, tau) * inside + LEAST)
        totals.append(weight.to(moved.dtype) * (moved + (1 - inside).to(moved.dtype) * logits))
        weights.append(weight)
    return (totals[0] + totals[1]) / (weights[0] + weights[1]).to(totals[0].dtype)
