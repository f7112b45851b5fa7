"""A network of one's own: a class under a name, that weights files and `--model` find."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers.texture_clips import moving_texture
from torch import nn

import arseg
from arseg.errors import InputError
from arseg.labels import LabelSet
from arseg.networks import NETWORKS, ARSegNet
from arseg.video import encode
from arseg.weights import save_checkpoint
from arseg.weights.files import CheckpointError


@NETWORKS.register("my-net")
class MyNet(nn.Module):
    channels = 8  # of the feature that is fused

    def __init__(self, num_classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.ReLU())
        self.classifier = nn.Conv2d(8, num_classes, 1)

    def features(self, image):  # [N, 3, H, W] -> [N, channels, h, w]
        return self.body(image)

    def forward(self, image):
        return F.interpolate(self.classifier(self.features(image)), size=image.shape[2:], mode="bilinear")


def test_a_network_of_a_users_script(tmp_path: Path) -> None:
    assert len(inspect.getsource(MyNet).splitlines()) <= 20, "the page says how little it takes"
    torch.manual_seed(0)
    labels = LabelSet.of(4, classes=["road", "car", "sky", "rest"])
    net = ARSegNet(NETWORKS["my-net"](num_classes=4), channels=8)
    net.start_fusion()
    config = {"network": "my-net", "num_classes": 4, "scale": 0.5, "window": 7, "labels": labels.to_json()}
    save_checkpoint(net.state_dict(), tmp_path / "mine.safetensors", kind="ar", config=config, half=False)

    encode(moving_texture(2), tmp_path / "clip.mp4")
    segmenter = arseg.VideoSegmenter(arseg.load(tmp_path / "mine.safetensors"))
    found = [frame.labels for frame in segmenter.stream(tmp_path / "clip.mp4")]
    assert [labels.shape for labels in found] == [(64, 96)] * 2
    assert segmenter.label_set.classes[0] == "road"

    accelerated = arseg.accelerate("my-net?num_classes=4", size=(64, 96))
    accelerated.save(tmp_path / "fast.safetensors")
    again = arseg.load(tmp_path / "fast.safetensors")
    image = torch.randn(1, 3, 64, 96)
    torch.testing.assert_close(again.keyframe(image), accelerated.keyframe(image))  # in another memory format


def test_without_the_script_the_file_says_which_name_is_missing(tmp_path: Path) -> None:
    save_checkpoint({}, tmp_path / "mine.safetensors", kind="hr", config={"network": "other-net"})
    with pytest.raises(CheckpointError, match=r"mine.safetensors: model: expected one of pyramid, .* got 'other-net'"):
        arseg.load(tmp_path / "mine.safetensors")
    with pytest.raises(InputError, match=r"model: expected torchvision:NAME, .* or of arseg.networks, got 'other-net'"):
        arseg.accelerate("other-net")
