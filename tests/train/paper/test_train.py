"""The paper's training on miniatures of its data: it learns, resumes to the same bits, and keeps its stages apart."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.dataset_trees import camvid_tree, cityscapes_tree, run_tree

from arseg.data.camvid import camvid_frames
from arseg.data.cityscapes import cityscapes_frames
from arseg.data.datasets import labelled_run
from arseg.data.prepare import Encoding, prepare
from arseg.data.prepared import Prepared
from arseg.errors import InputError
from arseg.labels import CAMVID
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.paper.resnet import ResNet
from arseg.train.paper import train as train_paper
from arseg.train.paper.data import finish_of, frame_sample, ignoring, pair_sample, prepared_pairs, void_to_ignore
from arseg.train.paper.networks import load_backbone, load_teacher, new_network
from arseg.train.paper.recipes import AR_RECIPES, HR_RECIPES
from arseg.train.paper.train import train_paper_ar, train_paper_hr
from arseg.weights.files import load_checkpoint

pytestmark = pytest.mark.slow  # trains

TINY = {"batch": 2, "crop": (64, 64), "log_every": 1, "save_every": 2, "workers": 1, "scales": (1.0, 1.5)}
HR = replace(HR_RECIPES["camvid-bise18"], **TINY, steps=4)
AR = replace(AR_RECIPES["camvid-bise18"], **TINY, steps=4)
FAST = Encoding(preset="ultrafast")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return run_tree(camvid_tree(tmp_path_factory.mktemp("camvid")), 14)


@pytest.fixture(scope="module")
def data(root):
    return camvid_frames(root, sequences=root / "frames")


@pytest.fixture(scope="module")
def prepared(root, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    prepare(data, folder / "train", FAST, [3, 11])
    prepare(labelled_run(camvid_frames(root, "val")), folder / "val", FAST, [11], whole_run=True)
    return folder


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory):
    return train_paper_hr(data, None, tmp_path_factory.mktemp("hr"), replace(HR, steps=2), report=lambda line: None)


def stop_after(monkeypatch, steps):
    """The next training is interrupted in step `steps` + 1, in the middle of its loss."""
    original, calls = train_paper.loss_of, 0

    def stopping(*arguments):
        terms = original(*arguments)

        def counted(*given):
            nonlocal calls
            calls += 1
            if calls > steps:
                raise KeyboardInterrupt
            return terms(*given)

        return counted

    monkeypatch.setattr(train_paper, "loss_of", stopping)


def bits(path):
    return {key: value.clone() for key, value in load_checkpoint(path).state_dict().items()}


def test_phase_1_resumes_to_the_same_bits(data, root, tmp_path, monkeypatch):
    recipe = replace(HR, validate_every=2, ema_decay=0.9)
    validation = camvid_frames(root, "train")
    quiet = {"report": lambda line: None}
    whole = bits(train_paper_hr(data, validation, tmp_path / "whole", recipe, **quiet))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 3)
        train_paper_hr(data, validation, tmp_path / "parts", recipe, **quiet)
    parts = bits(train_paper_hr(data, validation, tmp_path / "parts", replace(recipe, workers=2), **quiet))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    lines = [[json.loads(x) for x in (tmp_path / n / "log.jsonl").read_text().splitlines()] for n in ("whole", "parts")]
    for line in (entry for run in lines for entry in run):
        line.pop("seconds_a_step", None)
    assert lines[0] == lines[1] and [x["step"] for x in lines[0] if "validation" in x] == [2, 4]


def test_void_is_ignored_in_validation_as_in_training():
    label = np.array([[0, 1, 11, 11]], np.uint8)
    classes = (*CAMVID.classes, "void")
    assert ignoring(label, void_to_ignore(classes, replace(AR, void="ignore"))).tolist() == [[0, 1, 255, 255]]
    assert ignoring(label, void_to_ignore(classes, replace(AR, void="count"))) is label


def test_phase_2_resumes_in_the_middle_of_its_stages(prepared, teacher, tmp_path, monkeypatch):
    """Two steps without fusion and two with it; the best of each is kept."""
    pairs, validation = prepared_pairs(prepared / "train", AR), Prepared(prepared / "val")
    recipe = replace(AR, validate_every=1)
    quiet = {"report": lambda line: None}
    whole = bits(train_paper_ar(pairs, validation, teacher, tmp_path / "whole", recipe, **quiet))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 3)
        train_paper_ar(pairs, validation, teacher, tmp_path / "parts", recipe, **quiet)
    parts = bits(train_paper_ar(pairs, validation, teacher, tmp_path / "parts", recipe, **quiet))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [x["validation"] for x in log if "validation" in x] == ["plain", "plain", "fused", "fused"]
    plain, fused = (torch.load(tmp_path / "whole" / f"best-{stage}.pt") for stage in ("plain", "fused"))
    start = new_fused(teacher).state_dict()
    assert torch.equal(plain["fusion.hr_value_conv.weight"], start["fusion.hr_value_conv.weight"])
    assert not torch.equal(fused["fusion.hr_value_conv.weight"], start["fusion.hr_value_conv.weight"])
    assert torch.equal(fused["network.classifier.weight"], start["network.classifier.weight"]), "shared and frozen"


def new_fused(teacher):
    from arseg.train.paper.networks import new_fused

    torch.manual_seed(AR.seed)
    high, _ = load_teacher(teacher, AR.arch, AR.normalization)
    return new_fused(AR.arch, high, window=7, fusion="attention", start=AR.start, backbone="")


def test_the_result_is_both_networks(prepared, teacher, tmp_path):
    pairs = prepared_pairs(prepared / "train", AR)
    path = train_paper_ar(
        pairs, None, teacher, tmp_path, replace(AR, steps=1, plain_epochs=0), report=lambda line: None
    )
    model, high = load_checkpoint(path), load_checkpoint(teacher)
    assert isinstance(model, ARSegNet) and model.scale == 0.5 and model.label_set.classes[-1] == "void"
    ours = {key: value for key, value in high.state_dict().items() if not key.startswith("auxiliary.")}
    assert all(torch.equal(value, model.high.state_dict()[key]) for key, value in ours.items())
    assert not torch.equal(model.low.sp.conv1.conv.weight, model.high.sp.conv1.conv.weight)


@pytest.mark.parametrize("name", ["camvid-psp18", "camvid-bise18", "cityscapes-psp18", "cityscapes-bise18"])
def test_each_preset_learns_a_batch_by_heart(name, tmp_path):
    """The loss of two frames, seen again and again without random views, falls."""
    if name.startswith("cityscapes"):
        data = cityscapes_frames(cityscapes_tree(tmp_path / "data", snippets=2, size=(48, 64)))
    else:
        data = camvid_frames(camvid_tree(tmp_path / "data", before=0, size=(48, 64)))
    still = {"scales": (1.0,), "flip": 0.0, "jitter": 0.0, "crop": data[0][1].shape, "save_every": 100}
    recipe = replace(HR_RECIPES[name], **{**TINY, **still}, steps=10)
    train_paper_hr(data, None, tmp_path / "run", recipe, report=lambda line: None)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [sum(v for k, v in x.items() if k not in ("step", "seconds_a_step")) for x in log]
    assert min(losses[-3:]) < 0.75 * losses[0], losses


def test_samples_are_the_seeds(data, prepared):
    image, label = data[0]
    first, again, other = (frame_sample(image, label, HR, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first["image"], again["image"]) and not torch.equal(first["image"], other["image"])
    assert first["image"].shape == (64, 64, 3) and first["label"].shape == (64, 64) and first["colour"].shape == (3,)
    batch = finish_of(HR)({name: torch.stack([value, other[name]]) for name, value in first.items()})
    assert batch["image"].shape == (2, 3, 64, 64) and batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch["label"].dtype == torch.int64 and set(batch["label"].unique().tolist()) <= {*range(12), 255}
    pairs = prepared_pairs(prepared / "train", replace(AR, distances=()))
    rng = np.random.default_rng(0)
    assert {pairs.read(0, rng).distance for _ in range(20)} == {3, 11}, "all distances there are"
    sample = pair_sample(pairs.read(0, rng), AR, (8, 8), rng)
    assert sample["flow"].shape == (8, 8, 2) and sample["key"].shape == sample["image"].shape


def test_void_may_be_ignored(root, prepared):
    ignoring = replace(AR, void="ignore", distances=(11,))
    label = prepared_pairs(prepared / "train", ignoring).read(0, np.random.default_rng(0)).label
    assert not (label == 11).any()
    assert not any((x[1] == 11).any() for x in camvid_frames(root, void="ignore"))


def test_a_backbone_of_a_file(tmp_path):
    torch.manual_seed(5)
    encoder = ResNet(18)
    torch.save({**encoder.state_dict(), "fc.weight": torch.zeros(2)}, tmp_path / "resnet18.pth")
    net = new_network("camvid-bise18", str(tmp_path / "resnet18.pth"))
    assert torch.equal(net.cp.resnet.conv1.weight, encoder.conv1.weight)
    counters = {key: value[None] for key, value in encoder.state_dict().items() if key.endswith("num_batches_tracked")}
    torch.save({**encoder.state_dict(), **counters}, tmp_path / "lists.pth")  # of a program without scalars
    assert new_network("camvid-bise18", str(tmp_path / "lists.pth")).cp.resnet.bn1.num_batches_tracked.shape == ()
    torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=r"bad\.pth: expected .* resnet18; its keys do not fit: 99 missing"):
        load_backbone(encoder, str(tmp_path / "bad.pth"), 18)
    with pytest.raises(InputError, match=r"backbone: .*none\.pth: no such file; expected a .pth or .safetensors file"):
        load_backbone(encoder, str(tmp_path / "none.pth"), 18)


def test_what_does_not_fit_is_said(data, prepared, teacher, tmp_path):
    with pytest.raises(InputError, match="cityscapes-psp18: a network of 19 classes, but the data has 12"):
        train_paper_hr(data, None, tmp_path, replace(HR, arch="cityscapes-psp18"))
    with pytest.raises(InputError, match=r"precision: float16 needs --device cuda; on the CPU use bfloat16"):
        train_paper_hr(data, None, tmp_path, replace(HR, precision="float16"))
    pairs = prepared_pairs(prepared / "train", AR)
    with pytest.raises(InputError, match=r"expected phase-1 weights of camvid-psp18 .*, got camvid-bise18"):
        train_paper_ar(pairs, None, teacher, tmp_path, replace(AR, arch="camvid-psp18"))
    with pytest.raises(
        InputError, match=r"normalization: .* was trained with another one than imagenet; give that of phase 1"
    ):
        train_paper_ar(pairs, None, teacher, tmp_path, replace(AR, normalization="imagenet"))
    with pytest.raises(InputError, match=r"made with lr 0\.001 \(asked for 0\.1\), steps 2 \(asked for 4\)"):
        train_paper_hr(data, None, teacher.parent, replace(HR, lr=0.1))


def test_bfloat16_and_accumulation_run(data, tmp_path):
    recipe = replace(HR, precision="bfloat16", batch=4, accumulate=2, steps=2, max_grad_norm=1.0, optimiser="adamw")
    recipe = replace(recipe, normalization="imagenet")
    path = train_paper_hr(data, None, tmp_path, recipe, report=lambda line: None)
    assert load_checkpoint(path).label_set.mean == (0.485, 0.456, 0.406), "it says how its input is normalised"
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(log) == 2 and all(np.isfinite(line["segmentation"]) for line in log)


def test_pairs_from_stills_for_want_of_videos(root, teacher, tmp_path):
    """CamVid at 480x360: each still becomes a clip, once; its ignored label is Void."""
    from arseg.train.paper.data import still_pairs

    (tmp_path / "c").mkdir()
    for name in ("train", "trainannot"):
        (tmp_path / "c" / name).symlink_to(root / name.replace("train", "val"))
    lines = []
    recipe = replace(AR, distances=())
    pairs = still_pairs(tmp_path / "c", tmp_path / "pairs", recipe, lines.append)
    again = still_pairs(tmp_path / "c", tmp_path / "pairs", recipe, lines.append)
    assert len(pairs) == 14 and lines == ["pairs: 14 of 14 clips"] * 2 and pairs.fingerprint == again.fingerprint
    first = pairs.read(3, np.random.default_rng(0))
    np.testing.assert_array_equal(first.vectors, again.read(3, np.random.default_rng(0)).vectors)
    assert 1 <= first.distance <= 11 and first.label.max() <= 11
    train_paper_ar(again, None, teacher, tmp_path / "run", replace(recipe, steps=1), report=lambda line: None)
