"""Networks of segmentation_models_pytorch by a line, and from a folder of its save_pretrained."""

from __future__ import annotations

import pytest
import torch

from arseg.errors import InputError
from arseg.labels import IMAGENET_MEAN
from arseg.networks import make_network

smp = pytest.importorskip("segmentation_models_pytorch", reason="wants the extra `smp`")
pytestmark = pytest.mark.slow


def test_a_line_makes_it_without_weights_to_fetch(monkeypatch):
    network = make_network("smp:FPN?encoder_name=resnet18&decoder_dropout=0", num_classes=4)
    assert isinstance(network, smp.FPN) and network.segmentation_head[0].out_channels == 4
    assert network.label_set.mean == IMAGENET_MEAN and len(network.label_set.classes) == 4
    made = dict(network.made_from)
    again = make_network(made.pop("network"), **made)
    assert network.state_dict().keys() == again.state_dict().keys()
    asked = []

    def encoder(name, *, weights, **options):
        asked.append(weights)
        raise ValueError("offline")

    monkeypatch.setattr("segmentation_models_pytorch.decoders.fpn.model.get_encoder", encoder)
    for options, fetch, weights in (
        ({}, False, None),
        ({"encoder_weights": "imagenet"}, False, None),
        ({}, True, None),
        ({"pretrained": True}, True, "imagenet"),
    ):
        with pytest.raises(InputError, match="FPN cannot be built: offline"):
            make_network("smp:FPN?encoder_name=resnet18", num_classes=4, fetch=fetch, **options)
        assert asked.pop() == weights


@torch.no_grad()
def test_a_folder(tmp_path):
    own = smp.Linknet("resnet18", encoder_weights=None, classes=3).eval()
    own.save_pretrained(tmp_path)
    network = make_network(f"smp:{tmp_path}").eval()
    image = torch.randn(1, 3, 64, 96)
    assert torch.equal(network(image), own(image))
    with pytest.raises(InputError, match="is a saved network with 3 classes, which options cannot change"):
        make_network(f"smp:{tmp_path}", num_classes=5)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model.safetensors: no such file"):
        make_network(f"smp:{tmp_path}")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("smp:Unett", "model: smp has no 'Unett'; did you mean Unet"),
        ("smp:Unet?encoder_name=resnet19", "encoder_name: smp has no 'resnet19'; did you mean resnet18"),
        ("smp:Unet?encoder_name=tu-nothing", "encoder_name: timm has no 'nothing'"),
        ("smp:Unet?in_channels=4", "smp:Unet: expected 3 channels, RGB"),
        ("smp:Linknet?encoder_name=mit_b0", "Linknet cannot be built: Encoder `mit_b0` is not supported"),
    ],
)
def test_what_there_is_not(line, sentence):
    with pytest.raises(InputError) as caught:
        make_network(line, num_classes=3)
    assert sentence in str(caught.value)
