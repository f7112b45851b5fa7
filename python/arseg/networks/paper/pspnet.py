"""PSPNet as the paper has it for CamVid: a dilated ResNet, pooled context, and three upsamplings to full resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arseg._moved import renamed_argument
from arseg.networks.base import SplitNetwork
from arseg.networks.layers import PyramidPooling, resize

from .resnet import ResNet


class PooledBottleneck(nn.Module):
    """Pyramid pooling beside the map itself, joined by a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, bins: Sequence[int]):
        super().__init__()
        convolutions = (nn.Sequential(nn.Conv2d(inputs, inputs, 1, bias=False)) for _ in bins)
        self.stages = PyramidPooling(bins, convolutions)
        self.bottleneck = nn.Conv2d(inputs * (len(bins) + 1), outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bottleneck(torch.cat([*self.stages(x), x], 1)))


class Upsampling(nn.Module):
    """Twice the size, then a 3x3 convolution."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.PReLU())

    def forward(self, x: Tensor) -> Tensor:
        size = (2 * x.shape[2], 2 * x.shape[3])
        return self.conv(F.interpolate(x, size=size, mode="bilinear", align_corners=False))


class PSPNet(SplitNetwork):
    """PSPNet whose fusion feature has the image's resolution, for `ARSegNet(..., channels=64)`.

    Args:
        num_classes: of the 1x1 `classifier`, which is `final_conv` in the authors' weights.
        depth: of the ResNet, 18, 34 or 50.
        bins: of the pooled context.
        auxiliary: with the head of the authors' training: which classes are in the image, from the maxima of layer 3
            (`classifier` in their weights).

    The output is log-probabilities, as theirs is; a softmax, a cross-entropy or an argmax takes them as logits.
    """

    channels = 64

    @renamed_argument("classes", "num_classes")
    def __init__(
        self, num_classes: int = 12, depth: int = 18, bins: Sequence[int] = (1, 2, 3, 6), auxiliary: bool = False
    ):
        super().__init__()
        self.feats = ResNet(depth, dilated=True)
        _, _, wide, wider = self.feats.channels
        self.psp = PooledBottleneck(wider, 1024, bins)
        self.drop_1 = nn.Dropout2d(0.3)
        self.up_1 = Upsampling(1024, 256)
        self.up_2 = Upsampling(256, 64)
        self.up_3 = Upsampling(64, self.channels)
        self.drop_2 = nn.Dropout2d(0.15)
        self.classifier = nn.Conv2d(self.channels, num_classes, 1)
        self.auxiliary = (
            nn.Sequential(nn.Linear(wide, 256), nn.ReLU(), nn.Linear(256, num_classes)) if auxiliary else None
        )

    def encode(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """-> the fusion feature `[N, 64, h, w]`, sides rounded up to multiples of 8, and the map of layer 3."""
        _, _, early, x = self.feats(image)
        x = self.drop_1(self.psp(x))
        for up in (self.up_1, self.up_2, self.up_3):
            x = self.drop_2(up(x))
        return x, (early,)

    def finish(self, scores: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """-> log-probabilities `[N, num_classes, H, W]` at `size`, or else at the feature's size."""
        return (scores if size is None else resize(scores, size, align_corners=True)).log_softmax(1)

    def auxiliary_outputs(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> tuple[Tensor, ...]:
        """-> one logit `[N, num_classes]` for each class: whether it is in the image."""
        assert self.auxiliary is not None
        return (self.auxiliary(F.adaptive_max_pool2d(maps[0], 1).flatten(1)),)
