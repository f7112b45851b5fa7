"""ResNet encoders of the paper's networks, with the keys of torchvision's weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.resnet import ResNet as Classifier

from arseg.errors import InputError

DEPTHS: Mapping[int, tuple[type[BasicBlock] | type[Bottleneck], list[int]]] = {
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
}
"""Blocks of each depth: their kind, and how many in each of the four layers."""


class ResNet(Classifier):
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
        block, layers = DEPTHS[depth]
        super().__init__(block, layers)
        del self.avgpool, self.fc
        self.channels = tuple(width * block.expansion for width in (64, 128, 256, 512))
        self.strides = (4, 8, 8, 8) if dilated else (4, 8, 16, 32)
        if dilated:
            _dilate(self.layer3, 2, dilate_first)
            _dilate(self.layer4, 4, dilate_first)

    def forward(self, image: Tensor) -> list[Tensor]:  # type: ignore[override]
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
