"""Temporal consistency: on pans whose answer is known, against a slow count, and as it is told."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from arseg.evaluate.by_distance import Scores
from arseg.evaluate.consistency import Consistency, followed
from arseg.evaluate.metrics import ConfusionMatrix
from arseg.evaluate.report import consistency_table, save_scores
from arseg.video import BlockField, VideoReader, encode
from arseg.video.hops import hop
from arseg.video.motion import chain

HEIGHT, WIDTH, BLOCK = 48, 64, 4


def field(vectors, valid=None):
    vectors = np.asarray(vectors, np.int16)
    return BlockField(vectors, np.ones(vectors.shape[:2], bool) if valid is None else valid, BLOCK)


def panned(frames, step, size=(HEIGHT, WIDTH)):
    """Label maps of a pan to the left by `step` pixels a frame, and their fields to the first frame."""
    world = np.random.default_rng(0).integers(0, 11, (size[0], size[1] + step * frames), dtype=np.uint8)
    labels = [world[:, step * t : step * t + size[1]] for t in range(frames)]
    shape = (size[0] // BLOCK, size[1] // BLOCK, 2)
    fields = [None, *(field(np.full(shape, 1) * (4 * step * t, 0)) for t in range(1, frames))]
    return labels, fields


def counted(labels, fields):
    consistency = Consistency(len(labels))
    for index, (one, motion) in enumerate(zip(labels, fields, strict=True)):
        consistency.add(index, index, one, motion)
    return consistency


@pytest.mark.parametrize("step", [0, 1, 3, 7])
def test_labels_that_move_with_the_vectors_are_consistent(step):
    labels, fields = panned(5, step)
    found = counted(labels, fields)
    assert found.by_distance()[1:] == [100] * 4 and found.mean() == 100
    assert np.isnan(found.by_distance()[0]), "keyframes have no vectors to follow"
    assert found.counts[1:, 1].tolist() == [HEIGHT * (WIDTH - step)] * 4, "what came into the picture is left out"


def test_labels_that_stay_while_the_picture_moves_are_not():
    labels, fields = panned(4, 3)
    still = counted([labels[0]] * 4, fields)
    chance = (labels[0][:, :-3] == labels[0][:, 3:]).mean() * 100
    assert still.by_distance()[1:] == pytest.approx([chance] * 3) and chance < 20
    flicker = counted([labels[0], labels[1], (labels[2] + 1) % 11, labels[3]], fields)
    assert flicker.by_distance()[1:] == [100, 0, 0]


def test_the_count_is_that_of_every_pixel_by_itself():
    rng = np.random.default_rng(1)
    labels, before = rng.integers(0, 3, (2, 20, 31), dtype=np.uint8)
    vectors, known = rng.integers(-30, 30, (5, 8, 2)), rng.random((5, 8)) < 0.8
    same = seen = 0
    for y in range(20):
        for x in range(31):
            dx, dy = vectors[y // 4, x // 4] / 4
            # The pixel whose square holds where the middle of this one was.
            v, u = int(np.floor(y + 0.5 + dy)), int(np.floor(x + 0.5 + dx))
            if known[y // 4, x // 4] and 0 <= v < 20 and 0 <= u < 31:
                seen += 1
                same += labels[y, x] == before[v, u]
    assert followed(labels, before, vectors, known, BLOCK) == (same, seen) and 0 < same < seen


def test_labels_at_another_size_than_the_video_follow_its_vectors():
    labels, fields = panned(2, 4)
    twice = [one.repeat(2, 0).repeat(2, 1) for one in labels]
    _, seen = found = followed(twice[1], twice[0], *hop(fields[1], None), BLOCK, (HEIGHT, WIDTH))
    assert found == (seen, seen) and seen == 4 * HEIGHT * (WIDTH - 4)


def test_a_hop_is_what_the_chain_was_made_of():
    """Smooth motion with an edge in it: nearly every hop is found again, and what is found fits the chain."""
    rows, columns = 40, 60
    y, x = np.mgrid[:rows, :columns]
    steps = [
        np.stack([6 * np.sin(x / 9 + t) + 10 * (x > 30), 5 * np.cos(y / 7 - t)], -1).round().astype(np.int16)
        for t in range(5)
    ]
    valid = np.ones((rows, columns), bool)
    before = field(steps[0])
    for step in steps[1:]:
        holes = valid & (np.random.default_rng(0).random((rows, columns)) > 0.1)
        now = field(*chain(step, holes, before.vectors, before.valid))
        found, known = hop(now, before)
        assert not (known & ~now.valid).any() and known.sum() > 0.97 * now.valid.sum()
        assert (found == step).all(-1)[known].mean() > 0.97
        again, _ = chain(found.astype(np.int16), valid, before.vectors, before.valid)
        np.testing.assert_array_equal(again[known], now.vectors[known])
        before = field(now.vectors)


def test_only_frames_in_a_row_are_compared():
    labels, fields = panned(4, 2)
    consistency = Consistency(4)
    for index in (0, 2, 3):
        consistency.add(index, index, labels[index], fields[index])
    assert consistency.counts[:, 1].astype(bool).tolist() == [False, False, False, True]
    consistency.add(4, 1, labels[0], fields[1])
    assert not consistency.counts[1].any(), "its keyframe is not the frame before"


@pytest.mark.slow
def test_through_a_codec_what_moves_is_consistent_and_what_stays_is_not(tmp_path):
    world = np.random.default_rng(3).integers(0, 256, (12, 30, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    frames = [np.ascontiguousarray(world[:, 4 * t : 4 * t + 128]) for t in range(8)]
    encode(frames, tmp_path / "pan.mp4", rate=15, gop=8, crf=18)
    classes = world[..., 0] // 32
    moved, still = Consistency(8), Consistency(8)
    with VideoReader(tmp_path / "pan.mp4", gop=8) as reader:
        for frame in reader:
            t = frame.index
            moved.add(t, frame.distance, classes[:, 4 * t : 4 * t + 128], frame.motion)
            still.add(t, frame.distance, classes[:, :128], frame.motion)
    assert min(moved.by_distance()[1:]) > 97 and max(still.by_distance()[1:]) < 80


def test_scores_tell_it(tmp_path):
    matrix = ConfusionMatrix(2)
    matrix.add(np.array([0, 1]), np.array([0, 1]))
    score = Scores([matrix] * 3, ("road", "car"), consistency=counted(*panned(3, 1)))
    save_scores(tmp_path / "scores.json", {"ar": score})
    found = json.loads((tmp_path / "scores.json").read_text())["ar"]["temporal_consistency"]
    assert found == {"mean": 100.0, "by_distance": [None, 100.0, 100.0]}
    table = consistency_table({"ar": score})
    assert table.row_count == 3 and list(table.columns[1].cells) == ["100.0"] * 3
    assert consistency_table({"ar": replace(score, consistency=Consistency(3))}) is None, "no two frames in a row"
