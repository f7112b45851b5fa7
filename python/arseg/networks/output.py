"""From scores at the fusion feature's resolution to the frame, the way that a network says of itself.

What is read of the network, see `SegmentationNetwork`: `upsampling`, `upsampling_corners` and `align_corners`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from arseg_ext import ops


def enlarge(network: object, logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits `[N, num_classes, h, w]` -> at `size`, `[N, num_classes, *size]`."""
    scores, corners = _upsampled(network, logits), _align_corners(network)
    return F.interpolate(scores, size=tuple(size), mode="bilinear", align_corners=corners)


def labels(network: object, logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits `[N, num_classes, h, w]` -> class ids at `size`, uint8 `[N, *size]`."""
    step, corners = _upsampling(network)
    if step > 1 and (logits.shape[2] * step, logits.shape[3] * step) == tuple(size):
        return ops.resize_labels(logits, size, align_corners=corners)  # the upsampling itself
    return ops.resize_labels(_upsampled(network, logits), size, align_corners=_align_corners(network))


def _align_corners(network: object) -> bool:
    return bool(getattr(network, "align_corners", False))


def _upsampling(network: object) -> tuple[int, bool]:
    return getattr(network, "upsampling", 1), getattr(network, "upsampling_corners", False)


def _upsampled(network: object, scores: Tensor) -> Tensor:
    step, corners = _upsampling(network)
    if step == 1:
        return scores
    return F.interpolate(scores, scale_factor=float(step), mode="bilinear", align_corners=corners)
