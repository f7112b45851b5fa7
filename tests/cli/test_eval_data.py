"""`arseg eval --data` and `arseg prepare --data`: stills and videos of a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.dataset_trees import save
from helpers.folder_trees import CLASSES, folder_tree, three_classes, write_classes

from arseg.networks.arseg_net import ARSegNet
from arseg.networks.pyramid import PyramidNet
from arseg.weights.build import build
from arseg.weights.files import save_checkpoint

pytestmark = pytest.mark.slow  # encodes

CONFIG = {"classes": 3, "channels": 8, "wide": 8}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of a tiny network that knows the folder's classes, and of its keyframe network alone."""
    torch.manual_seed(0)
    from arseg.labels import LabelSet

    labels = LabelSet.of(3, name="mine", classes=CLASSES).to_json()
    place = tmp_path_factory.mktemp("weights")
    high = build("hr", CONFIG)
    save_checkpoint(high.state_dict(), place / "hr.safetensors", kind="hr", config=CONFIG | {"labels": labels})
    net = ARSegNet(high, channels=8)
    config = {**CONFIG, "scale": 0.5, "window": 7, "labels": labels}
    save_checkpoint(net.state_dict(), place / "ar.safetensors", kind="ar", config=config)
    return place


@pytest.fixture
def root(tmp_path):
    """Two drives of 10 frames each, of which one is `val`, and a drive of 2."""
    names = [f"{drive}/{place:03d}" for drive, count in (("a", 10), ("b", 10), ("c", 2)) for place in range(count)]
    folder_tree(tmp_path / "mine", three_classes(22), names)
    (tmp_path / "mine" / "split.txt").write_text("b val\nc val\n")
    return tmp_path / "mine"


def test_classes_without_names_have_those_of_the_data(arseg, root):
    code, out, err = arseg(
        "eval", "--data", "mine", "--model", "pyramid?num_classes=3&channels=8&wide=8", "--figures", "s"
    )
    assert code == 0, err
    assert list(json.loads(Path("s").read_text())["hr"]["class_iou"]) == list(CLASSES)
    assert "class 0" not in out and "road" in out


def test_stills_of_a_folder(arseg, root, weights):
    code, out, err = arseg("eval", "--data", "mine", "--weights", weights / "ar.safetensors", "--figures", "s.json")
    assert code == 0, err
    assert out.startswith("mine: 12 stills of val; split by split.txt\n")
    assert "classes on ignored pixels are faults" in " ".join(out.split())
    record = json.loads(Path("s.json").read_text())
    assert list(record) == ["hr", "lr"] and list(record["hr"]["class_iou"]) == list(CLASSES)
    assert record["hr"]["class_iou"] != record["hr"]["class_iou_ignored_too"]
    code, out, err = arseg(
        "eval", "--data", "mine", "--weights", weights / "hr.safetensors", "--split", "train", "--modes", "hr"
    )
    assert code == 0 and "mine: 10 stills of train" in out, err


def test_frames_of_another_height(arseg, root, weights, monkeypatch):
    seen = []
    forward = PyramidNet.features
    monkeypatch.setattr(PyramidNet, "features", lambda self, image: seen.append(image.shape[2]) or forward(self, image))
    arguments = ("eval", "--data", "mine", "--weights", weights / "ar.safetensors", "--modes", "hr")
    assert arseg(*arguments, "--height", 96)[0] == 0
    assert seen[-1] == 96 and set(seen) == {96, 48}  # 48: the branch, on which folding is tried first
    code, _, err = arseg(*arguments, "--height", 12)
    assert code == 2 and "--height" in err


def test_videos_of_a_folder(arseg, root, weights):
    """Each drive is a run of its own; one that is too short is left out, and said."""
    arguments = ["eval", "--data", root, "--weights", weights / "ar.safetensors", "--gop", 3, "--modes", "hr,ar"]
    code, out, err = arseg(*arguments, "--consecutive", "--figures", "s.json", "--workers", 1)
    assert code == 0 and "left out: c-000 to c-001, 2 frames, 3 are needed" in err and "3 of 3 passes" in err, err
    record = json.loads(Path("s.json").read_text())
    assert len(record["ar"]["by_distance"]) == 3 and "with_void" not in record["ar"]
    assert list(record["hr"]["class_iou"]) == list(record["hr"]["class_iou_ignored_too"]) == list(CLASSES)
    assert "faults on ignored pixels too" in " ".join(out.split()) and "Void" not in out
    code, _, err = arseg("eval", "--data", root, "--weights", weights / "ar.safetensors", "--consecutive")
    assert code == 2 and "val has no video of 12 labelled frames; take --stills" in err


def test_prepared_from_a_folder(arseg, root, weights):
    """Of each video a run of its own."""
    (root / "split.txt").write_text("a val\nb val\n")
    encoding = ["--consecutive", "--gop", 3, "-d", "0-2", "--x264-preset", "ultrafast"]
    code, out, err = arseg("prepare", "-o", "p", "--data", root, "--split", "val", *encoding)
    assert (code, out) == (0, "p/manifest.json\n"), err
    made = json.loads(Path("p/manifest.json").read_text())
    assert len(made["items"]) == 2 * (10 - 2) * 3 and {item["video"] for item in made["items"]} == {
        f"videos/run{run}-o{offset}.mp4" for run in range(2) for offset in range(3)
    }
    code, out, err = arseg("eval", "--prepared", "p", "--weights", weights / "ar.safetensors", "--modes", "hr,warp")
    assert code == 0 and "keyframe warped" in out, err


def test_faults_of_arguments(arseg, root, weights):
    for arguments, said in (
        (["--data", root, "--prepared", "p"], "--data, --camvid, --prepared: give one of them"),
        (["--data", root, "--camvid", root], "--data, --camvid: give one of them"),
        (["--data", root, "--plot", "x.png"], "--plot: draws scores by distance, and mine's val is stills"),
        (["--data", root, "--modes", "warp"], "modes: stills are seen at hr or lr, got warp"),
        (["--data", root, "--device", "gpu"], "device: expected a device of torch"),
        (["--data", root, "--split", "test"], "has no test, only train and val"),
    ):
        code, _, err = arseg("eval", "--weights", weights / "ar.safetensors", *arguments)
        assert code == 2 and said in err, err
    write_classes(root, ["x", "y", "z"])
    code, _, err = arseg("eval", "--data", root, "--weights", weights / "ar.safetensors")
    assert code == 2 and "know mine's 3 classes (sky, road, car, …), and the data has mine's 3 (x, y, z, …)" in err
    save(np.zeros((3, 3), np.uint8), root / "labels" / "b" / "000.png")
    write_classes(root)
    code, _, err = arseg("eval", "--data", root, "--weights", weights / "ar.safetensors")
    assert code == 2 and "000.png: expected the size of 000.png, 64x48, got 3x3" in err
