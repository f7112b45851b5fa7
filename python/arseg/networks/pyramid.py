"""The default network: EfficientNet-Lite0, pooled context, and a top-down pyramid to stride 4."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .backbones import EfficientNetLite0


def conv_bn(inputs: int, outputs: int, kernel: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def resize_to(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def enlarge_to(x: Tensor, like: Tensor, factor: int = 2) -> Tensor:
    """A map `factor` times as large, cut to the size of `like`, whose last row and column may be half there.

    A map of stride 2s is `ceil(n / 2)` cells wide where that of stride s has `n`. Stretching the one to the size of
    the other would shift it, by half a cell at the edge, wherever n is odd.
    """
    large = F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)
    return large[..., : like.shape[-2], : like.shape[-1]]


class PooledContext(nn.Module):
    """What the scene as a whole says, added to every pixel: average pools of 1 and 3 bins (as in PSPNet, thinner)."""

    def __init__(self, channels: int, bins: tuple[int, ...] = (1, 3)):
        super().__init__()
        # No batch normalisation after a pool to one pixel: a batch of one would have no variance there.
        self.branches = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(b), nn.Conv2d(channels, channels, 1), nn.ReLU()) for b in bins
        )

    def forward(self, x: Tensor) -> Tensor:
        for branch in self.branches:
            x = x + resize_to(branch(x), x)
        return x


class PyramidHead(nn.Module):
    """Feature maps at strides 4, 8, 16, 32 -> one map at stride 4."""

    def __init__(self, inputs: tuple[int, ...], channels: int, wide: int):
        super().__init__()
        widths = (channels, wide, wide, wide)
        self.lateral = nn.ModuleList(conv_bn(i, w) for i, w in zip(inputs, widths, strict=True))
        self.context = PooledContext(wide)
        self.smooth16 = conv_bn(wide, wide, 3)
        self.smooth8 = conv_bn(wide, wide, 3)
        self.narrow = conv_bn(wide, channels)
        self.smooth4 = nn.Sequential(conv_bn(channels, channels, 3), conv_bn(channels, channels, 3))

    def forward(self, maps: list[Tensor]) -> Tensor:
        c4, c8, c16, c32 = (layer(x) for layer, x in zip(self.lateral, maps, strict=True))
        p16 = self.smooth16(c16 + enlarge_to(self.context(c32), c16))
        p8 = self.smooth8(c8 + enlarge_to(p16, c8))
        return self.smooth4(c4 + enlarge_to(self.narrow(p8), c4))


class PyramidNet(nn.Module):
    """A segmentation network that splits where CReFF needs it: `features` at stride 4, then a 1x1 `classifier`.

    Any network with these two members, and `image -> logits` as forward, can take its place in `ARSegNet`.
    """

    def __init__(self, classes: int = 11, channels: int = 64, wide: int = 128):
        super().__init__()
        self.encoder = EfficientNetLite0()
        self.head = PyramidHead(self.encoder.channels, channels, wide)
        self.classifier = nn.Conv2d(channels, classes, 1)
        self.channels = channels

    def features(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the fusion feature `[N, channels, ceil(H/4), ceil(W/4)]`."""
        return self.head(self.encoder(image))

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> logits `[N, classes, H, W]`."""
        return enlarge_to(self.classifier(self.features(image)), image, 4)
