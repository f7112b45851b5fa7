"""Layers that several networks have: convolution with batch normalisation, pyramid pooling, resizing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, names: Sequence[str] = ("0", "1", "2")
) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU: `[N, inputs, H, W]` -> `[N, outputs, ceil(H / stride), …]`.

    `kernel` is odd. `names`: of the three layers in the state dict.
    """
    layers = (
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
    return nn.Sequential(OrderedDict(zip(names, layers, strict=True)))


class PyramidPooling(nn.ModuleList):
    """Average pools of several bins, each with layers of its own, brought back to the size of the map.

    Args:
        bins: sides of the pooled maps.
        layers: for each of them, what follows the pool.
        align_corners: of the bilinear resizing.

    Source: Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017.
    """

    def __init__(self, bins: Sequence[int], layers: Iterable[nn.Sequential], *, align_corners: bool = False):
        pairs = zip(bins, layers, strict=True)
        super().__init__(nn.Sequential(nn.AdaptiveAvgPool2d(b), *own) for b, own in pairs)
        self.align_corners = align_corners

    def forward(self, x: Tensor) -> list[Tensor]:
        """`[N, C, H, W]` -> one map `[N, C', H, W]` for each of the bins."""
        return [resize(branch(x), x.shape[2:], align_corners=self.align_corners) for branch in self]


def resize(x: Tensor, size: Sequence[int], *, align_corners: bool = False) -> Tensor:
    """`[N, C, h, w]` -> `[N, C, *size]`, bilinear, without a filter; a map of that size is returned itself.

    `align_corners=True` keeps the corner pixels in place, as the published networks and the fusions resize.
    """
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=align_corners)


def upsample_and_crop(x: Tensor, size: Sequence[int], factor: int = 2) -> Tensor:
    """`[N, C, h, w]`, bilinearly `factor` times as large, then its upper left part `[N, C, *size]`.

    A map of stride 2s is `ceil(n / 2)` cells wide where that of stride s has `n`. Stretching the one to the size of
    the other would shift it, by half a cell at the edge, wherever n is odd.
    """
    large = F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)
    return large[..., : size[0], : size[1]]
