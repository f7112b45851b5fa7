"""EfficientNet-Lite0 (the default network's encoder), -Lite1 and -Lite2, with the keys of timm's state dict.

Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; the Lite
variants have neither squeeze-and-excitation nor swish. timm has it, too, but takes as long to import as torch.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import Tensor, nn

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Of each stage of Lite0: blocks, side of the kernel, stride of the first block, expansion, channels."""

SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
"""Of each variant: by how much its stages are wider and deeper; the stem, and the depth of both ends, stay."""

EPSILON = 1e-3
"""TensorFlow's, of batch normalisation, which the ImageNet weights expect."""


class InvertedBottleneck(nn.Sequential):
    """1x1 expansion, depthwise convolution, 1x1 projection; added to the input where the shapes allow it.

    With an expansion of 1 the first of them is left out, and timm names the last `conv_pw`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        wide = inputs * expansion
        depthwise = nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False)
        project = nn.Conv2d(wide, outputs, 1, bias=False)
        layers: dict[str, nn.Module]
        if expansion == 1:
            layers = {"conv_dw": depthwise, **_norm(1, wide), "conv_pw": project, "bn2": _batch_norm(outputs)}
        else:
            layers = {"conv_pw": nn.Conv2d(inputs, wide, 1, bias=False), **_norm(1, wide)}
            layers |= {"conv_dw": depthwise, **_norm(2, wide), "conv_pwl": project, "bn3": _batch_norm(outputs)}
        super().__init__(OrderedDict(layers))
        self.has_skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y + x if self.has_skip else y


def stages_of(variant: int) -> tuple[tuple[int, int, int, int, int], ...]:
    """`STAGES`, scaled; channels are rounded to multiples of 8, by at most a tenth down."""
    width, depth = SCALES[variant]
    ends = (0, len(STAGES) - 1)
    return tuple(
        (blocks if index in ends else math.ceil(blocks * depth), kernel, stride, expansion, _multiple_of_8(out * width))
        for index, (blocks, kernel, stride, expansion, out) in enumerate(STAGES)
    )


class EfficientNetLiteFeatures(nn.Module):
    """The stem and seven stages of EfficientNet-Lite `variant`, 0, 1 or 2; random weights as TensorFlow draws them.

    Attributes:
        channels: of the maps, at strides 4, 8, 16 and 32.
    """

    returned = (1, 2, 4, 6)
    """Stages whose maps are given, at strides 4, 8, 16 and 32."""

    def __init__(self, variant: int = 0) -> None:
        super().__init__()
        width = 32
        self.conv_stem = nn.Conv2d(3, width, 3, 2, 1, bias=False)
        self.bn1, self.act1 = _norm(1, width).values()
        stages, table = [], stages_of(variant)
        for blocks, kernel, stride, expansion, channels in table:
            stage = []
            for index in range(blocks):
                stage.append(InvertedBottleneck(width, channels, kernel, stride if index == 0 else 1, expansion))
                width = channels
            stages.append(nn.Sequential(*stage))
        self.blocks = nn.Sequential(*stages)
        self.channels = tuple(table[index][-1] for index in self.returned)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))

    def forward(self, image: Tensor) -> list[Tensor]:
        """`[N, 3, H, W]` -> maps of `channels` at strides 4, 8, 16 and 32."""
        x = self.act1(self.bn1(self.conv_stem(image)))
        maps = []
        for index, stage in enumerate(self.blocks):
            x = stage(x)
            if index in self.returned:
                maps.append(x)
        return maps


def _multiple_of_8(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, EPSILON)


def _norm(number: int, channels: int) -> dict[str, nn.Module]:
    return {f"bn{number}": _batch_norm(channels), f"act{number}": nn.ReLU6(inplace=True)}
