"""prepare, train and eval from the command line, and what they say to bad input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.dataset_trees import camvid_tree, cityscapes_tree, run_tree, save
from helpers.own_data import own_folder
from helpers.streets import pictures
from helpers.tiny_transformers import save_segformer
from PIL import Image

from arseg.data.camvid import PALETTE
from arseg.networks.arseg_net import ARSegNet
from arseg.video import encode
from arseg.weights.build import build
from arseg.weights.files import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.slow  # trains

CONFIG = {"classes": 11, "channels": 8, "wide": 8}
SMALL = ["--set", "crop=[64,64]", "--set", "validate_every=0", "--set", "workers=1"]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return run_tree(camvid_tree(tmp_path_factory.mktemp("camvid"), before=4), 14)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    net = ARSegNet(build("hr", CONFIG), channels=8)
    save_checkpoint(net.state_dict(), path, kind="ar", config={**CONFIG, "scale": 0.5, "window": 7})
    return path


def fault(result) -> str:
    code, out, err = result
    lines = err.strip().splitlines()
    assert (code, out, len(lines)) == (2, "", 1), err
    return lines[0].removeprefix("arseg: ")


def test_prepare_then_both_phases_then_eval(arseg, root):
    """The way through, with the settings of a file, a preset and flags."""
    sequences = ["--sequences", root / "frames"]
    code, out, err = arseg(
        "prepare", "-o", "p", "--camvid", root, *sequences, "-d", "1-3", "--x264-preset", "ultrafast"
    )
    assert (code, out) == (0, "p/manifest.json\n"), err
    made = json.loads(Path("p/manifest.json").read_text())
    assert made["settings"]["bitrate"] == 3_000_000 and made["settings"]["rate"] == 30 and len(made["items"]) == 6

    Path("mine.toml").write_text('preset = "camvid-bise18"\nbatch = 2\n[hr]\nsteps = 1\n[ar]\ndistances = [1, 3]\n')
    code, out, err = arseg("train", "hr", "--camvid", root, "--config", "mine.toml", "-o", "hr", *SMALL)
    assert (code, out) == (0, "hr/hr.safetensors\n"), err
    options = ["--prepared", "p", "--teacher", "hr/hr.safetensors", "--steps", "1", "--scale", "0.4", "-o", "ar"]
    code, out, err = arseg("train", "ar", "--config", "mine.toml", *options, *SMALL)
    assert (code, out) == (0, "ar/ar.safetensors\n"), err
    assert load_checkpoint("ar/ar.safetensors").scale == 0.4

    code, out, err = arseg("eval", "--prepared", "p", "--weights", "ar/ar.safetensors", "--modes", "hr,ar")
    assert code == 0 and "AR-Seg" in out and "keyframe warped" not in out, err
    code, out, err = arseg("eval", "--prepared", "p", "--weights", "hr/hr.safetensors", "--modes", "hr,lr,ar")
    assert code == 0 and "LR every" in out and "AR-Seg" not in out, err
    assert "hr.safetensors: the keyframe network alone; ar needs" in fault(
        arseg("eval", "--prepared", "p", "--weights", "hr/hr.safetensors", "--modes", "ar")
    )


def test_eval_of_a_labelled_run(arseg, root, weights):
    arguments = [
        "eval",
        "--camvid",
        root,
        "--weights",
        weights,
        "--gop",
        4,
        "--figures",
        "s.json",
        "--modes",
        "hr,warp",
    ]
    code, out, err = arseg(*arguments, "--quick")
    assert code == 0 and "mean" in out and "bicyclist" in out and "1 of 1 passes" in err, err
    record = json.loads(Path("s.json").read_text())
    assert list(record) == ["hr", "warp"] and len(record["hr"]["by_distance"]) == 4


@pytest.mark.parametrize("layout", ["val_labels", "701_StillsRaw_full"])
def test_eval_reads_every_layout_of_camvid(arseg, root, weights, tmp_path, layout):
    other = tmp_path / "other"
    (other / "LabeledApproved_full").mkdir(parents=True)
    names = sorted(path.stem for path in (root / "val").iterdir())
    for name in names:
        label = np.asarray(Image.open(root / "valannot" / f"{name}.png"))
        folders = ("val", "val_labels") if layout == "val_labels" else (layout, "LabeledApproved_full")
        save(np.asarray(Image.open(root / "val" / f"{name}.png")), other / folders[0] / f"{name}.png")
        save(PALETTE[np.minimum(label, 11)], other / folders[1] / f"{name}_L.png")
    (other / "val.txt").write_text("\n".join(names))
    arguments = ["--weights", weights, "--gop", 4, "--modes", "hr", "--quick", "--figures"]
    for place, file in ((root, "a.json"), (other, "b.json")):
        code, _, err = arseg("eval", "--camvid", place, *arguments, file)
        assert code == 0, err
    assert json.loads(Path("a.json").read_text()) == json.loads(Path("b.json").read_text())


def test_help_lists_the_presets_that_there_are(arseg):
    for phase, large in (("hr", True), ("ar", False)):
        code, out, _ = arseg("train", phase, "--help")
        assert code == 0 and ("default-large" in out) == large
        assert ("default-large" in fault(arseg("train", phase, "--preset", "none"))) == large


def test_a_broken_video_is_a_sentence(arseg, root, tmp_path):
    (tmp_path / "videos").mkdir()
    for content, sentence in (
        (b"no video at all", "0001TP.mp4 cannot be opened as a video"),
        (b"", "0001TP.mp4 is an empty file"),
    ):
        (tmp_path / "videos" / "0001TP.mp4").write_bytes(content)
        assert sentence in fault(arseg("prepare", "-o", "p", "--camvid", root, "--sequences", "videos", "-d", "1-3"))
    encode(pictures(10), tmp_path / "whole.mp4", rate=15)
    whole = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "videos" / "0001TP.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    assert "0001TP.mp4" in fault(arseg("prepare", "-o", "p", "--camvid", root, "--sequences", "videos", "-d", "1-3"))


def test_a_video_that_is_too_short_is_named(arseg, root, tmp_path):
    (tmp_path / "videos").mkdir()
    images = pictures(1)
    encode(images, tmp_path / "videos" / "0001TP.mp4", rate=15)
    arguments = ["--camvid", root, "--sequences", "videos", "-d", "1-3", "--gop", 4]
    said = fault(arseg("prepare", "-o", "p", *arguments))
    assert said.startswith("videos/0001TP.mp4: ends before frame 2, the first that is near a labelled one of train")
    assert not [path for path in tmp_path.glob("p-frames/*")]


def test_prepare_finds_its_defaults(arseg, tmp_path):
    cityscapes_tree(tmp_path / "c", snippets=1)
    code, _, err = arseg("prepare", "-o", "p", "--cityscapes", "c", "-d", "2", "--x264-preset", "ultrafast")
    assert code == 0, err
    made = json.loads(Path("p/manifest.json").read_text())["settings"]
    assert (made["bitrate"], made["rate"], made["gop"], made["distances"]) == (5_000_000, 17, 12, [2])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "hr", "--preset", "camvid-psp"], "did you mean camvid-psp18?"),
        (["train", "hr", "--preset", "camvid-psp18"], "--camvid: camvid-psp18 needs it"),
        (["train", "hr", "--preset", "cityscapes-bise18"], "--cityscapes: cityscapes-bise18 needs it"),
        (["train", "hr"], "--data: preset default needs labelled data; give"),
        (["train", "hr", "--set", "step=3"], "--set: unknown key 'step'; did you mean steps?"),
        (["train", "hr", "--config", "none.toml"], "none.toml: no such file; expected a TOML file of settings"),
        (["train", "ar", "--preset", "camvid-psp18"], "--prepared: give a folder made by `arseg prepare`, or --camvid"),
        (
            ["train", "hr", "--preset", "camvid-psp18", "--camvid", "x", "--start", "a.safetensors"],
            "--start: the default recipes go on from weights; the paper's take --set backbone=FILE",
        ),
        (
            ["train", "hr", "--preset", "camvid-psp18", "--camvid", "x", "--teacher", "lite0"],
            "--teacher: the default recipes imitate one; phase 1 of the paper's takes none",
        ),
        (
            ["train", "ar", "--preset", "camvid-psp18", "--camvid", "x", "--start", "a.safetensors"],
            "--start: the default recipe goes on from weights; the paper's take --set start=teacher",
        ),
        (
            ["train", "ar", "--preset", "camvid-psp18", "--camvid", "x", "--branch", "a.safetensors"],
            "--branch: the default recipe goes on from weights; the paper's take --set start=teacher",
        ),
        (["prepare", "-o", "p"], "--data, --camvid, --cityscapes: give one of them"),
        (["prepare", "-o", "p", "--camvid", "x"], "x: no such folder; expected that of camvid"),
        (
            ["prepare", "-o", "p", "--camvid", "x", "-d", "12"],
            "--distances: expected numbers from 0 to gop - 1 = 11, got '12'",
        ),
        (
            ["prepare", "-o", "p", "--camvid", "x", "-d", "a-b"],
            "--distances: expected numbers such as 11, 0-11 or 1,5,11",
        ),
        (
            ["prepare", "-o", "p", "--camvid", "x", "--crf", "20", "--bitrate", "3"],
            "--crf, --bitrate: give one of them",
        ),
        (["eval"], "--camvid, --prepared: give one of them"),
        (["eval", "--prepared", "none"], "none/manifest.json: no such file; expected a folder made by `arseg prepare`"),
        (
            ["eval", "--camvid", "x", "--modes", "hr,best"],
            "--modes: expected some of hr,lr,ar,warp,keep, got 'hr,best'",
        ),
    ],
)
def test_bad_input_is_one_line(arseg, arguments, sentence):
    assert sentence in fault(arseg(*arguments))
    assert list(Path().iterdir()) == [], "nothing is left behind"


def test_a_missing_library_is_said(arseg, monkeypatch, root, weights):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "--plot needs matplotlib" in fault(arseg("eval", "--camvid", root, "--weights", weights, "--plot", "x.png"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    arguments = ["train", "hr", "--preset", "camvid-bise18", "--camvid", root, "--steps", 1, "--batch", 2, *SMALL]
    code, _, err = arseg(*arguments, "--tensorboard")
    assert code == 2 and "--tensorboard needs torch.utils.tensorboard" in err.splitlines()[-1]


def test_tensorboard_gets_the_curves(arseg, root):
    pytest.importorskip("tensorboard")
    arguments = ["train", "hr", "--preset", "camvid-bise18", "--camvid", root, "--steps", 1, "--batch", 2, *SMALL]
    code, _, err = arseg(*arguments, "--set", "log_every=1", "--tensorboard", "-o", "run")
    assert code == 0, err
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator("run/tensorboard").Reload()
    assert {"segmentation", "auxiliary8", "auxiliary16", "lr"} <= set(events.Tags()["scalars"])


@pytest.fixture(scope="module")
def mydata(tmp_path_factory) -> Path:
    return own_folder(tmp_path_factory.mktemp("own"), 4)


def test_both_phases_on_data_of_ones_own_then_info(arseg, mydata):
    """Sizes and streets follow from the data; settings and options change them."""
    tiny = ["--steps", "1", "--batch", "2", "--set", "crop=[64,64]"]
    hr = ["--data", mydata, "-o", "hr", "--licence", "CC0", "--set", "channels=16", "--set", "wide=16", *tiny]
    code, out, err = arseg("train", "hr", *hr)
    assert (code, out) == (
        0,
        "hr/hr.safetensors\n",
    ) and "4 frames to train on (by folders: train, val); no synthetic streets" in err, err
    teacher = ["--teacher", "hr/hr.safetensors", "--set", "low_steps=0"]
    code, out, err = arseg("train", "ar", "--data", mydata, "-o", "ar", *teacher, *tiny)
    assert (code, out) == (0, "ar/ar.safetensors\n"), err
    code, out, err = arseg("info", "ar/ar.safetensors", "--json")
    info = json.loads(out)
    assert info["made"]["licence"] == "CC0" and info["height"] == 72, "that of the frames"
    assert info["made"]["recipe"]["rows"] == 72 and info["made"]["recipe"]["streets"] == 0
    code, out, err = arseg("info", "hr/hr.safetensors")
    assert code == 0 and "2 of " in out and "thing" in out and "CC0" in out, err


def test_frames_are_seen_at_the_height_of_an_image_processor(arseg, mydata, root):
    pytest.importorskip("transformers", reason="wants the extra `transformers`")
    save_segformer(Path("segformer"), height=96)
    hr = ["train", "hr", "--model", "transformers:segformer", "--batch", "1", "--set", "crop=[64,64]", "--steps", "1"]
    for output, source, given, height, said in (
        (
            "own",
            ["--data", mydata],
            [],
            96,
            "sees frames at a height of 96, as its image processor does; --set h",
        ),
        (
            "set",
            ["--data", mydata],
            ["--set", "height=64"],
            64,
            "is trained for a height of 64; its",
        ),
        ("camvid", ["--camvid", root], ["--set", "street_scenes=0"], 96, "sees frames at a height of 96"),
    ):
        code, _, err = arseg(*hr, *source, *given, "-o", output)
        assert code == 0 and f"transformers:segformer: {said}" in err, err
        code, out, err = arseg("info", f"{output}/hr.safetensors", "--json")
        assert json.loads(out)["height"] == height, err
    code, out, err = arseg("info", "own/hr.safetensors")
    assert "transformers (type segformer)" in out and "sizes" not in out, "it takes any"


def test_what_train_says_of_data(arseg, mydata, root):
    assert "--data, --camvid: give one of them" in fault(arseg("train", "hr", "--data", mydata, "--camvid", root))
    assert "--model: the default recipes take it; preset camvid-psp18" in fault(
        arseg("train", "hr", "--camvid", root, "--preset", "camvid-psp18", "--model", "timm:resnet18")
    )
    assert "--camvid: camvid-psp18 needs it" in fault(
        arseg("train", "hr", "--data", mydata, "--preset", "camvid-psp18")
    )
    assert "rare: 'thin' is no class" in fault(arseg("train", "hr", "--data", mydata, "--set", 'rare=["thin"]'))
    assert "with videos alone, `arseg adapt`" in fault(arseg("train", "ar", "--teacher", "x.safetensors"))
