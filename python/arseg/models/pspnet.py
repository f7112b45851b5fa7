"""PSPNet as the paper has it for CamVid: a dilated ResNet, pooled context, and three upsamplings to full resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pyramid import resize_to
from .resnet import ResNet, load_published


class PyramidPooling(nn.Module):
    """Average pools of several bins beside the map itself, joined by a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, bins: Sequence[int]):
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(b), nn.Conv2d(inputs, inputs, 1, bias=False)) for b in bins
        )
        self.bottleneck = nn.Conv2d(inputs * (len(bins) + 1), outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [resize_to(stage(x), x) for stage in self.stages]
        return F.relu(self.bottleneck(torch.cat([*pooled, x], 1)))


class Upsampling(nn.Module):
    """Twice the size, then a 3x3 convolution."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.PReLU())

    def forward(self, x: Tensor) -> Tensor:
        size = (2 * x.shape[2], 2 * x.shape[3])
        return self.conv(F.interpolate(x, size=size, mode="bilinear", align_corners=False))


class PSPNet(nn.Module):
    """PSPNet whose fusion feature has the image's resolution, for `ARSegNet(..., channels=64)`.

    Args:
        classes: of the 1x1 `classifier`, which is `final_conv` in the authors' weights.
        depth: of the ResNet, 18, 34 or 50.
        bins: of the pooled context.

    The auxiliary head of the authors' training (an MLP on layer 3) is left out. Their network ends in a log-softmax;
    ours returns logits, which have the same argmax.
    """

    channels = 64

    def __init__(self, classes: int = 12, depth: int = 18, bins: Sequence[int] = (1, 2, 3, 6)):
        super().__init__()
        self.feats = ResNet(depth, dilated=True)
        self.psp = PyramidPooling(self.feats.channels[-1], 1024, bins)
        self.drop_1 = nn.Dropout2d(0.3)
        self.up_1 = Upsampling(1024, 256)
        self.up_2 = Upsampling(256, 64)
        self.up_3 = Upsampling(64, self.channels)
        self.drop_2 = nn.Dropout2d(0.15)
        self.classifier = nn.Conv2d(self.channels, classes, 1)

    def features(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the fusion feature `[N, 64, h, w]`, sides rounded up to multiples of 8."""
        x = self.drop_1(self.psp(self.feats(image)[-1]))
        for up in (self.up_1, self.up_2, self.up_3):
            x = self.drop_2(up(x))
        return x

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> logits `[N, classes, H, W]`."""
        logits = self.classifier(self.features(image))
        if logits.shape[2:] == image.shape[2:]:
            return logits
        return F.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=True)

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Takes the authors' weights, of their high-resolution or of their fused network (but for the fusion).

        Raises `RuntimeError` that names the keys where they do not fit.
        """
        load_published(self, state, renamed={"final_conv.": "classifier."}, unused=("classifier.", "fuse_attention."))
