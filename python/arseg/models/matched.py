"""A frame shrunk so that its feature lies exactly on the grid of the full frame's feature."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def shrink_matched(image: Tensor, scale: float, stride: int) -> Tensor:
    """`[N, 3, H, W]` -> the image shrunk by about `scale`, its sides multiples of `stride`.

    Enlarged with its corner cells in place, as CReFF does it, the feature of the result is then that of the same places
    in the picture. The feature of a plainly shrunk image is not: its corner cells are larger, so their centres lie
    further from the picture's edge (0.3x, 768 pixels, stride 4: by 4.7 pixels, in opposite directions at both edges),
    and where its sides are no multiples of the stride the last cell reaches beyond the picture.
    """
    (height, top), (width, left) = (_side(int(side), scale, stride) for side in image.shape[2:])
    padded = F.pad(image, (left, left, top, top), mode="replicate")
    return F.interpolate(padded, size=(height, width), mode="bilinear", align_corners=False, antialias=True)


def _side(side: int, scale: float, stride: int) -> tuple[int, int]:
    """The shrunken side, and by how many pixels the picture is continued at either end before."""
    full = -(-side // stride)
    cells = max(1, round(side * scale / stride))
    # Both grids' corner cells at the same places: the shrunken image shows cells * (full - 1) / (cells - 1) full cells.
    border = stride * (full - cells) / (2 * (cells - 1)) if cells > 1 else 0
    return cells * stride, round(border)
