"""An encoder of one's own under the pyramid head: one of timm as it is, and one of timm's under a name."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

import arseg
from arseg.errors import InputError
from arseg.networks import ENCODERS, EncoderHead, PyramidNet
from arseg.weights import save_checkpoint


@ENCODERS.register("my-encoder")
class MyEncoder(nn.Module):
    channels, strides = (16, 16, 24, 48, 576), (2, 4, 8, 16, 32)  # of its maps

    def __init__(self):
        super().__init__()
        self.net = timm.create_model("mobilenetv3_small_100", features_only=True)

    def forward(self, image):  # [N, 3, H, W] -> one map for each of the strides
        return self.net(image)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["my-encoder", "timm:mobilenetv3_small_050", "resnet:18"])
@torch.no_grad()
def test_an_encoder_under_the_pyramid_head(tmp_path: Path, encoder: str) -> None:
    net = PyramidNet(num_classes=4, channels=16, wide=16, encoder=encoder).eval()
    image = torch.randn(1, 3, 61, 90)
    assert net.features(image).shape == (1, 16, 16, 23) and net(image).shape == (1, 4, 61, 90)
    config = {"classes": 4, "channels": 16, "wide": 16, "encoder": encoder}
    save_checkpoint(net.state_dict(), tmp_path / "hr.safetensors", kind="hr", config=config, half=False)
    again = arseg.load(tmp_path / "hr.safetensors")
    torch.testing.assert_close(again(image), net(image))


def test_an_encoder_under_the_simple_head() -> None:
    assert len(inspect.getsource(MyEncoder).splitlines()) <= 20, "the page says how little it takes"
    net = EncoderHead("my-encoder", num_classes=4, channels=8).eval()
    assert net.features(torch.randn(1, 3, 64, 96)).shape == (1, 8, 8, 12)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(InputError, match="encoder: timm has no 'no_such_net'"):
        PyramidNet(encoder="timm:no_such_net")
    with pytest.raises(InputError, match=r"encoder: expected one of efficientnet-lite0, .*timm.* got 'lite0'"):
        PyramidNet(encoder="lite0")
    with pytest.raises(InputError, match=r"encoder: expected maps at strides 4, 8, 16, 32, and resnet:18.* 4, 8, 8, 8"):
        PyramidNet(encoder="resnet:18?dilated=true")
