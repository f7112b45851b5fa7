"""BiSeNet as the paper has it for CamVid: a deep context path, a shallow spatial path, and their fusion at stride 8."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pyramid import resize_to
from .resnet import ResNet, load_published


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            bn=nn.BatchNorm2d(outputs),
            relu=nn.ReLU(inplace=True),
        )
    )


def fit(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear to the size of `like`; corner pixels keep their place, as in the published networks."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


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
    """ResNet, with its maps at strides 32 and 16 brought to stride 8: 128 channels."""

    def __init__(self, depth: int):
        super().__init__()
        self.resnet = ResNet(depth)
        _, c16, c32 = self.resnet.channels
        self.arm16 = AttentionRefinement(c16, 128)
        self.arm32 = AttentionRefinement(c32, 128)
        self.conv_head32 = conv_bn(128, 128, 3)
        self.conv_head16 = conv_bn(128, 128, 3)
        self.conv_avg = conv_bn(c32, 128, 1)

    def forward(self, image: Tensor) -> Tensor:
        _, x16, x32 = self.resnet(image)
        average = self.conv_avg(x32.mean((2, 3), keepdim=True))
        x32 = self.conv_head32(fit(double(self.arm32(x32) + average), x16))
        return self.conv_head16(double(self.arm16(x16) + x32))


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


class BiSeNet(nn.Module):
    """BiSeNet whose fusion feature lies at stride 8, for `ARSegNet(..., channels=256)`.

    Args:
        classes: of the 1x1 `classifier`, which is `final_conv` in the authors' weights.
        depth: of the ResNet, 18 or 34 in the authors' code; 50 fits, too.

    The two auxiliary heads of the authors' training are left out. Batch normalisation behind global pools makes it
    impossible to train with a batch of one.
    """

    channels = 256

    def __init__(self, classes: int = 12, depth: int = 18):
        super().__init__()
        self.cp = ContextPath(depth)
        self.sp = SpatialPath()
        self.ffm = FeatureFusion(256, 256)
        self.feat_conv_out = conv_bn(256, self.channels, 3)
        self.classifier = nn.Conv2d(self.channels, classes, 1)
        encoder = set(self.cp.resnet.modules())
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module not in encoder:
                nn.init.kaiming_normal_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def features(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the fusion feature `[N, 256, 2 ceil(H/16), 2 ceil(W/16)]`."""
        context = self.cp(image)
        return self.feat_conv_out(self.ffm(fit(self.sp(image), context), context))

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> logits `[N, classes, H, W]`."""
        return resize_to(self.classifier(self.features(image)), image)

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Takes the authors' weights, of their high-resolution or of their fused network (but for the fusion).

        Raises `RuntimeError` that names the keys where they do not fit.
        """
        load_published(
            self,
            state,
            renamed={"conv_out.conv_out.": "classifier.", "conv_out.conv.": "feat_conv_out."},
            unused=("conv_out16.", "conv_out32.", "feat_conv_out.", "final_conv.", "fuse_attention."),
        )
