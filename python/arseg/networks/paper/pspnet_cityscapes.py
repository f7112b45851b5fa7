"""PSPNet as the paper has it for Cityscapes: a dilated ResNet, pooled context, and a wide head at stride 8."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from arseg._moved import renamed_argument
from arseg.networks.base import SplitNetwork
from arseg.networks.layers import PyramidPooling, conv_bn, resize

from .resnet import ResNet


class PooledContext(nn.Module):
    """The map itself and its pyramid pooling, each pool narrowed: twice its channels."""

    def __init__(self, inputs: int, bins: Sequence[int]):
        super().__init__()
        narrow = inputs // len(bins)
        self.features = PyramidPooling(bins, (conv_bn(inputs, narrow) for _ in bins), align_corners=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, *self.features(x)], 1)


def head(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution and dropout, as the main and the auxiliary head begin."""
    return nn.Sequential(*conv_bn(inputs, outputs, 3), nn.Dropout2d(0.1))


class CityscapesPSPNet(SplitNetwork):
    """PSPNet whose fusion feature lies at stride 8, after the head's dropout: `ARSegNet(..., channels=512)`.

    Args:
        num_classes: of the 1x1 `classifier`, which is `cls.4` and `final_conv` in the authors' weights.
        depth: of the ResNet, 18, 34 or 50.
        bins: of the pooled context.
        auxiliary: with the head of the authors' training, on layer 3 (`aux` in their weights).

    Batch normalisation behind a global pool makes it impossible to train with a batch of one.
    """

    channels = 512

    @renamed_argument("classes", "num_classes")
    def __init__(
        self, num_classes: int = 19, depth: int = 18, bins: Sequence[int] = (1, 2, 3, 6), auxiliary: bool = False
    ):
        super().__init__()
        self.resnet = ResNet(depth, dilated=True, dilate_first=True)
        _, _, wide, wider = self.resnet.channels
        self.ppm = PooledContext(wider, bins)
        self.head = head(2 * wider, self.channels)
        self.classifier = nn.Conv2d(self.channels, num_classes, 1)
        self.auxiliary = nn.Sequential(*head(wide, 256), nn.Conv2d(256, num_classes, 1)) if auxiliary else None

    def encode(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """-> the fusion feature `[N, 512, ceil(H/8), ceil(W/8)]`, and the map of layer 3."""
        _, _, early, x = self.resnet(image)
        return self.head(self.ppm(x)), (early,)

    def finish(self, scores: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """-> logits `[N, num_classes, H, W]` at `size`, or else at the feature's size, stride 8."""
        return scores if size is None else resize(scores, size, align_corners=True)

    def auxiliary_outputs(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> tuple[Tensor, ...]:
        """-> logits `[N, num_classes, *size]`."""
        assert self.auxiliary is not None
        return (resize(self.auxiliary(maps[0]), size, align_corners=True),)
