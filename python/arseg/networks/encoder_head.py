"""Any encoder with a simple head: a segmentation network in one line, split where the fusion needs it."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .base import EncoderDecoder
from .encoders import ENCODERS, make_encoder, statistics_of
from .layers import conv_bn, resize


class EncoderHead(EncoderDecoder):
    """An encoder's maps, brought to one width, summed at the finest one's size, smoothed and classified.

    Args:
        encoder: name of a timm network that gives feature maps, or a line for `make_encoder`.
        num_classes: of the 1x1 `classifier`.
        channels: of the fusion feature.
        levels: which of the encoder's maps, None: all from stride 8 on.
        pretrained: whether the encoder's weights are fetched.

    Attributes:
        mean, std: the RGB statistics that the encoder expects.

    Raises `InputError` for an encoder that there is not.
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
        known = ":" in encoder or encoder.partition("?")[0] in ENCODERS
        options = {"pretrained": True} if pretrained else {}
        self.encoder = make_encoder(encoder if known else f"timm:{encoder}", fetch=pretrained, **options)
        widths, strides = self.encoder.channels, self.encoder.strides
        chosen = [i for i, stride in enumerate(strides) if stride >= 8] if levels is None else list(levels)
        self.levels = chosen or [len(strides) - 1]
        self.lateral = nn.ModuleList(nn.Conv2d(widths[level], channels, 1) for level in self.levels)
        self.smooth = conv_bn(channels, channels, 3)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        self.channels = channels
        self.mean, self.std = statistics_of(self.encoder)

    def decode(self, maps: Sequence[Tensor]) -> Tensor:
        """The encoder's maps -> the fusion feature `[N, channels, h, w]`, of the finest chosen map's size."""
        first, *rest = (layer(maps[level]) for layer, level in zip(self.lateral, self.levels, strict=True))
        for other in rest:
            first = first + resize(other, first.shape[2:])
        return self.smooth(F.relu(first))

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        return resize(scores, size)
