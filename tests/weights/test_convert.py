import json

import pytest
import torch
from helpers.reference_weights import Samples, state_dict
from safetensors import safe_open

from arseg.acceleration.network_source import network_from
from arseg.errors import InputError
from arseg.labels import CITYSCAPES, CITYSCAPES_BISENET, LabelSet
from arseg.networks.fused import FusedNetwork
from arseg.networks.paper.bisenet import BiSeNet
from arseg.weights.convert import convert
from arseg.weights.files import load_checkpoint, read_state_dict

ARCH = "cityscapes-bise18"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The authors' two files."""
    folder = tmp_path_factory.mktemp("published")
    states = {part: state_dict(Samples(ARCH).record[part]) for part in ("hr", "fused")}
    paths = {"hr": folder / "hr.pth", "fused": folder / "PSPNet_resnet18_0.3_120_.pth"}
    for part, path in paths.items():
        torch.save(states[part], path)
    return paths, states


@pytest.mark.slow
@pytest.mark.parametrize("part", ["hr", "fused"])
def test_one_network_keeps_every_bit(files, tmp_path, part):
    paths, states = files
    made = convert(paths[part], tmp_path / "out.safetensors")
    assert (made.arch, made.part, made.scale) == (ARCH, part, None)
    module = load_checkpoint(tmp_path / "out.safetensors")
    assert isinstance(module, FusedNetwork if part == "fused" else BiSeNet) and not module.training
    network = module.network if part == "fused" else module
    for ours, theirs in (
        (network.classifier.weight, "final_conv.weight"),
        (network.feat_conv_out.conv.weight, "conv_out.conv.conv.weight"),
        (network.auxiliary[1].conv_out.bias, "conv_out32.conv_out.bias"),
    ):
        assert torch.equal(ours, states[part][f"module.{theirs}"])
    assert module.label_set == CITYSCAPES_BISENET
    assert (tmp_path / "out.safetensors").stat().st_mode & 0o777 == paths[part].stat().st_mode & 0o777


@pytest.mark.slow
def test_a_pair_makes_one_file(files, tmp_path):
    paths, _ = files
    made = convert(paths["hr"], tmp_path / "pair.safetensors", fused=paths["fused"], half=True, window=5)
    assert (made.part, made.scale) == ("ar", 0.3), "the scale is in the file's name"
    with safe_open(tmp_path / "pair.safetensors", framework="pt") as file:
        keys, config = list(file.keys()), json.loads(file.metadata()["config"])
        assert file.get_tensor("high.classifier.weight").dtype is torch.float16
    assert not [key for key in keys if "auxiliary" in key]
    assert config.pop("labels")["classes"][10] == "sky" and "fused" in config.pop("made")["files"]
    assert config == {"arch": ARCH, "auxiliary": False, "scale": 0.3, "window": 5, "grid": "legacy"}
    renamed = paths["fused"].with_name("fused.pth")
    paths["fused"].rename(renamed)
    try:
        assert convert(paths["hr"], tmp_path / "pair.safetensors", fused=renamed).scale == 0.5
        assert convert(paths["hr"], tmp_path / "pair.safetensors", fused=renamed, scale=0.7).scale == 0.7
    finally:
        renamed.rename(paths["fused"])


def test_faults_name_the_file_and_write_nothing(files, tmp_path):
    (paths, states), out = files, tmp_path / "out.safetensors"

    def refused(*arguments, **options):
        with pytest.raises(InputError) as caught:
            convert(*arguments, **options)
        assert not list(tmp_path.glob("*.safetensors*")) and not list(tmp_path.glob(".*"))
        return str(caught.value)

    assert "is the input itself" in refused(paths["hr"], paths["hr"])
    assert "missing.pth: no such file" in refused(tmp_path / "missing.pth", out)
    assert "cannot be written" in refused(paths["hr"], tmp_path / "nowhere" / "out.safetensors")
    (tmp_path / "text.pth").write_text("weights")
    assert "text.pth: not a .pth file of plain tensors" in refused(tmp_path / "text.pth", out)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")  # a pickled class is not read
    assert "module.pth: not a .pth file of plain tensors" in refused(tmp_path / "module.pth", out)
    torch.save([1, 2], tmp_path / "list.pth")
    assert "list.pth: expected a state dict, names and tensors, got list" in refused(tmp_path / "list.pth", out)
    assert "hr.pth: state_dict: the keys do not fit" in refused(paths["hr"], out, arch="camvid-psp18")
    assert "scale: belongs to a pair" in refused(paths["hr"], out, scale=0.5)
    assert "part: a pair of networks has both" in refused(paths["hr"], out, fused=paths["fused"], part="hr")
    assert "6 missing (fuse_attention." in refused(paths["hr"], out, fused=paths["hr"])
    assert "scale: expected a factor in (0, 1], got 2.0" in refused(paths["hr"], out, fused=paths["fused"], scale=2.0)
    scores = ("module.final_conv.bias", "module.conv_out.conv_out.bias")
    trained = {key: value + 1 if key in scores else value for key, value in states["fused"].items()}
    torch.save(trained, tmp_path / "other.pth")
    assert "other.pth: its final_conv is not that of" in refused(paths["hr"], out, fused=tmp_path / "other.pth")


def test_wrapped_state_dicts_are_found(files, tmp_path):
    _, states = files
    torch.save({"state_dict": states["hr"], "epoch": 3}, tmp_path / "wrapped.pth")
    assert read_state_dict(tmp_path / "wrapped.pth").keys() == states["hr"].keys()


def test_label_sets_travel_as_json():
    back = LabelSet.from_json(json.loads(json.dumps(CITYSCAPES.to_json())))
    assert back == CITYSCAPES and (back.palette == CITYSCAPES.palette).all()
    assert len(CITYSCAPES.classes) == 19 and CITYSCAPES != CITYSCAPES_BISENET
    for change in ({"mean": [1, 2]}, {"palette": [[1, 2]]}, {"classes": None}, {"palette": [[300, 0, 0]] * 20}):
        with pytest.raises(InputError, match="not a label set"):
            LabelSet.from_json({**CITYSCAPES.to_json(), **change})
    with pytest.raises(InputError, match=r"not a label set \(KeyError"):
        LabelSet.from_json({})


def test_networks_by_name(tmp_path, monkeypatch):
    (tmp_path / "some_nets.py").write_text("import torch\ndef tiny():\n    return torch.nn.Conv2d(3, 2, 1)\nn = 3\n")
    monkeypatch.chdir(tmp_path)
    net = network_from("some_nets:tiny", "meta")
    assert net.weight.is_meta and not net.training
    assert network_from("torchvision:lraspp_mobilenet_v3_large", "meta").training is False
    for spec, words in {
        "resnet18": "expected torchvision:NAME",
        "torchvision:lrasp_mobilenet_v3_large": "did you mean lraspp_mobilenet_v3_large",
        "timm:nothing_like_it": "timm has no 'nothing_like_it'",
        "not_there_at_all:net": "not_there_at_all cannot be imported",
        "some_nets:big": "some_nets has no function 'big'",
        "some_nets:n": "some_nets:n is a int; expected a function",
    }.items():
        with pytest.raises(InputError, match=words):
            network_from(spec, "meta")
