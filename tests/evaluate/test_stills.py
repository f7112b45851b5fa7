"""Scores of stills: against a slow count, with ignored pixels left out and counted as faults."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.folder_trees import CLASSES, folder_tree, three_classes

from arseg.data.opened import open_data
from arseg.errors import InputError
from arseg.evaluate.stills import StillScores, score_stills, stills_notes, stills_record, stills_table
from arseg.labels import CAMVID_VOID, LabelSet
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.pyramid import PyramidNet
from arseg.preprocess import input_size, network_input
from arseg.segment.ways import see


def net_of(labels, height=None):
    torch.manual_seed(0)
    net = ARSegNet(PyramidNet(len(labels.classes), 8, 8), channels=8)
    net.label_set, net.input_height = labels, height
    return net.eval()


def slow_iou(pairs, classes):
    out = []
    for c in range(classes):
        both = sum(int(((t == c) & (p == c)).sum()) for t, p in pairs)
        either = sum(int(((t == c) | (p == c)).sum()) for t, p in pairs)
        out.append(100 * both / either if either else float("nan"))
    return out


@pytest.fixture(scope="module")
def stills():
    found = three_classes(4)
    found[1] = tuple(part[:40, :60].copy() for part in found[1])  # sizes may differ
    return found


@pytest.mark.parametrize("height", [None, 32])
def test_against_a_slow_count(stills, height):
    labels = LabelSet.of(3, name="mine", classes=CLASSES)
    net = net_of(labels, height)
    steps = []
    scores = score_stills(net, stills, progress=lambda done, total: steps.append((done, total)))
    assert list(scores) == ["hr", "lr"] and steps[-1] == (4, 4)
    for mode, score in scores.items():
        pairs = []
        for image, label in stills:
            pixels = network_input(image, input_size(label.shape, height), labels, torch.device("cpu"))
            with torch.inference_mode():
                logits = see(net, mode, pixels, None, None, None, block=0, frame_size=label.shape)
                pairs.append((label, net.labels(logits, label.shape)[0].numpy()))
        np.testing.assert_allclose(score.iou(ignored=True), slow_iou(pairs, 3))
        known = [(t[t != 255], p[t != 255]) for t, p in pairs]
        np.testing.assert_allclose(score.iou(), slow_iou(known, 3))
        right = sum(int((t == p).sum()) for t, p in known)
        assert score.accuracy() == pytest.approx(100 * right / sum(t.size for t, _ in known))


def test_a_network_may_predict_void(stills):
    """As a class past those of the data: it is a fault where there is a label, and nothing where there is none."""
    scores = score_stills(net_of(CAMVID_VOID), stills, ("hr",))["hr"]
    assert scores.classes == CAMVID_VOID.classes[:11] and scores.counts.shape == (12, 12)
    assert scores.counts.sum() == sum(label.size for _, label in stills)
    assert scores.counts[11].sum() == sum((label == 255).sum() for _, label in stills)


def test_by_hand():
    # True class 0 of a: 3 pixels right, 1 taken for b; of b: 2 right; ignored: 4 taken for b; c occurs nowhere.
    counts = np.array([[3, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 4, 0, 0]])
    score = StillScores(("a", "b", "c"), counts)
    np.testing.assert_allclose(score.iou(), [75, 200 / 3, np.nan])
    np.testing.assert_allclose(score.iou(ignored=True), [75, 200 / 7, np.nan])
    assert score.mean() == pytest.approx((75 + 200 / 3) / 2) and score.accuracy() == pytest.approx(500 / 6)
    record = stills_record({"hr": score})["hr"]
    assert record["class_iou"] == {"a": 75.0, "b": 66.667, "c": None}
    assert record["class_iou_ignored_too"]["b"] == 28.571 and record["mean"] == 70.833
    assert stills_table({"hr": score}).row_count == 4
    assert stills_notes({"hr": score}) == [
        "HR every frame: 83.3 % of the pixels right",
        "hr: not in the mean, for neither labels nor predictions have them: c",
        "in no label: c; where they are predicted they are 0 in the mean",
    ]


def test_faults(stills):
    net = net_of(LabelSet.of(3, classes=CLASSES))
    with pytest.raises(InputError, match="modes: stills are seen at hr or lr, got warp"):
        score_stills(net, stills, ("hr", "warp"))
    blank = [(image, np.full_like(label, 255)) for image, label in stills]
    with pytest.raises(InputError, match="labels: no pixel has a class that counts"):
        score_stills(net, blank)
    with pytest.raises(InputError, match="device: expected a device of torch"):
        score_stills(net, stills, device="gpu")


def test_of_a_folder(tmp_path, stills):
    """Frames are read one by one; scores are those of the same stills in memory."""
    data = open_data(folder_tree(tmp_path, stills))
    net = net_of(data.labels)
    read = score_stills(net, data.frames("train"), ("hr",))["hr"]
    np.testing.assert_array_equal(read.counts, score_stills(net, stills[:3], ("hr",))["hr"].counts)
