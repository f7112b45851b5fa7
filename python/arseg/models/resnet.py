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
    """ResNet without its classifier: the maps of the last three layers.

    Args:
        depth: 18, 34 or 50.
        dilated: layers 3 and 4 keep stride 8 and see as far by dilation 2 and 4; the first block of each is undilated,
            which is what the published weights were trained with (torchvision's own dilation is another).

    Attributes:
        channels, strides: of the three maps.

    Raises `InputError` for another depth.
    """

    def __init__(self, depth: int = 18, *, dilated: bool = False):
        if depth not in DEPTHS:
            raise InputError(f"depth: expected one of {', '.join(map(str, DEPTHS))}, got {depth!r}")
        block, layers = DEPTHS[depth]
        super().__init__(block, layers)
        del self.avgpool, self.fc
        self.channels = tuple(width * block.expansion for width in (128, 256, 512))
        self.strides = (8, 8, 8) if dilated else (8, 16, 32)
        if dilated:
            _dilate(self.layer3, 2)
            _dilate(self.layer4, 4)

    def forward(self, image: Tensor) -> list[Tensor]:  # type: ignore[override]
        """`[N, 3, H, W]` normalised RGB -> maps `[N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])]`."""
        x = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(image)))))
        x2 = self.layer2(x)
        x3 = self.layer3(x2)
        return [x2, x3, self.layer4(x3)]


def _dilate(layer: nn.Sequential, dilation: int) -> None:
    for index, block in enumerate(layer):
        for module in block.modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)
                if index > 0 and module.kernel_size == (3, 3):
                    module.dilation = module.padding = (dilation, dilation)


def load_published(
    network: nn.Module, state: Mapping[str, Tensor], *, renamed: Mapping[str, str], unused: tuple[str, ...]
) -> None:
    """Loads a state dict with the authors' keys, `module.` before them or not.

    `renamed`: their prefix -> ours. `unused`: prefixes of what only their training has, and of second names.
    Raises `RuntimeError` (torch's, with the keys) where the rest does not fit.
    """
    own: dict[str, Tensor] = {}
    for key, value in state.items():
        key = key.removeprefix("module.")
        if key.startswith(unused):
            continue
        for theirs, ours in renamed.items():
            if key.startswith(theirs):
                key = ours + key.removeprefix(theirs)
                break
        own[key] = value
    network.load_state_dict(own)
