"""Any network is cut where it is said or found, stays what it was, and a wrong cut is one sentence."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import timm
import torch
import torch.nn.functional as F
from helpers.other_networks import (
    Corners,
    DeepHead,
    Dictionary,
    Functional,
    OwnParts,
    Plain,
    SegFormerLike,
    body,
    seeded,
)
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import segmentation

import arseg
from arseg.acceleration.cut_network import Cut, CutNetwork, logits_of
from arseg.acceleration.network import AcceleratedNet
from arseg.acceleration.network_source import network_from
from arseg.errors import InputError
from arseg.evaluate.flops import gmacs
from arseg.labels import CAMVID, IMAGENET_MEAN, LabelSet, voc_palette
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.paper.published import make_published
from arseg.networks.pyramid import PyramidNet
from arseg.weights.build import build
from arseg.weights.files import CheckpointError, load_checkpoint, save_checkpoint

SMALL = {"size": (64, 96)}


def functions():
    return lambda net, image: net.body(image), lambda net, feature: F.conv2d(feature, net.weight)


CUTS = [
    pytest.param(Plain, {}, id="found"),
    pytest.param(Plain, {"features": "body", "classifier": "head"}, id="two names"),
    pytest.param(Plain, {"classifier": "head"}, id="one name"),
    pytest.param(Corners, {}, id="align_corners"),
    pytest.param(Dictionary, {}, id="dictionary"),
    pytest.param(SegFormerLike, {}, id="logits attribute"),
    pytest.param(
        SegFormerLike, {"features": "decode_head.dropout", "classifier": "decode_head.classifier"}, id="nested names"
    ),
    pytest.param(DeepHead, {"features": "body", "classifier": "head"}, id="deep head"),
    pytest.param(DeepHead, {}, id="deep head found"),
    pytest.param(OwnParts, {}, id="own parts"),
    pytest.param(Functional, dict(zip(("features", "classifier"), functions(), strict=True)), id="functions"),
]


def motion(image, *, block=4):
    height, width = image.shape[-2:]
    vectors = torch.zeros(image.shape[0], -(-height // block), -(-width // block), 2, dtype=torch.int16)
    return {"motion": vectors, "block": block, "frame_size": (height, width)}


@pytest.mark.parametrize(("make", "cut"), CUTS)
@torch.no_grad()
def test_keyframes_are_the_networks_own(make, cut):
    model = seeded(make)
    net = arseg.accelerate(model, **cut, **SMALL)
    image = torch.randn(2, 3, 57, 83)
    own = logits_of(model.eval()(image))
    ours = net.classifier(net.keyframe(image))
    if ours.shape != own.shape:
        ours = net.classify(net.keyframe(image), image)
    assert torch.equal(ours, own)
    assert torch.equal(net.high(image), own)
    assert net.classify(net.keyframe(image), image).shape == (2, 5, 57, 83)


@pytest.mark.parametrize(("make", "cut"), CUTS)
@torch.no_grad()
def test_other_frames_start_as_the_network_at_low_resolution(make, cut):
    net = arseg.accelerate(seeded(make), **cut, **SMALL)
    image = torch.randn(1, 3, 64, 96)
    reference = net.keyframe(torch.randn(1, 3, 64, 96))
    low = net.keyframe(net.shrink(image))
    assert torch.equal(net.low_res(image), low)
    up = F.interpolate(low, reference.shape[-2:], mode="bilinear", align_corners=True)
    fused = net.fused_logits(low, reference, **motion(image))
    torch.testing.assert_close(fused, net.classifier(up), atol=1e-5, rtol=1e-4)
    assert net(image, reference, distance=1, **motion(image)).shape == (1, 5, 64, 96)


@pytest.mark.parametrize(("make", "cut"), CUTS)
def test_the_model_itself_is_not_touched(make, cut):
    model = seeded(make).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    net = arseg.accelerate(model, **cut, **SMALL)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_both_branches_have_weights_of_their_own():
    net = arseg.accelerate(seeded(SegFormerLike), **SMALL)
    high, low = (dict(branch.named_parameters()) for branch in (net.high, net.low))
    assert set(high) - set(low) == {f"network.decode_head.classifier.{leaf}" for leaf in ("weight", "bias")}
    assert not {p.data_ptr() for p in high.values()} & {p.data_ptr() for p in low.values()}
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        before = net.keyframe(image)
        for parameter in low.values():
            parameter.mul_(2)
        assert torch.equal(net.keyframe(image), before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "channels", "stride"),
    [
        ("lraspp_mobilenet_v3_large", 40 + 128, 8),
        ("deeplabv3_mobilenet_v3_large", 256, 16),
        ("fcn_resnet50", 512, 8),
    ],
)
@torch.no_grad()
def test_torchvision_needs_no_arguments(name, channels, stride):
    options = {"aux_loss": True} if name != "lraspp_mobilenet_v3_large" else {}
    model = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=7, **options).eval()
    net = arseg.accelerate(model, **SMALL)
    assert (net.channels, net.stride, len(net.label_set.classes)) == (channels, stride, 7)
    assert net.label_set.mean == IMAGENET_MEAN
    image = torch.randn(1, 3, 64, 96)
    with FlopCounterMode(display=False) as counter:
        own = model(image)["out"]
    assert torch.equal(net.classify(net.keyframe(image), image), own)
    # What follows the cut is not run in vain, and nothing is run twice; torchvision runs its auxiliary head, too.
    whole = counter.get_total_flops() / 2e9
    cost = gmacs(net, 64, 96)
    assert cost["hr"] == pytest.approx(whole, rel=1e-6) if not options else cost["hr"] < whole
    assert cost["lr"] < cost["ar"] < cost["hr"]


@torch.no_grad()
def test_timm_encoders_come_with_a_head():
    net = arseg.accelerate("timm:mobilenetv3_small_050?num_classes=4&channels=16", **SMALL)
    assert (net.channels, net.stride, net.label_set.classes) == (16, 8, ("class 0", "class 1", "class 2", "class 3"))
    image = torch.randn(1, 3, 64, 96)
    assert net.high(image).shape == (1, 4, 64, 96)


def test_the_fast_way_is_taken_where_the_classifier_is_pointwise():
    net = arseg.accelerate(seeded(Plain), **SMALL)
    assert isinstance(net.classifier, nn.Conv2d) and net.classifier is net.high.network.head
    assert arseg.accelerate(seeded(DeepHead), classifier="head", **SMALL).classifier[2].scale_factor == 2


class Misleading(Plain):
    """Members with the names that ours have, but of another meaning."""

    def __init__(self):
        super().__init__()
        self.features, self.classifier = body(), nn.Conv2d(8, 5, 1)


def test_names_of_members_alone_do_not_decide():
    net = arseg.accelerate(seeded(Misleading), **SMALL)
    assert net.high.cut == Cut(None, "head")


def test_submodules_can_be_given_themselves():
    model = seeded(Plain)
    split = arseg.accelerate(model, model.body, model.head, **SMALL).high.cut
    assert (split.features, split.classifier) == ("body", "head")
    with pytest.raises(InputError, match="classifier: this Conv2d is no submodule of the model"):
        arseg.accelerate(model, classifier=nn.Conv2d(8, 5, 1), **SMALL)


def test_data_of_the_network_is_carried_along():
    model = seeded(Plain)
    names, colours = list("abcde"), [(10 * i, 0, 0) for i in range(5)]
    statistics = {"mean": (0.1, 0.2, 0.3), "std": (1, 2, 3)}
    net = arseg.accelerate(model, **statistics, classes=names, palette=colours, **SMALL)
    assert (
        net.label_set.mean == (0.1, 0.2, 0.3)
        and net.label_set.std == (1, 2, 3)
        and net.label_set.classes == tuple("abcde")
    )
    assert net.label_set.palette.tolist() == [*map(list, colours), [0, 0, 0]]
    ours = PyramidNet(11, 8, 8)
    ours.input_height = 64
    net = arseg.accelerate(ours, **SMALL)
    assert net.label_set.mean == CAMVID.mean, "our own networks know CamVid's"
    assert net.input_height == 64


def test_pascal_vocs_colours():
    colours = voc_palette(21)
    assert tuple(colours[:4]) == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert colours[15] == (192, 128, 128) and colours[20] == (0, 64, 128)


@pytest.mark.parametrize(
    ("make", "arguments", "sentence"),
    [
        (Plain, {"features": "bodi"}, r"features: there is no submodule 'bodi': the model has body, head"),
        (Plain, {"classifier": "body.9"}, r"classifier: there is no submodule 'body.9': 'body' has 0, 1, 2, 3, 4, 5"),
        (Plain, {"features": "body.1", "classifier": "head"}, r"'head' does not give .* from the output of 'body.1'"),
        (
            SegFormerLike,
            {"features": "decode_head.linear_fuse"},
            r"'decode_head.classifier' does not give",
        ),
        (
            Plain,
            {"features": "body", "classifier": "body.4"},
            r"'body.4' gives \[1, 8, .* where the model gives",
        ),
        (Plain, {"features": "head", "classifier": "head"}, r"'head' does not take the output of 'head', \[1, 5, "),
        (Dictionary, {"classifier": "aux"}, r"'aux' does not give the model's own output from its input"),
        (Functional, {}, r"classifier: no submodule's output is the model's own output"),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten()),
            {},
            r"model: expected logits .* got a tensor of",
        ),
        (lambda: nn.Conv2d(4, 5, 1), {}, r"model: does not run on a 64x96 image: Given groups=1"),
        (Plain, {"scale": 1.5}, r"scale: expected a factor in \(0, 1\], got 1.5"),
        (Plain, {"classes": ["road"]}, r"classes: expected 5 names, as many as the model has logits, got 1"),
        (Plain, {"palette": [(0, 0, 0)]}, r"palette: expected 5 colours, as many as classes, got 1"),
        (Plain, {"mean": (0.5,)}, r"mean: expected 3 numbers, one for each of R, G and B, got 1"),
        (Plain, {"std": (1, 0, 1)}, r"std: expected positive numbers"),
        (lambda: Plain(300), {}, r"model: 300 classes; label maps are uint8"),
    ],
)
def test_a_misfit_is_one_sentence(make, arguments, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        arseg.accelerate(seeded(make), **arguments, **SMALL)
    assert "\n" not in str(caught.value)


class Unused(Plain):
    def __init__(self):
        super().__init__()
        self.spare = nn.Conv2d(8, 5, 1)


class Fixed(Plain):
    """Runs at one size only."""

    def forward(self, image):
        if image.shape[-2:] != (64, 96):
            raise ValueError(f"Input image size ({image.shape[2]}*{image.shape[3]}) doesn't match")
        return super().forward(image)


def test_what_shows_only_when_it_runs():
    with pytest.raises(InputError, match="classifier: 'spare' is not called when the model runs"):
        arseg.accelerate(seeded(Unused), classifier="spare", **SMALL)
    with pytest.raises(InputError, match=r"model: runs on images of 64x96 alone \(height x width\), so that a smaller"):
        arseg.accelerate(seeded(Fixed), **SMALL)


@pytest.mark.slow
def test_weights_come_back_with_how_to_build_the_network(tmp_path):
    net = arseg.accelerate("timm:mobilenetv3_small_050?num_classes=4&channels=8", scale=0.3, window=5, **SMALL)
    nn.init.normal_(net.fusion.hr_value_conv.weight)
    net.input_height, net.keyframe_weight, net.keyframe_detail = 96, 0.5, 0.75
    net.save(tmp_path / "net.safetensors")
    again = load_checkpoint(tmp_path / "net.safetensors")
    assert (again.input_height, again.keyframe_weight, again.keyframe_detail) == (96, 0.5, 0.75)
    assert isinstance(again, AcceleratedNet) and not again.training
    assert (again.scale, again.fusion.window, again.stride, again.label_set) == (0.3, 5, 8, net.label_set)
    for key, value in net.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(value, again.state_dict()[key]), key


def test_a_network_without_a_line_must_be_given_again(tmp_path):
    model, path = seeded(Corners), tmp_path / "net.safetensors"
    net = arseg.accelerate(model, **SMALL)
    net.save(path)
    with pytest.raises(CheckpointError, match=r"net.safetensors: made from a network that the file does not name"):
        load_checkpoint(path)
    again = AcceleratedNet.load(path, seeded(Corners, seed=3))
    image = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(again.classify(again.keyframe(image), image), model.eval()(image))
    with pytest.raises(CheckpointError, match=r"net.safetensors: features: there is no submodule|no submodule 'head'"):
        AcceleratedNet.load(path, nn.Conv2d(3, 5, 1))


def test_functions_come_back_as_a_split_network(tmp_path):
    model, path = seeded(Functional), tmp_path / "net.safetensors"
    split = CutNetwork(model, Cut(*functions()))
    net = arseg.accelerate(split, **SMALL)
    net.save(path)
    with pytest.raises(CheckpointError, match=r"made with functions for features and classifier"):
        AcceleratedNet.load(path, model)
    again = AcceleratedNet.load(path, CutNetwork(seeded(Functional, seed=1), Cut(*functions())))
    assert torch.equal(again.high.network.weight, model.weight)


CODE = """
import pathlib, torch
pathlib.Path(__file__).with_suffix(".ran").touch()
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 3, 1))
def number():
    return 3
"""


def test_a_weights_file_alone_runs_no_code(tmp_path):
    (tmp_path / "mine.py").write_text(CODE)
    line = f"{tmp_path}/mine.py:network"
    net = arseg.accelerate(line, **SMALL)
    net.save(tmp_path / "net.safetensors")
    (tmp_path / "mine.ran").unlink()
    with pytest.raises(CheckpointError, match=r"mine.py:network, which is code of yours and is not run because a file"):
        load_checkpoint(tmp_path / "net.safetensors")
    assert not (tmp_path / "mine.ran").exists()
    assert AcceleratedNet.load(tmp_path / "net.safetensors", line).label_set.classes == (
        "class 0",
        "class 1",
        "class 2",
    )


def test_our_weights_are_a_line_too(tmp_path):
    config = {"classes": 11, "channels": 8, "wide": 8}
    model = build("hr", config).eval()
    save_checkpoint(model.state_dict(), tmp_path / "hr.safetensors", kind="hr", config=config, half=False)
    net = arseg.accelerate(str(tmp_path / "hr.safetensors"), **SMALL)
    net.save(tmp_path / "ar.safetensors")
    (tmp_path / "hr.safetensors").unlink()
    again = load_checkpoint(tmp_path / "ar.safetensors")
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(again.classify(again.keyframe(image), image), model(image))
    assert again.label_set.classes[3] == "road"


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_networks_own_state_is_loaded(tmp_path, wrapped):
    model = seeded(Plain)
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3} if wrapped else model.state_dict(), tmp_path / "w.pth")
    net = arseg.accelerate(seeded(Plain, seed=1), weights=tmp_path / "w.pth", **SMALL)
    assert torch.equal(net.high.network.head.weight, model.head.weight)
    assert torch.equal(net.low.network.body[0].weight, model.body[0].weight)
    with pytest.raises(CheckpointError, match=r"w.pth: the weights do not fit the network: 4 missing"):
        arseg.accelerate(seeded(DeepHead), weights=tmp_path / "w.pth", **SMALL)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("lraspp", r"model: expected torchvision:NAME, .* got 'lraspp'"),
        ("torchvision:resnet18?num_classes=3", r"model: expected logits .* got a tensor of shape \(1, 3\)"),
        ("torchvision:lrasp_mobilenet_v3_large", r"torchvision has no .*; did you mean lraspp_mobilenet_v3_large"),
        (
            "torchvision:lraspp_mobilenet_v3_large?colour=3",
            r"has no option 'colour'; it has num_classes",
        ),
        ("timm:mobilenetv3_small_050?colour=3", r"mobilenetv3_small_050 cannot be built: .*'colour'"),
        ("timm:no_such_net", r"model: timm has no 'no_such_net'"),
        ("nowhere.py:network", r"model: nowhere.py: no such file \(in 'nowhere.py:network'\)"),
        ("no.such.module:network", r"model: no.such.module cannot be imported"),
        ("torch.nn:Nothing", r"model: torch.nn has no function 'Nothing'"),
        ("torch.nn:Linear", r"model: torch.nn:Linear wants arguments \(missing a required argument: 'in_features'\)"),
        ("builtins:dict", r"model: builtins:dict returned a dict; expected a torch.nn.Module"),
        ("gone.safetensors", r"gone.safetensors: no such weights file"),
    ],
)
def test_a_line_that_leads_nowhere(line, sentence):
    with pytest.raises((InputError, CheckpointError), match=sentence):
        arseg.accelerate(line, **SMALL)


def test_weights_are_fetched_to_train_and_not_to_load(monkeypatch):
    asked, make = [], timm.create_model

    def create_model(*arguments, pretrained, **options):
        asked.append(pretrained)
        return make(*arguments, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", create_model)
    line = "timm:mobilenetv3_small_050?num_classes=4&channels=8&pretrained=true"
    for pretrained in (True, False):
        network_from(line, pretrained=pretrained)
    assert asked == [True, False]


def test_half_precision_is_computed_in_float32():
    model = seeded(Plain).half()
    net = arseg.accelerate(model, **SMALL)
    assert model.head.weight.dtype == torch.float16
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}


def test_label_sets_are_checked():
    for arguments, sentence in (
        ({"classes": ["a"]}, "classes: expected 2 names"),
        ({"palette": [(0, 0, 0), (0, 0, 300)]}, "palette: expected RGB colours, three numbers from 0 to 255"),
        ({"std": (float("nan"), 1, 1)}, "std: expected positive numbers"),
    ):
        with pytest.raises(InputError, match=sentence):
            LabelSet.of(2, **arguments)
    assert not LabelSet.of(2).named and LabelSet.of(2, classes=["a", "b"]).named


@pytest.mark.parametrize("arch", ["camvid-bise18", "cityscapes-psp18"])
@torch.no_grad()
def test_the_papers_networks_keep_their_own_way_to_the_frame(tmp_path, arch):
    network = make_published(arch, auxiliary=False).eval()
    net = arseg.accelerate(network, **SMALL)
    plain = ARSegNet(network, channels=network.channels).eval()
    image = torch.randn(1, 3, 57, 83)
    assert torch.equal(net.classify(net.keyframe(image), image), plain.classify(plain.keyframe(image), image))
    assert net.label_set == network.label_set and net.label_set.name
    logits = net.classifier(net.keyframe(image))
    assert torch.equal(net.labels(logits, (57, 83)), plain.labels(logits, (57, 83)))


@pytest.mark.slow
def test_importing_arseg_is_light():
    program = "import sys, arseg; assert 'torch' not in sys.modules; assert callable(arseg.accelerate)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
