"""ResNet encoders of the paper's networks, with the keys of torchvision's weights.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; as torchvision has it, bottlenecks stride
in their 3x3 convolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from arseg.errors import InputError


class Block(nn.Module):
    """Convolutions, and the block's input added to what they give; `downsample` brings that to its shape."""

    expansion: int
    """Channels of the result, in multiples of `width`."""
    downsample: nn.Sequential | None
    """Set last: the order of the parameters is torchvision's, too, for the optimiser's state goes by it."""

    def residual(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.residual(x) + shortcut, inplace=True)


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """What brings a block's input to the shape of its result; None where it has that already."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class BasicBlock(Block):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(inputs, width, stride)

    def residual(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.bn2(self.conv2(x))


class Bottleneck(Block):
    """A 1x1, a 3x3 and a 1x1 convolution."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def residual(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return self.bn3(self.conv3(x))


DEPTHS: Mapping[int, tuple[type[BasicBlock] | type[Bottleneck], Sequence[int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
}
"""Blocks of each depth: their kind, and how many in each of the four layers."""

WIDTHS = (64, 128, 256, 512)


class ResNet(nn.Module):
    """ResNet without its classifier: the maps of its four layers.

    Args:
        depth: 18, 34 or 50.
        dilated: layers 3 and 4 keep stride 8 and see as far by dilation 2 and 4; the first block of each is undilated,
            which is what the published weights were trained with (torchvision's own dilation is another).
        dilate_first: dilates the layer called `conv2` of those first blocks, too, and leaves their `conv1`, as the
            Cityscapes PSPNet has it.

    Attributes:
        channels, strides: of the maps.

    Raises `InputError` for another depth.
    """

    def __init__(self, depth: int = 18, *, dilated: bool = False, dilate_first: bool = False):
        if depth not in DEPTHS:
            raise InputError(f"depth: expected one of {', '.join(map(str, DEPTHS))}, got {depth!r}")
        super().__init__()
        block, counts = DEPTHS[depth]
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.channels = tuple(width * block.expansion for width in WIDTHS)
        inputs = (64, *self.channels)
        layers = []
        for index, (width, count) in enumerate(zip(WIDTHS, counts, strict=True)):
            first = block(inputs[index], width, 1 if index == 0 else 2)
            layers.append(nn.Sequential(first, *(block(self.channels[index], width, 1) for _ in range(count - 1))))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.strides = (4, 8, 8, 8) if dilated else (4, 8, 16, 32)
        if dilated:
            _dilate(self.layer3, 2, dilate_first)
            _dilate(self.layer4, 4, dilate_first)

    def forward(self, image: Tensor) -> list[Tensor]:
        """`[N, 3, H, W]` normalised RGB -> maps `[N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])]`."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        maps = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            maps.append(x)
        return maps


def _dilate(layer: nn.Sequential, dilation: int, first: bool) -> None:
    for index, block in enumerate(layer):
        for name, module in block.named_modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)
                if module.kernel_size == (3, 3) and (index > 0 or (first and name == "conv2")):
                    module.dilation = module.padding = (dilation, dilation)
