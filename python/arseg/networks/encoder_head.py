"""Any encoder of timm with a simple head: a segmentation network in one line, split where the fusion needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import conv_bn, resize


class EncoderHead(nn.Module):
    """An encoder's maps, brought to one width, summed at the finest one's size, smoothed and classified.

    Args:
        encoder: name of a timm network that gives feature maps.
        num_classes: of the 1x1 `classifier`.
        channels: of the fusion feature.
        levels: which of the encoder's maps, None: all from stride 8 on.
        pretrained: whether timm fetches the encoder's weights.

    Attributes:
        mean, std: the RGB statistics that timm names for the encoder.
    """

    def __init__(
        self,
        encoder: str,
        num_classes: int = 21,
        channels: int = 64,
        levels: Sequence[int] | None = None,
        pretrained: bool = False,
    ):
        super().__init__()
        net: Any = timm.create_model(encoder, features_only=True, pretrained=pretrained)
        strides = net.feature_info.reduction()
        chosen = [i for i, stride in enumerate(strides) if stride >= 8] if levels is None else list(levels)
        self.levels = chosen or [len(strides) - 1]
        self.encoder = net
        widths = net.feature_info.channels()
        self.lateral = nn.ModuleList(nn.Conv2d(widths[level], channels, 1) for level in self.levels)
        self.smooth = conv_bn(channels, channels, 3)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        self.mean = tuple(net.pretrained_cfg["mean"])
        self.std = tuple(net.pretrained_cfg["std"])

    def features(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the fusion feature `[N, channels, h, w]`."""
        maps = self.encoder(image)
        first, *rest = (layer(maps[level]) for layer, level in zip(self.lateral, self.levels, strict=True))
        for other in rest:
            first = first + resize(other, first.shape[2:])
        return self.smooth(F.relu(first))

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> logits `[N, num_classes, H, W]`."""
        return resize(self.classifier(self.features(image)), image.shape[2:])
