"""What of `val` is scored, and which frames are the worst."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from helpers.dataset_trees import save
from helpers.folder_trees import folder_tree, three_classes, write_classes

from arseg.data.groups import store_groups
from arseg.data.opened import open_data
from arseg.evaluate.by_distance import Pass, evaluate_passes
from arseg.fit.config import EvalTable
from arseg.fit.report import faults, worst_picture
from arseg.fit.score import WorstFrame, distances_of, frame_miou, scored_frames, worst_frames, worst_unlabelled
from arseg.fit.sources import Sources
from arseg.labels import LabelSet
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.pyramid import PyramidNet
from arseg.segment.segmenter import VideoSegmenter

LABELS = LabelSet.of(3, classes=("sky", "road", "car"), palette=[(1, 2, 3), (4, 5, 6), (7, 8, 9)])


@pytest.fixture(scope="module")
def net() -> ARSegNet:
    torch.manual_seed(0)
    return ARSegNet(PyramidNet(3, 8, 8), channels=8, label_set=LABELS).eval()


def test_distances_are_near_far_and_between():
    assert distances_of(12) == [1, 2, 4, 8, 11] and distances_of(2) == [1] and distances_of(3) == [1, 2]


def test_stills_become_videos_and_that_is_said(labelled, tmp_path, net):
    scored = scored_frames(Sources(open_data(labelled), ()), EvalTable(stills=2, gop=4), tmp_path)
    assert scored.made and len(scored.passes) == 2 and "made of it" in scored.sentence
    first = scored.passes[0]
    assert sorted(first.labels) == distances_of(4) and len(first.frames) == 4
    again = scored.passes[0]
    assert all(np.array_equal(a, b) for a, b in zip(first.frames, again.frames, strict=True)), "the same each time"
    scores = evaluate_passes(net, scored.passes, ["hr", "ar"], gop=4, report=lambda line: None)
    assert np.isfinite([scores["ar"].miou()[d] for d in distances_of(4)]).all()


def test_a_consecutive_split_is_scored_as_it_is(tmp_path):
    for split, count in (("train", 1), ("val", 8)):
        for number, (image, label) in enumerate(three_classes(count)):
            save(image, tmp_path / "camvid" / split / f"{number:03d}.png")
            save(label, tmp_path / "camvid" / f"{split}annot" / f"{number:03d}.png")
    data = open_data(f"camvid:{tmp_path / 'camvid'}")
    scored = scored_frames(Sources(data, ()), EvalTable(gop=4, stills=3, consecutive=True), tmp_path)
    assert not scored.made and len(scored.passes) == 4
    met = sorted((frame, distance) for one in scored.passes for frame, (distance, _) in one.labels.items())
    assert len(met) == 3 * 4


def test_consecutive_frames_are_in_the_order_of_their_numbers_and_of_one_video(tmp_path):
    stills = three_classes(13)
    names = [f"train/f_{number}" for number in range(2)] + [f"val/f_{number}" for number in range(1, 12)]
    for name, (image, label) in zip(names, stills, strict=True):
        split, _, stem = name.partition("/")
        save(image, tmp_path / split / "images" / f"{stem}.png")
        save(label, tmp_path / split / "labels" / f"{stem}.png")
    save(stills[0][0], tmp_path / "val" / "images" / "e_1.png")
    save(stills[0][1], tmp_path / "val" / "labels" / "e_1.png")
    write_classes(tmp_path)
    scored = scored_frames(Sources(open_data(tmp_path), ()), EvalTable(gop=4, consecutive=True), tmp_path / "made")
    whole = scored.passes[0].frames
    assert len(whole) == 11
    for image, (expected, _) in zip(whole, stills[2:], strict=True):
        np.testing.assert_array_equal(image, expected)


@pytest.mark.slow
def test_other_settings_make_other_videos(tmp_path):
    videos, images = "abcd", [image for image, _ in three_classes(9, seed=7)]
    root = folder_tree(tmp_path / "mine", three_classes(4), [f"{video}_008" for video in videos])
    for video in videos:
        for place, image in enumerate(images):
            save(image, root / "sequences" / video / f"{place:03d}.png")
    data = open_data(root)
    for settings in (EvalTable(gop=4, stills=1), EvalTable(gop=4, stills=1, crf=30), EvalTable(gop=3, stills=1)):
        assert "own video" in scored_frames(Sources(data, ()), settings, tmp_path / "made").sentence


def test_the_mean_is_over_the_classes_of_the_label():
    label, found = np.array([[0, 0, 2, 255]], np.uint8), np.array([[0, 1, 2, 1]], np.uint8)
    assert frame_miou(label, found, 3) == pytest.approx(75)
    assert np.isnan(frame_miou(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), 3))


def test_the_worst_frames_are_those_whose_classes_are_missed(net):
    """Labels that are the network's own, but for one frame in which each is another class."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)] * 4
    zeros = np.zeros((64, 96), np.uint8)
    (one,) = worst_frames(net, [Pass("p", {3: (3, zeros)}, None, frames)], 4, 1)
    own = one.ar
    passes = [Pass("right", {3: (3, own)}, None, frames), Pass("wrong", {3: (3, (own + 1) % 3)}, None, frames)]
    worst = worst_frames(net, passes, 4, 2)
    assert [frame.name for frame in worst] == ["wrong, frame 3", "right, frame 3"]
    assert worst[0].miou == 0 and worst[1].miou == 100 and worst[0].distance == 3
    assert [frame.name for frame in worst_frames(net, passes, 4, 1)] == ["wrong, frame 3"]


def test_the_picture_shows_where_ar_is_wrong():
    label, ar = np.array([[0, 1, 255]], np.uint8), np.array([[0, 2, 2]], np.uint8)
    frame = WorstFrame("f", 11, 50.0, np.zeros((1, 3, 3), np.uint8), label, label % 3, ar)
    assert faults(frame, LABELS).tolist() == [[[48] * 3, [7, 8, 9], [0, 0, 0]]]
    unlabelled = replace(frame, label=None, hr=np.array([[0, 2, 1]], np.uint8))
    assert faults(unlabelled, LABELS).tolist() == [[[48] * 3, [48] * 3, [7, 8, 9]]]


def test_a_picture_of_frames_of_other_sizes():
    def frame(height, width):
        zeros = np.zeros((height, width), np.uint8)
        return WorstFrame("f", 11, 50.0, np.zeros((height, width, 3), np.uint8), zeros, zeros, zeros)

    picture = worst_picture([frame(60, 80), frame(600, 400)], LABELS)
    assert picture.ndim == 3 and picture.dtype == np.uint8


def test_without_labels_the_network_itself_is_the_truth(net, drive, tmp_path):
    groups = store_groups(drive, tmp_path, gop=4)
    worst = worst_unlabelled(net, groups[:4], 3)
    assert len(worst) == 3 and [frame.miou for frame in worst] == sorted(frame.miou for frame in worst)
    segmenters = {mode: VideoSegmenter(net, mode=mode, gop=4) for mode in ("hr", "ar")}
    results = {mode: list(islice(segmenter.stream(drive), 16)) for mode, segmenter in segmenters.items()}
    for frame in worst:
        place = int(frame.name.split("frame ")[1])
        assert np.array_equal(frame.hr, results["hr"][place].labels)
        assert np.array_equal(frame.ar, results["ar"][place].labels)
    assert worst_picture(worst, LABELS).ndim == 3
