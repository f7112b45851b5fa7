"""Scores by distance: against a slow count, on several processes, with and without Void, and as they are told."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.dataset_trees import cityscapes_tree, street
from PIL import Image

from arseg.data.cityscapes import cityscapes_frames
from arseg.data.prepare import Encoding, prepare
from arseg.data.prepared import Prepared
from arseg.errors import InputError
from arseg.evaluate.by_distance import Scores, check_classes, evaluate, evaluate_passes, prepared_passes, run_passes
from arseg.evaluate.metrics import ConfusionMatrix
from arseg.evaluate.report import class_table, notes, save_plot, save_scores, scores_table
from arseg.labels import CAMVID, CAMVID_VOID, CITYSCAPES, LabelSet
from arseg.segment.segmenter import Group, VideoSegmenter
from arseg.train.paper.networks import labels_record
from arseg.video import VideoReader, encode
from arseg.weights.build import build

GOP = 4


@pytest.fixture(scope="module")
def frames():
    """A street whose labels have a stripe of Void."""
    found = street(11, size=(64, 96))
    return [(image, np.where(np.arange(96) < 7, np.uint8(11), label)) for image, label in found]


@pytest.fixture(scope="module")
def passes(frames, tmp_path_factory):
    """The run's passes, each encoded once: what is compared saw the same pictures."""
    folder, found = tmp_path_factory.mktemp("passes"), []
    for number, one in enumerate(run_passes(frames, gop=GOP, rate=15, crf=23, offsets=None)):
        video = folder / f"{number}.mp4"
        encode(one.frames, video, rate=one.rate, gop=GOP, crf=one.crf)
        found.append(replace(one, video=video, frames=()))
    return found


@pytest.fixture(scope="module")
def scores(tiny, passes):
    return evaluate_passes(tiny, passes, ("hr", "ar", "warp"), gop=GOP, report=lambda line: None)


def slow_iou(pairs, classes):
    """Intersection over union of each class in percent, pixel by pixel."""
    out = []
    for c in range(classes):
        both = sum(int(((t == c) & (p == c)).sum()) for t, p in pairs)
        either = sum(int(((t == c) | (p == c)).sum()) for t, p in pairs)
        out.append(100 * both / either if either else float("nan"))
    return out


@pytest.mark.slow
def test_each_frame_is_met_at_every_distance(tiny, frames, passes, scores):
    """Counted again by hand: all passes, the reader's own distances, only frames from `gop - 1` on."""
    segmenter = VideoSegmenter(tiny, gop=GOP)
    met = {d: [] for d in range(GOP)}
    for offset in range(GOP):
        group = Group()
        with VideoReader(passes[offset].video, gop=GOP) as reader:
            for frame in reader:
                predicted = segmenter.segment(frame, group)
                index = offset + frame.index
                if index >= GOP - 1:
                    label = frames[index][1]
                    met[frame.distance].append((label[label < 11], predicted[label < 11]))
    assert all(len(met[d]) == len(frames) - GOP + 1 for d in met)
    by_hand = [np.nanmean(slow_iou(met[d], 11)) for d in met]
    np.testing.assert_allclose(scores["ar"].miou(), by_hand, rtol=1e-9)
    assert scores["ar"].mean() == pytest.approx(np.mean(by_hand))
    together = slow_iou([pair for pairs in met.values() for pair in pairs], 11)
    np.testing.assert_allclose(scores["ar"].class_iou()[:11], together, rtol=1e-9)


@pytest.mark.parametrize("batch", [1, GOP - 1])
def test_batches_count_what_single_frames_do(tiny, passes, scores, batch):
    """But where rounding decides: fewer than one label in a thousand."""
    found = evaluate_passes(tiny, passes, ("hr", "ar", "warp"), gop=GOP, batch=batch, report=lambda line: None)
    for mode, score in scores.items():
        for one, other in zip(score.by_distance, found[mode].by_distance, strict=True):
            assert np.abs(one.counts - other.counts).sum() <= 2e-3 * one.counts.sum() > 0


def test_bfloat16_is_another_arithmetic(tiny, passes, scores):
    found = evaluate_passes(tiny, passes[:1], ("hr",), gop=GOP, precision="bfloat16", report=lambda line: None)["hr"]
    exact = evaluate_passes(tiny, passes[:1], ("hr",), gop=GOP, report=lambda line: None)["hr"]
    pairs = list(zip(exact.by_distance, found.by_distance, strict=True))
    assert any((one.counts != other.counts).any() for one, other in pairs)
    assert exact.mean() == pytest.approx(found.mean(), abs=5)


@pytest.mark.slow
def test_processes_share_the_passes(tiny, passes, scores):
    lines = []
    shared = evaluate_passes(tiny, passes, ("hr", "ar", "warp"), gop=GOP, workers=2, report=lines.append)
    for mode, score in scores.items():
        for one, other in zip(score.by_distance, shared[mode].by_distance, strict=True):
            np.testing.assert_array_equal(one.counts, other.counts)
        np.testing.assert_array_equal(score.consistency.counts, shared[mode].consistency.counts)
        assert score.consistency.counts[1:, 1].all(), "frames in a row are scored"
    assert len(lines) == GOP and lines[-1].endswith("4 of 4 passes")


def test_void_counts_where_it_is_asked_for(tiny, frames, scores):
    counted = evaluate(tiny, frames, ("hr",), gop=GOP, void=True, report=lambda line: None)["hr"]
    ignored = scores["hr"]
    assert counted.count_void and not ignored.count_void, "this network does not predict it"
    assert counted.mean() == pytest.approx(ignored.mean(count_void=True)) and counted.mean() < ignored.mean()
    assert counted.class_iou()[11] == 0 and np.isnan(ignored.class_iou()[11])
    assert "Void is ignored; counted as a class, the means are" in notes({"hr": ignored})[0]


def test_void_by_hand():
    matrix = ConfusionMatrix(3)  # the last one is Void
    truth, predicted = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 2, 1, 0, 2, 0])
    matrix.add(truth, predicted)
    score = Scores([matrix], ("a", "b", "void"), 2, count_void=True)
    np.testing.assert_allclose(score.miou(), np.mean(slow_iou([(truth, predicted)], 3)))
    labelled = truth != 2
    without = slow_iou([(truth[labelled], predicted[labelled])], 2)
    np.testing.assert_allclose(score.miou(False), np.mean(without))
    assert without == [pytest.approx(100 / 3), pytest.approx(50)]


def test_what_is_predicted_on_void_alone_is_named():
    matrix = ConfusionMatrix(4)
    matrix.add(np.array([0, 0, 1, 3]), np.array([0, 0, 1, 2]))
    score = Scores([matrix], ("road", "car", "train", "void"), void=3)
    assert np.isnan(score.class_iou()[2]) and score.absent() == ["train"]
    assert Scores([matrix], score.classes, void=3, count_void=True).absent() == []


def test_absent_classes_are_left_out_and_said(tmp_path):
    matrix = ConfusionMatrix(4)
    matrix.add(np.array([0, 0, 1]), np.array([0, 3, 1]))
    empty = ConfusionMatrix(4)
    score = Scores([matrix, empty], ("road", "car", "train", "bus"))
    assert score.absent() == ["train"] and score.mean() == pytest.approx((50 + 100 + 0) / 3)
    said = notes({"hr": score})
    assert said == [
        "left out of the means, for neither labels nor predictions have them: train",
        "in no label, but predicted, and so 0 in the means: bus",
    ]
    assert scores_table({"hr": score}).row_count == 3, "mean, lowest and the one distance that was met"
    assert class_table({"hr": score}).row_count == 4
    save_scores(tmp_path / "s.json", {"hr": score})
    record = json.loads((tmp_path / "s.json").read_text())["hr"]
    assert record["class_iou"] == {"road": 50.0, "car": 100.0, "train": None, "bus": 0.0}
    assert record["by_distance"] == [50.0, None] and record["absent"] == ["train"]


def test_files_hold_both_ways_to_treat_void(scores, tmp_path):
    save_scores(tmp_path / "s.json", scores)
    record = json.loads((tmp_path / "s.json").read_text())
    assert list(record) == ["hr", "ar", "warp"]
    assert record["ar"]["mean"] == record["ar"]["without_void"]["mean"] > record["ar"]["with_void"]["mean"]
    assert len(record["ar"]["by_distance"]) == GOP and len(record["ar"]["class_iou"]) == 11


def test_a_plot_is_drawn(scores, tmp_path):
    pytest.importorskip("matplotlib")
    save_plot(tmp_path / "s.png", scores)
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.width > 1000 and len(picture.convert("RGB").getcolors(1 << 20)) > 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.png"]


@pytest.mark.slow
def test_a_network_of_the_paper_on_prepared_data(tmp_path):
    """19 classes, 64 labelled pixels a feature pixel: any weights file can be scored."""
    arch = "cityscapes-bise18"
    config = {"arch": arch, "auxiliary": False, "scale": 0.5, "window": 7, "labels": labels_record(arch)}
    model = build("ar", config).eval()
    prepare(cityscapes_frames(cityscapes_tree(tmp_path / "c", snippets=1)), tmp_path / "p", Encoding(gop=3), [0, 2])
    data = Prepared(tmp_path / "p")
    found = evaluate_passes(model, prepared_passes(data), ("hr", "ar"), gop=data.gop, report=lambda line: None)
    assert found["ar"].classes[0] == "road" and len(found["ar"].classes) == 19 and found["ar"].void is None
    met = [int(matrix.counts.sum()) for matrix in found["ar"].by_distance]
    labelled = sum(int((np.asarray(Image.open(item.label)) < 19).sum()) for item in data.items)
    assert met[1] == 0 and met[0] == met[2] == labelled // 2
    np.testing.assert_array_equal(found["hr"].by_distance[0].counts, found["ar"].by_distance[0].counts)


def test_one_pass_scores_every_frame(frames):
    (one,) = run_passes(frames, gop=GOP, rate=15, crf=23, offsets=[0])
    assert sorted(one.labels) == list(range(11)) and [one.labels[i][0] for i in (0, 3, 4, 9)] == [0, 3, 0, 1]


def test_classes_are_the_datas():
    """Void may be with either; classes without names count alone."""
    check_classes(CAMVID, "CamVid", CAMVID.classes)
    check_classes(CAMVID, "camvid", CAMVID_VOID.classes)
    check_classes(CAMVID_VOID, "CamVid", CAMVID.classes)
    check_classes(LabelSet.of(11), "CamVid", CAMVID.classes)
    for labels, words in (
        (
            CITYSCAPES,
            r"w: know Cityscapes's 19 classes \(road, .*, and the data has CamVid's 11 \(sky, building, pole, …",
        ),
        (LabelSet.of(21), r"w: know 21 classes \(class 0, .* and the data has CamVid's 11"),
        (LabelSet.of(11, classes=CAMVID.classes[::-1]), r"w: know 11 classes \(bicyclist, "),
    ):
        with pytest.raises(InputError, match=words):
            check_classes(labels, "CamVid", CAMVID.classes, "w")


def test_faults(tiny, frames):
    with pytest.raises(InputError, match="workers: expected at least 1, got 0"):
        evaluate(tiny, frames, ("hr",), gop=GOP, workers=0)
