"""BiSeNet as the paper has it: a deep context path, a shallow spatial path, and their fusion at stride 8."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arseg._moved import renamed_argument
from arseg.networks import layers
from arseg.networks.base import SplitNetwork
from arseg.networks.layers import resize

from .resnet import ResNet

conv_bn = partial(layers.conv_bn, names=("conv", "bn", "relu"))


def double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class AttentionRefinement(nn.Module):
    """A 3x3 convolution whose channels are weighted by what the whole map says."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = conv_bn(inputs, outputs, 3)
        self.conv_atten = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * self.bn_atten(self.conv_atten(x.mean((2, 3), keepdim=True))).sigmoid()


class ContextPath(nn.Module):
    """ResNet, with its maps at strides 32 and 16 brought to strides 16 and 8: 128 channels each."""

    def __init__(self, depth: int):
        super().__init__()
        self.resnet = ResNet(depth)
        _, _, c16, c32 = self.resnet.channels
        self.arm16 = AttentionRefinement(c16, 128)
        self.arm32 = AttentionRefinement(c32, 128)
        self.conv_head32 = conv_bn(128, 128, 3)
        self.conv_head16 = conv_bn(128, 128, 3)
        self.conv_avg = conv_bn(c32, 128, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """-> the maps at stride 8 and at stride 16."""
        _, _, x16, x32 = self.resnet(image)
        average = self.conv_avg(x32.mean((2, 3), keepdim=True))
        up32 = resize(double(self.arm32(x32) + average), x16.shape[2:], align_corners=True)
        up32 = self.conv_head32(up32)
        return self.conv_head16(double(self.arm16(x16) + up32)), up32


class SpatialPath(nn.Module):
    """Four convolutions to stride 8: 128 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv_bn(3, 64, 7, 2)
        self.conv2 = conv_bn(64, 64, 3, 2)
        self.conv3 = conv_bn(64, 64, 3, 2)
        self.conv_out = conv_bn(64, 128, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.conv_out(self.conv3(self.conv2(self.conv1(image))))


class FeatureFusion(nn.Module):
    """Both paths joined, channels weighted by what the whole map says."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.convblk = conv_bn(inputs, outputs, 1)
        self.conv = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        x = self.convblk(torch.cat((spatial, context), 1))
        return x + x * self.bn(self.conv(x.mean((2, 3), keepdim=True))).sigmoid()


class AuxiliaryHead(nn.Sequential):
    """3x3 and 1x1 convolution to logits."""

    def __init__(self, inputs: int, middle: int, num_classes: int):
        super().__init__(OrderedDict(conv=conv_bn(inputs, middle, 3), conv_out=nn.Conv2d(middle, num_classes, 1)))


def enlarge(scores: Tensor, factor: int) -> Tensor:
    return F.interpolate(scores, scale_factor=float(factor), mode="bilinear", align_corners=False)


class BiSeNet(SplitNetwork):
    """BiSeNet whose fusion feature lies at stride 8, for `ARSegNet(..., channels=256)`.

    Args:
        num_classes: of the 1x1 `classifier`, which is `conv_out.conv_out` and `final_conv` in the authors' weights.
        depth: of the ResNet, 18 or 34 in the authors' code; 50 fits, too.
        auxiliary: with the two heads of the authors' training, on the context path at strides 8 and 16
            (`conv_out16` and `conv_out32` in their weights).

    Batch normalisation behind global pools makes it impossible to train with a batch of one.
    """

    channels = 256
    upsampling = 8

    @renamed_argument("classes", "num_classes")
    def __init__(self, num_classes: int = 12, depth: int = 18, auxiliary: bool = False):
        super().__init__()
        self.cp = ContextPath(depth)
        self.sp = SpatialPath()
        self.ffm = FeatureFusion(256, 256)
        self.feat_conv_out = conv_bn(256, self.channels, 3)
        self.classifier = nn.Conv2d(self.channels, num_classes, 1)
        self.auxiliary = nn.ModuleList(AuxiliaryHead(128, 64, num_classes) for _ in range(2)) if auxiliary else None
        encoder = set(self.cp.resnet.modules())
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module not in encoder:
                nn.init.kaiming_normal_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def encode(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """-> the fusion feature `[N, 256, 2 ceil(H/16), 2 ceil(W/16)]`, and the context at strides 8 and 16."""
        context, deeper = self.cp(image)
        spatial = resize(self.sp(image), context.shape[2:], align_corners=True)
        return self.feat_conv_out(self.ffm(spatial, context)), (context, deeper)

    def finish(self, scores: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """-> logits `[N, num_classes, 8h, 8w]`, which is the image's size where its sides are multiples of 16."""
        return enlarge(scores, self.upsampling)

    def auxiliary_outputs(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> tuple[Tensor, ...]:
        """-> logits of the size of the main output, of the heads at strides 8 and 16."""
        assert isinstance(self.auxiliary, nn.ModuleList)
        return tuple(enlarge(head(x), step) for head, x, step in zip(self.auxiliary, maps, (8, 16), strict=True))
