"""A line or a module becomes features and a classifier that can be trained, and weights of it build again."""

from __future__ import annotations

import pytest
import torch
from helpers.other_networks import Functional, OwnParts, Plain, SegFormerLike, seeded
from torch import nn

import arseg
from arseg.acceleration import split
from arseg.acceleration.cut_network import Cut, CutNetwork
from arseg.errors import InputError
from arseg.networks import NETWORKS, make_network
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.pyramid import PyramidNet
from arseg.weights.build import build
from arseg.weights.files import CheckpointError, load_checkpoint, save_checkpoint

SIZE = (64, 96)
LINES = [
    "pyramid?channels=8&wide=8",
    "camvid-bise18",
    "timm:mobilenetv3_small_050?channels=8",
    "torchvision:lraspp_mobilenet_v3_large",
]


def saved(network, path, kind="hr", **config):
    save_checkpoint(network.state_dict(), path, kind=kind, config={**network.made_from, **config}, half=False)
    return path


@pytest.mark.parametrize("name", ["pyramid", "camvid-psp18", "cityscapes-bise18"])
def test_num_classes_means_the_same_everywhere(name):
    assert name in NETWORKS
    network = make_network(name, num_classes=6)
    assert network.classifier.out_channels == 6
    assert getattr(network, "label_set", None) is None or len(network.label_set.classes) == 6


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_a_line_trains_and_comes_back(tmp_path, line):
    network = split(line, num_classes=5, size=SIZE)
    assert len(network.label_set.classes) == 5
    image = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        own, parts = network(image), network.classifier(network.features(image))
    assert parts.shape[1] == own.shape[1] == 5 and network.features(image).shape[1] == network.channels

    network.train()
    logits = network(image) + network.classifier(network.features(image)).mean()
    logits.square().mean().backward()
    parameters = {name: p for name, p in network.named_parameters() if "auxiliary" not in name}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in parameters.values())

    network.eval()
    labels = network.label_set.to_json()
    again = load_checkpoint(saved(network, tmp_path / "hr.safetensors", labels=labels, height=64))
    assert (again.channels, again.input_height, again.label_set) == (network.channels, 64, network.label_set)
    with torch.no_grad():
        torch.testing.assert_close(again(image), network(image))

    pair = ARSegNet(again, channels=again.channels, scale=0.5).eval()
    save_checkpoint(
        pair.state_dict(),
        tmp_path / "ar.safetensors",
        kind="ar",
        config={**network.made_from, "scale": 0.5, "window": 7, "labels": labels},
        half=False,
    )
    both = load_checkpoint(tmp_path / "ar.safetensors")
    with torch.no_grad():
        assert torch.equal(both.low_res(image), pair.low_res(image))
        assert torch.equal(both.classify(both.keyframe(image), image), pair.classify(pair.keyframe(image), image))


def test_a_module_is_cut_where_it_is():
    model = seeded(SegFormerLike).train()
    network = split(model, num_classes=5, size=SIZE)
    assert isinstance(network, CutNetwork) and network.network is model and model.training
    assert (network.channels, network.stride, network.made_from) == (12, 4, None)
    network(torch.randn(1, 3, *SIZE)).mean().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_frozen_parts_stay_frozen():
    model = seeded(SegFormerLike).train()
    frozen = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)][:1]
    frozen = frozen or [next(module for module in model.modules() if not list(module.children()))]
    for module in frozen:
        module.eval()
    before = {name: module.training for name, module in model.named_modules()}
    network = split(model, num_classes=5, size=SIZE)
    assert before == {name: module.training for name, module in model.named_modules()} and network.training


def test_networks_with_the_parts_stay_themselves():
    ours = PyramidNet(4, 8, 8)
    assert split(ours, size=SIZE) is ours
    theirs = seeded(OwnParts)  # without `channels`
    network = split(theirs, size=SIZE)
    assert network.network is theirs and network.channels == 8
    given = CutNetwork(seeded(Functional), Cut(lambda net, image: net.body(image), lambda net, x: x[:, :5]))
    with pytest.raises(InputError, match="does not give the model's own output"):
        split(given, size=SIZE)


def test_another_number_of_classes_is_said():
    with pytest.raises(InputError, match="model: gives 5 classes where 7 are wanted"):
        split(seeded(Plain), num_classes=7, size=SIZE)


CODE = """
import torch
def network(num_classes=3):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(4, num_classes, 1))
def fixed():
    return network(3)
"""


def test_code_is_given_the_classes_and_given_again(tmp_path):
    (tmp_path / "mine.py").write_text(CODE)
    line = f"{tmp_path}/mine.py:network"
    network = split(line, num_classes=6, size=SIZE)
    path = saved(network, tmp_path / "hr.safetensors")
    with pytest.raises(CheckpointError, match=r"code of yours and is not run .* arseg.load\(path, model=…\)"):
        load_checkpoint(path)
    image = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        for model in (line, nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 1))):
            torch.testing.assert_close(arseg.load(path, model=model)(image), network(image))
    with pytest.raises(InputError, match="gives 3 classes where 6 are wanted"):
        split(f"{tmp_path}/mine.py:fixed", num_classes=6, size=SIZE)


@pytest.mark.slow
def test_weights_files_are_split_too(tmp_path):
    config = {"network": "pyramid?channels=8&wide=8", "num_classes": 3, "height": 64}
    for kind, more in (("hr", {}), ("ar", {"scale": 0.5, "window": 7})):
        module = build(kind, {**config, **more})
        save_checkpoint(module.state_dict(), tmp_path / kind, kind=kind, config={**config, **more})
        network = split(tmp_path / kind, size=SIZE)
        assert isinstance(network, PyramidNet)
        assert network.made_from == config
    accelerated = arseg.accelerate("torchvision:lraspp_mobilenet_v3_large?num_classes=4", size=SIZE)
    accelerated.save(tmp_path / "net.safetensors")
    network = split(tmp_path / "net.safetensors", size=SIZE)
    again = load_checkpoint(saved(network, tmp_path / "hr.safetensors"))
    image = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(again(image), accelerated.high(image))
