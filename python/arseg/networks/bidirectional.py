"""A frame between two keyframes, from both their results: what one of them does not show, the other may."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .motion import warp
from .trust import WEIGHTS

TAU = 12.0
"""Levels of luma: by how much a warped keyframe may be off before it counts 1/e."""

LEAST = 1e-3
"""Share of its weight that is left to a keyframe which does not show the place at all."""


def pixel_luma(pixels: Tensor, size: Sequence[int]) -> Tensor:
    """RGB uint8 `[N, H, W, 3]` -> mean luma of each cell of a map, float32 `[N, 1, *size]` in 0..255."""
    luma = pixels.float() @ pixels.new_tensor(WEIGHTS, dtype=torch.float32)
    return F.interpolate(luma.unsqueeze(1), size=tuple(size), mode="area")


def moved_logits(
    logits: Tensor,
    picture: Tensor,
    motion: Tensor,
    luma: Tensor,
    *,
    block: int,
    frame_size: tuple[int, int],
    tau: float = TAU,
) -> tuple[Tensor, Tensor]:
    """A keyframe's logits `[1, num_classes, h, w]` at N frames, and how far they are to be trusted there, 0..1.

    exp(-e / tau), where e says how unlike the frame the keyframe's picture looks when it is warped; what is out of its
    view counts `LEAST`.

    Args:
        picture, luma: of the keyframe `[1, 1, h, w]` and of the frames `[N, 1, h, w]`, see `pixel_luma`.
        motion: vectors to the keyframe, int16 `[N, Hb, Wb, 2]`, see `arseg_ext.ops.mv_warp`.
        block, frame_size: those of `arseg_ext.ops.creff`.

    Returns `[N, num_classes, h, w]` and float32 `[N, 1, h, w]`.
    """
    shown = torch.cat([picture, torch.ones_like(picture)], 1)
    # In the layout that the network left them in; a warp of channels that lie together is faster.
    moved, shown = (warp(torch.cat([x] * len(motion)), motion, block, frame_size) for x in (logits, shown))
    inside = shown[:, 1:]
    error = F.avg_pool2d((luma - shown[:, :1]).abs(), 3, 1, 1, count_include_pad=False)
    return torch.addcmul(moved, (1 - inside).to(moved.dtype), logits), torch.exp(-error / tau) * inside + LEAST


def bidirectional_logits(
    before: Tensor,
    after: Tensor,
    to_before: Tensor,
    to_after: Tensor,
    distance: Tensor,
    left: Tensor,
    luma: Tensor,
    luma_before: Tensor,
    luma_after: Tensor,
    *,
    block: int,
    frame_size: tuple[int, int],
    tau: float = TAU,
    own: Tensor | None = None,
    own_weight: Tensor | float = 0.0,
) -> Tensor:
    """Logits of N frames between two keyframes, `[N, num_classes, h, w]`: a weighted mean of both results, warped.

    Each counts as it is trusted (`moved_logits`), by the number of frames that lie between.

    Args:
        before, after: logits of the keyframes, `[1, num_classes, h, w]`.
        to_before, to_after: vectors to them, int16 `[N, Hb, Wb, 2]`.
        distance, left: frames since the one before and up to the one after, at least 1, `[N]`.
        luma, luma_before, luma_after: of the frames `[N, 1, h, w]` and the keyframes `[1, 1, h, w]`.
        block, frame_size, tau: see `moved_logits`.
        own, own_weight: logits of the frames themselves, `[N, num_classes, h, w]`, and what they count beside a
            keyframe one frame away.
    """
    sides = (before, luma_before, to_before, distance), (after, luma_after, to_after, left)
    found, weights = [], []
    for logits, picture, motion, frames in sides:
        moved, weight = moved_logits(logits, picture, motion, luma, block=block, frame_size=frame_size, tau=tau)
        found.append(moved)
        weights.append(weight / frames.view(-1, 1, 1, 1).to(torch.float32))
    weight = weights[0] + weights[1]
    mean = torch.lerp(found[0], found[1], (weights[1] / weight).to(after.dtype))
    return mean if own is None else with_own(mean, weight, own, own_weight)


def with_own(mean: Tensor, weight: Tensor, own: Tensor, own_weight: Tensor | float) -> Tensor:
    """The mean of moved logits, which counts `weight` `[N, 1, h, w]`, and of frames' own."""
    return torch.lerp(mean, own, (own_weight / (weight + own_weight)).to(mean.dtype))
