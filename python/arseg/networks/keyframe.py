"""What later frames take from the keyframe's own result, beside its feature."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg.errors import InputError

from .layers import resize
from .motion import warp


def with_keyframe(
    logits: Tensor,
    key_logits: Tensor,
    motion: Tensor,
    distance: int | Tensor | None,
    *,
    weight: float,
    decay: float,
    detail: float,
    block: int | None,
    frame_size: tuple[int, int] | None,
    low_size: Sequence[int],
    trust: Tensor | float = 1.0,
    residual: Tensor | None = None,
) -> Tensor:
    """Weighted mean of a frame's own logits (1) and its keyframe's, warped (`weight * trust / distance**decay`).

    To the own logits the details of the warped ones are added before (`detail / sqrt(distance)`), and the residual.

    Args:
        logits, key_logits: the frame's and the keyframe's, `[N, num_classes, h, w]`.
        motion, block, frame_size: those of `arseg_ext.ops.creff`.
        distance: frames since the keyframe, at least 1; a number, or one of each sample, `[N]`.
        low_size: height and width of the low-resolution feature, which holds no finer detail.
        trust: in the warped logits, 0..1, `[N, 1, h, w]`, see `arseg.networks.trust`.
        residual: what is added to the own logits, `[N, num_classes, h, w]`.

    Raises `InputError` where `distance` is missing, or a number below 1.
    """
    if distance is None:
        raise InputError(
            "distance: this network weighs the keyframe's result by the frames since then; give their number"
        )
    if isinstance(distance, Tensor):  # is not waited for
        distance = distance.view(-1, 1, 1, 1)
    elif distance < 1:
        raise InputError(f"distance: expected at least 1 frame since the keyframe, got {distance}")
    warped = warped_logits(key_logits, motion, block, frame_size)
    if detail:
        logits = logits + detail / distance**0.5 * details(warped, logits, low_size)
    if residual is not None:
        logits = logits + residual
    share = weight / distance**decay
    return joined(logits, warped, share * trust if isinstance(trust, Tensor) else share)


def warped_logits(
    key_logits: Tensor, motion: Tensor, block: int | None = None, frame_size: tuple[int, int] | None = None
) -> Tensor:
    """A keyframe's logits `[N, num_classes, h, w]` moved to a later frame.

    `motion`, `block`, `frame_size`: those of `arseg_ext.ops.creff`, vectors of blocks or dense.
    """
    # One warp of both: places and weights are worked out once (a third less time on a CPU, the same values).
    both = warp(torch.cat([key_logits, torch.ones_like(key_logits[:, :1])], 1), motion, block, frame_size)
    warped, inside = both[:, :-1], both[:, -1:]
    return warped + (1 - inside) * key_logits  # what came into the picture has no past: leave it as it was there


def details(warped: Tensor, logits: Tensor, grid: Sequence[int]) -> Tensor:
    """What a map of the size `grid` could not hold of a keyframe's logits, where the frame's own agree with them.

    The warped logits less themselves, shrunk to the grid and enlarged; times the overlap of both results' classes,
    0 to 1, on the grid: where vectors lead astray, the details would be those of something else.

    Args:
        warped, logits: the keyframe's, and the frame's own, `[N, num_classes, h, w]`.
    """
    # torch shrinks no bfloat16 on the CPU.
    fine, own = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (warped, logits.detach()))
    coarse, seen = (
        F.interpolate(x, size=tuple(grid), mode="bilinear", align_corners=False, antialias=True) for x in (fine, own)
    )
    overlap = torch.minimum(coarse.softmax(1), seen.softmax(1)).sum(1, keepdim=True)
    coarse, overlap = (resize(x, warped.shape[2:], align_corners=True) for x in (coarse, overlap))
    return ((fine - coarse) * overlap).to(warped.dtype)


def joined(logits: Tensor, warped: Tensor, weight: float | Tensor) -> Tensor:
    """The weighted mean of a frame's own logits (1) and the keyframe's, warped (`weight`)."""
    return (logits + weight * warped) / (1 + weight)
