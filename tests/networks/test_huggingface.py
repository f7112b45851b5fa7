"""Networks of transformers: what a saved folder says is taken over; what is no such network is told in a sentence."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from helpers.tiny_transformers import CLASSES, MEAN, STD, save_mobilevit, save_segformer

from arseg.acceleration.sizes import Sizes, find_sizes
from arseg.errors import InputError
from arseg.labels import CITYSCAPES
from arseg.networks import make_network
from arseg.preprocess import normalise

transformers = pytest.importorskip("transformers", reason="wants the extra `transformers`")
pytestmark = pytest.mark.slow
TINY = "depths=[1,1,1,1]&hidden_sizes=[8,16,16,16]&decoder_hidden_size=16"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("saved") / "segformer"
    save_segformer(place)
    return place


def pixels(height=48, width=64):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, height, width), np.uint8))


@torch.no_grad()
def test_a_saved_folder_is_loaded_with_all_that_it_says(folder):
    network = make_network(f"transformers:{folder}").eval()
    own = transformers.SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    assert network.label_set.classes == CLASSES and network.input_height == 72
    assert (network.label_set.mean, network.label_set.std) == (MEAN, STD)
    image = pixels(72, 72)
    theirs = processor(images=image[0], return_tensors="pt")["pixel_values"]
    ours = normalise(image, network.label_set.mean, network.label_set.std)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert torch.equal(network(theirs), own(theirs).logits)


@torch.no_grad()
def test_blue_green_red(tmp_path):
    own = save_mobilevit(tmp_path)
    network = make_network(f"transformers:{tmp_path}").eval()
    assert network.bgr and network.input_height == 96 and not network.label_set.named
    assert (network.label_set.mean, network.label_set.std) == ((0, 0, 0), (1, 1, 1))
    image = pixels(96, 128)
    theirs = transformers.AutoImageProcessor.from_pretrained(tmp_path)(images=image[0], return_tensors="pt")
    ours = normalise(image, network.label_set.mean, network.label_set.std)
    torch.testing.assert_close(network(ours), own(**theirs).logits, atol=1e-4, rtol=1e-4)


def test_the_config_alone_makes_it_again(folder):
    network = make_network(f"transformers:{folder}", num_classes=6)
    assert network.model.config.num_labels == 6 and len(network.label_set.classes) == 6
    made = json.loads(json.dumps(network.made_from))
    again = make_network(made.pop("network"), **made)
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in network.state_dict().items()
    }
    encoder = {key: value for key, value in network.state_dict().items() if "decode_head.classifier" not in key}
    own = make_network(f"transformers:{folder}").state_dict()
    assert all(torch.equal(own[key], value) for key, value in encoder.items()), "all else is what was saved"


def test_a_type_and_its_options():
    network = make_network(f"transformers:segformer?{TINY}", num_classes=3)
    assert network.model.config.hidden_sizes == [8, 16, 16, 16] and len(network.label_set.classes) == 3
    backbone = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8] * 4, "depths": [1] * 4}
    backbone["out_features"] = ["stage1", "stage4"]
    line = f"transformers:upernet?hidden_size=8&use_auxiliary_head=false&backbone_config={json.dumps(backbone)}"
    network = make_network(line)
    assert network.model.backbone.channels == [8, 8]


def test_cityscapes_has_its_colours(tmp_path):
    save_segformer(tmp_path, classes=CITYSCAPES.classes)
    found = make_network(f"transformers:{tmp_path}").label_set
    assert np.array_equal(found.palette, CITYSCAPES.palette) and found.mean == MEAN


@torch.no_grad()
def test_dpt_sees_what_is_not_square():
    """Its positions are laid over the image, and its neck is told the grid; squares are seen as ever."""
    options = "hidden_size=16&num_hidden_layers=4&num_attention_heads=2&intermediate_size=32&image_size=64"
    neck = "backbone_out_indices=[0,1,2,3]&neck_hidden_sizes=[16,16,16,16]&fusion_hidden_size=16"
    network = make_network(f"transformers:dpt?{options}&{neck}", num_classes=3).eval()
    square, wide = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 32, 96)
    with pytest.raises(RuntimeError, match="shape"):
        network.model(wide)
    assert torch.equal(network(square), network.model(square).logits)
    assert network(wide).shape == (1, 3, 32, 96)
    assert find_sizes(network, (64, 96)) == Sizes(32), "its maps are halved from patches of 16, and doubled again"
    assert not network.model.neck._forward_pre_hooks
    # Each column of the image is seen where it is: changed at the right, it is changed at the right.
    changed = wide.clone()
    changed[..., 64:] += 3
    change = (network(changed) - network(wide)).abs().mean((0, 1, 2))
    assert change[72:].mean() > 2 * change[:40].mean()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("transformers:mask2former", "(mask2former) predicts masks and a class for each, not logits of each pixel"),
        ("transformers:bert", "transformers:bert (bert) is of another kind than those that give logits"),
        (
            "transformers:segformer?hiden_sizes=[8]",
            "the config of segformer has no 'hiden_sizes'; did you mean hidden_si",
        ),
        ("transformers:nobody/nothing", "is neither a folder, nor one of beit, .* nor a checkpoint on this machine"),
        ("transformers:.", "transformers:. is no folder of save_pretrained (no config.json); expected one, a type"),
    ],
)
def test_what_is_no_such_network(line, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        make_network(line)
    first, _, rest = sentence.partition(".*")
    assert first.strip() in str(caught.value) and rest.strip() in str(caught.value) and "\n" not in str(caught.value)


def test_weights_without_a_head_only_train(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "backbone")
    from safetensors.torch import load_file, save_file

    path = tmp_path / "backbone" / "model.safetensors"
    state = {key: value for key, value in load_file(path).items() if "classifier" not in key}
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"lacks 2 of the network's weights \(decode_head.classifier.bias, .*to train it"
    ):
        make_network(f"transformers:{tmp_path / 'backbone'}")
    assert make_network(f"transformers:{tmp_path / 'backbone'}", num_classes=5).model.config.num_labels == 5
    path.unlink()
    with pytest.raises(InputError, match=r"backbone cannot be loaded: .*model.safetensors"):
        make_network(f"transformers:{tmp_path / 'backbone'}", num_classes=5)


@pytest.mark.parametrize("fetch", [False, True])
def test_a_name_is_fetched_only_where_that_was_asked_for(monkeypatch, capsys, folder, fetch):
    asked = []
    for loader in (transformers.AutoConfig, transformers.AutoModelForSemanticSegmentation):
        load = loader.from_pretrained

        def from_pretrained(name, *, local_files_only, load=load, **options):
            asked.append((name, local_files_only))
            return load(folder, local_files_only=True, **options)

        monkeypatch.setattr(loader, "from_pretrained", from_pretrained)
    load_processor = transformers.AutoImageProcessor.from_pretrained
    monkeypatch.setattr(transformers.AutoImageProcessor, "from_pretrained", lambda name, **_: load_processor(folder))
    make_network("transformers:some/segformer", fetch=fetch, **({"pretrained": True} if fetch else {}))
    assert asked == [("some/segformer", not fetch)] * 2
    said = capsys.readouterr().err
    assert ("transformers:some/segformer: fetched from the Hugging Face Hub" in said) == fetch
