"""Networks of every library: their own output to the bit from both parts, labels of a video, and exported branches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cut_networks import Branch, lines
from helpers.streets import pictures
from helpers.tiny_transformers import save_segformer
from torch import nn

import arseg
from arseg import VideoSegmenter
from arseg.acceleration import AcceleratedNet, split
from arseg.acceleration.cut_network import logits_of
from arseg.acceleration.network_source import network_from
from arseg.acceleration.opened import around
from arseg.errors import InputError
from arseg.preprocess import network_input
from arseg.video import encode
from arseg.weights.files import load_checkpoint

pytestmark = pytest.mark.slow
pytest.importorskip("transformers", reason="wants the extra `transformers`")
pytest.importorskip("segmentation_models_pytorch", reason="wants the extra `smp`")
SIZE = (64, 96)
FAMILIES = [
    "transformers:segformer",
    "transformers:dpt",
    "transformers:mobilenet_v2",
    "transformers:tipsv2_dpt",
    "smp:Unet, tu-mobilenetv3_small_050",
    "smp:FPN, resnet18",
    "torchvision:lraspp_mobilenet_v3_large",
]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "street.mp4"
    encode(pictures(3, size=(64, 96)), path, rate=15)
    return path


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_families(name, video, tmp_path):
    torch.manual_seed(0)
    line = lines()[name]
    whole = network_from(line + ("&" if "?" in line else "?") + "num_classes=5")
    network = split(whole, size=SIZE)
    net = around(network)
    frames = list(VideoSegmenter(net, mode="hr").stream(video))
    assert len(frames) == 3
    for frame in frames[:2]:
        image = network_input(frame.image, SIZE, net.label_set, torch.device("cpu"))
        image = network.sizes.fit(image) if hasattr(network, "sizes") else image
        own = logits_of(whole(image))
        parts = network.classifier(network.features(image))
        if hasattr(network, "finish"):
            parts = network.finish(parts)
        if parts.shape != own.shape:
            align = getattr(network, "align_corners", False)
            parts = F.interpolate(parts, own.shape[2:], mode="bilinear", align_corners=align)
        assert torch.equal(parts, own), "the network's own output, to the bit"
        if own.shape[2:] == SIZE:
            labels = own[0].argmax(0).to(torch.uint8).numpy()
            assert (labels == frame.labels).mean() > 0.999  # where two classes are as likely, rounding decides
    feature = network.features(image)
    for part, given in (("features", image), ("classifier", feature)):
        made = torch.export.export(Branch(network, part), (given,)).module()
        torch.testing.assert_close(made(given), getattr(network, part)(given))


@torch.no_grad()
def test_a_saved_folder_from_video_to_weights(tmp_path, video):
    """What the weights file says builds the network again, without the folder."""
    model = save_segformer(tmp_path / "mine")
    net = arseg.accelerate(f"transformers:{tmp_path / 'mine'}", size=SIZE)
    assert net.label_set.classes == ("road", "sky", "car", "tree") and net.input_height == 72
    net.save(tmp_path / "net.safetensors")
    (tmp_path / "mine").rename(tmp_path / "gone")
    again = load_checkpoint(tmp_path / "net.safetensors")
    assert isinstance(again, AcceleratedNet) and again.label_set == net.label_set and again.input_height == 72
    (first, *_), (same, *_) = (list(VideoSegmenter(x, height="video").stream(video)) for x in (net, again))
    assert np.array_equal(first.labels, same.labels)
    image = network_input(first.image, SIZE, net.label_set, torch.device("cpu"))
    own = F.interpolate(model(image).logits, SIZE, mode="bilinear", align_corners=False)
    assert (own[0].argmax(0).numpy() == first.labels).mean() > 0.999
    assert len(np.unique(first.labels)) > 1


@torch.no_grad()
def test_a_model_of_transformers_may_be_given_itself(tmp_path):
    model = save_segformer(tmp_path / "mine")
    net = arseg.accelerate(type(model).from_pretrained(tmp_path / "mine"), size=SIZE)
    assert net.label_set.classes == ("road", "sky", "car", "tree") and net.label_set.mean == (0.4, 0.5, 0.6)
    image = torch.randn(1, 3, *SIZE)
    assert torch.equal(net.high(image), model(image).logits)
    net.save(tmp_path / "net.safetensors")
    again = load_checkpoint(tmp_path / "net.safetensors")  # in another memory format: rounded otherwise
    assert torch.allclose(again.keyframe(image), net.keyframe(image), atol=1e-5)
    named = arseg.accelerate(model, classifier="decode_head.classifier", size=SIZE)
    assert torch.equal(named.keyframe(image), net.keyframe(image)), "names are those of the model"


@torch.no_grad()
def test_what_a_function_returns_is_a_model_of_transformers_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = save_segformer(tmp_path / "mine")
    code = "from transformers import AutoModelForSemanticSegmentation as Auto"
    (tmp_path / "net.py").write_text(f"{code}\n\n\ndef net():\n    return Auto.from_pretrained('mine')\n")
    image = torch.randn(1, 3, *SIZE)
    part = split("net.py:net", size=SIZE)
    assert (part.label_set.classes[0], part.label_set.mean, part.input_height) == ("road", (0.4, 0.5, 0.6), 72)
    net = arseg.accelerate("net.py:net", size=SIZE)
    assert net.label_set == part.label_set and torch.equal(net.keyframe(image), net.high.features(image))
    assert torch.equal(net.high(image), model(image).logits)
    net.save(tmp_path / "net.safetensors")
    for given in ({}, {"model": "net.py:net"}):  # its config is in the file, and no code is needed
        again = load_checkpoint(tmp_path / "net.safetensors", **given)
        assert torch.allclose(again.high(image), net.high(image), atol=1e-5)


class Probabilities(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 1), nn.Softmax2d())


def test_outputs_that_are_no_logits():
    with pytest.raises(InputError, match=r"model: gives values from 0 to 1, not logits; build it without its last"):
        split(Probabilities(), size=SIZE)
    with pytest.raises(InputError, match=r"model: gives 1 class, and label maps need at least 2"):
        split("smp:Unet?encoder_name=tu-mobilenetv3_small_050", size=SIZE)
