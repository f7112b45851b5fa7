"""The paper's CamVid networks as far as their cost goes: every convolution, random weights, no auxiliary heads.

`check` holds their multiply-accumulates to the published table (PSPNet18 308.64, BiSeNet18 39.12 GMACs at 960x720).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

GMACS = {"PSPNet18": 308.64, "BiSeNet18": 39.12}


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, act: nn.Module | None = None) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), act or nn.ReLU(inplace=True))


def upsample(x: Tensor, size: Sequence[int], mode: str = "bilinear") -> Tensor:
    return F.interpolate(x, size=list(size), mode=mode)


class ResNet18(nn.Module):
    """Maps at strides 8, 16 and 32, or three at stride 8 where `dilated`."""

    def __init__(self, dilated: bool):
        super().__init__()
        net = torchvision.models.resnet18()
        if dilated:
            for layer, dilation in ((net.layer3, 2), (net.layer4, 4)):
                for module in layer.modules():
                    if isinstance(module, nn.Conv2d):
                        module.stride = (1, 1)
                for convolution in (layer[0].conv2, layer[1].conv1, layer[1].conv2):
                    convolution.dilation = convolution.padding = (dilation, dilation)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1)
        self.layers = nn.ModuleList((net.layer2, net.layer3, net.layer4))

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [self.stem(image)]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        return maps[1:]


class PSPNet18(nn.Module):
    """Fusion feature: 64 channels at the image's resolution."""

    channels = 64

    def __init__(self, classes: int = 12):
        super().__init__()
        self.backbone = ResNet18(dilated=True)
        self.bins = (1, 2, 3, 6)
        self.stages = nn.ModuleList(nn.Conv2d(512, 512, 1, bias=False) for _ in self.bins)
        self.bottleneck = nn.Conv2d(512 * 5, 1024, 1)
        widths = (1024, 256, 64, 64)
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.PReLU())
            for a, b in itertools.pairwise(widths)
        )
        self.classifier = nn.Conv2d(64, classes, 1)

    def features(self, image: Tensor) -> Tensor:
        x = self.backbone(image)[-1]
        pooled = [
            upsample(stage(F.adaptive_avg_pool2d(x, bins)), x.shape[2:])
            for stage, bins in zip(self.stages, self.bins, strict=True)
        ]
        x = F.relu(self.bottleneck(torch.cat([*pooled, x], 1)))
        for layer in self.up:
            x = layer(upsample(x, (2 * x.shape[2], 2 * x.shape[3])))
        return x


class Attention(nn.Module):
    """BiSeNet's attention refinement."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = conv_bn(inputs, outputs)
        self.gate = nn.Sequential(nn.Conv2d(outputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * self.gate(x.mean((2, 3), keepdim=True))


class BiSeNet18(nn.Module):
    """Fusion feature: 256 channels at 1/8."""

    channels = 256

    def __init__(self, classes: int = 12):
        super().__init__()
        self.backbone = ResNet18(dilated=False)
        self.spatial = nn.Sequential(
            conv_bn(3, 64, 7, 2), conv_bn(64, 64, 3, 2), conv_bn(64, 64, 3, 2), conv_bn(64, 128, 1)
        )
        self.refine16, self.refine32 = Attention(256, 128), Attention(512, 128)
        self.average = conv_bn(512, 128, 1)
        self.head16, self.head32 = conv_bn(128, 128), conv_bn(128, 128)
        self.join = conv_bn(256, 256, 1)
        self.squeeze = nn.Sequential(
            nn.Conv2d(256, 64, 1, bias=False), nn.ReLU(), nn.Conv2d(64, 256, 1, bias=False), nn.Sigmoid()
        )
        self.out = conv_bn(256, 256)
        self.classifier = nn.Conv2d(256, classes, 1)

    def features(self, image: Tensor) -> Tensor:
        x8, x16, x32 = self.backbone(image)
        average = upsample(self.average(x32.mean((2, 3), keepdim=True)), x32.shape[2:], "nearest")
        x32 = self.head32(upsample(self.refine32(x32) + average, x16.shape[2:], "nearest"))
        x16 = self.head16(upsample(self.refine16(x16) + x32, x8.shape[2:], "nearest"))
        joined = self.join(torch.cat((self.spatial(image), x16), 1))
        return self.out(joined + joined * self.squeeze(joined.mean((2, 3), keepdim=True)))


def fold(module: nn.Module) -> nn.Module:
    """In eval mode, with each batch normalisation folded into the convolution before it."""
    children = list(module.named_children())
    for (name, child), (after, norm) in itertools.pairwise(children):
        if isinstance(child, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, name, torch.nn.utils.fuse_conv_bn_eval(child.eval(), norm.eval()))
            setattr(module, after, nn.Identity())
    for child in module.children():
        fold(child)
    return module.eval()


def gmacs(network: nn.Module, height: int = 720, width: int = 960) -> float:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        meta = network.to("meta")
        meta.classifier(meta.features(torch.empty(1, 3, height, width)))
    return counter.get_total_flops() / 2e9


if __name__ == "__main__":
    for kind in (PSPNet18, BiSeNet18):
        print(kind.__name__, round(gmacs(kind().eval()), 2), "published:", GMACS[kind.__name__])
