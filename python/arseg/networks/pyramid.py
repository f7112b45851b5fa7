"""The default network: EfficientNet-Lite0, pooled context, and a top-down pyramid to stride 4."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from arseg._moved import renamed_argument
from arseg.errors import InputError

from .base import EncoderDecoder
from .encoders import make_encoder
from .layers import conv_bn, resize, upsample_and_crop

STRIDES = (4, 8, 16, 32)
"""Of the maps that the pyramid joins."""


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
            x = x + resize(branch(x), x.shape[2:])
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
        p16 = self.smooth16(c16 + upsample_and_crop(self.context(c32), c16.shape[2:]))
        p8 = self.smooth8(c8 + upsample_and_crop(p16, c8.shape[2:]))
        return self.smooth4(c4 + upsample_and_crop(self.narrow(p8), c4.shape[2:]))


class PyramidNet(EncoderDecoder):
    """The default network, with `features` at stride 4; its encoder gives maps at strides 4, 8, 16 and 32.

    Args:
        num_classes: of the 1x1 `classifier`.
        channels: of the fusion feature.
        wide: channels of the maps at strides 8, 16 and 32.
        encoder: a line for `make_encoder`.

    Raises `InputError` for an encoder that there is not, or without maps at all of these strides.
    """

    @renamed_argument("classes", "num_classes")
    def __init__(self, num_classes: int = 11, channels: int = 64, wide: int = 128, encoder: str = "efficientnet-lite0"):
        super().__init__()
        self.encoder = make_encoder(encoder)
        widths, strides = self.encoder.channels, self.encoder.strides
        if not set(STRIDES) <= set(strides):
            raise InputError(
                f"encoder: expected maps at strides {', '.join(map(str, STRIDES))}, and {encoder} gives some at "
                f"{', '.join(map(str, strides))}; take another, or EncoderHead, which takes any"
            )
        self.levels = [strides.index(stride) for stride in STRIDES]
        self.head = PyramidHead(tuple(widths[level] for level in self.levels), channels, wide)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        self.channels = channels

    def decode(self, maps: Sequence[Tensor]) -> Tensor:
        """The encoder's maps -> the fusion feature `[N, channels, ceil(H/4), ceil(W/4)]`."""
        return self.head([maps[level] for level in self.levels])

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        return upsample_and_crop(scores, size, STRIDES[0])
