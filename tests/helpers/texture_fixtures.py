"""Fixtures of many folders. They import what they need themselves: tests of operators run where there is no PyAV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from arseg.networks.arseg_net import ARSegNet


@pytest.fixture(scope="session")
def tiny() -> ARSegNet:
    """A small untrained network that tells parts of a texture apart, and whose fusion does something."""
    from arseg.labels import CAMVID
    from arseg.networks.arseg_net import ARSegNet
    from arseg.networks.pyramid import PyramidNet

    torch.manual_seed(0)
    net = ARSegNet(PyramidNet(num_classes=11, channels=16, wide=16), channels=16, label_set=CAMVID)
    net.start_fusion()
    torch.nn.init.normal_(net.fusion.hr_value_conv.weight, std=0.2)
    net.eval()
    with torch.no_grad():
        # Untrained features differ little from place to place: classify what differs.
        torch.manual_seed(1)
        feature = net.keyframe(torch.randn(1, 3, 64, 96))
        centre, spread = feature.mean((0, 2, 3)), feature.std((0, 2, 3)) + 1e-6
        weight = torch.randn(11, 16) / spread
        net.classifier.weight.copy_(weight[..., None, None])
        net.classifier.bias.copy_(-(weight @ centre))
    return net


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames of 96x64, groups of 12."""
    from helpers.texture_clips import moving_texture

    from arseg.video import encode

    path = tmp_path_factory.mktemp("clip") / "texture.mp4"
    encode(moving_texture(30), path, rate=15, gop=12, crf=18)
    return path
