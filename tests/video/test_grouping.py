"""Where groups start: at the user's word besides the codec's, and what the word is asked with."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers.video_clips import pan, write_av

from arseg.video import VideoReader, encode
from arseg.video.grouping import Candidate, moved

SHARP = {"crf": 4, "preset": "medium"}


def test_groups_start_where_the_reader_is_told(tmp_path: Path) -> None:
    path = tmp_path / "pan.mp4"
    encode(pan(10, (96, 128), 2, 1), path, **SHARP)
    asked, groups = [], []

    def starts(candidate: Candidate) -> bool:
        asked.append((candidate.index, candidate.distance, candidate.frame_type))
        groups.append(candidate.groups)
        return candidate.index in (3, 4, 8)

    with VideoReader(path, starts=starts) as reader:
        frames = list(reader)
    assert [f.index for f in frames if f.keyframe] == [0, 3, 4, 8]
    assert [f.distance for f in frames] == [0, 1, 2, 0, 0, 1, 2, 3, 0, 1]
    assert [index for index, _, _ in asked] == list(range(1, 10))  # the I frame needs no word
    assert [distance for _, distance, _ in asked] == [1, 2, 3, 1, 1, 2, 3, 4, 1]
    assert groups == [1, 1, 1, 2, 3, 3, 3, 3, 4]
    for frame in frames[1:]:  # the field leads to the keyframe that was chosen, a keyframe's link to the one before
        field = frame.link if frame.keyframe else frame.motion
        assert field is not None
        steps = {3: 3, 4: 1, 8: 4}.get(frame.index, frame.distance)
        inner = field.vectors[6:-6, 6:-6].reshape(-1, 2)
        assert (inner == [-8 * steps, -4 * steps]).all(), frame.index
    assert frames[0].link is None


def test_the_longest_group_stands_whatever_is_said(tmp_path: Path) -> None:
    path = tmp_path / "pan.mp4"
    encode(pan(10, (96, 128), 2, 1), path, **SHARP)
    with VideoReader(path, gop=4, starts=lambda candidate: candidate.index == 3) as reader:
        assert [f.index for f in reader if f.keyframe] == [0, 3, 7]


def test_b_frames_are_not_asked_for(tmp_path: Path) -> None:
    """A group starts at an anchor; the B frames before it lead to the keyframe before."""
    path = tmp_path / "b.mp4"
    write_av(path, pan(13, (96, 128), 2, 1), options={"bf": "2", "b-adapt": "0", "crf": "4", "g": "60"})
    kinds = {}

    def starts(candidate: Candidate) -> bool:
        kinds[candidate.index] = candidate.frame_type
        return candidate.index == 6

    with VideoReader(path, starts=starts) as reader:
        frames = list(reader)
    assert set(kinds.values()) == {"P"} and 6 in kinds
    assert [f.index for f in frames if f.keyframe] == [0, 6]
    assert frames[5].frame_type == "B" and frames[5].distance == 5 and frames[7].distance == 1


def test_the_field_to_the_frame_before(tmp_path: Path) -> None:
    """Of every P frame, keyframes among them; of a B frame where it is predicted from the frame before."""
    path = tmp_path / "pan.mp4"
    encode(pan(7, (96, 128), 2, 1), path, **SHARP)
    with VideoReader(path, gop=3, previous=True) as reader:
        frames = list(reader)
    assert [f.keyframe for f in frames] == [True, False, False, True, False, False, True]
    assert frames[0].previous is None
    for frame in frames[1:]:
        assert frame.previous is not None and frame.previous.origin == "exact"
        assert (frame.previous.vectors[6:-6, 6:-6].reshape(-1, 2) == [-8, -4]).all(), frame.index
    with VideoReader(path, gop=3) as reader:
        assert all(frame.previous is None for frame in reader)


def test_the_field_to_the_frame_before_among_b_frames(tmp_path: Path) -> None:
    path = write_av(
        tmp_path / "b.mp4", pan(8, (96, 128), 2, 1), options={"b-adapt": "0", "crf": "4"}, b_frames=1, gop=60
    )
    with VideoReader(path, previous=True) as reader:
        frames = list(reader)
    assert [f.frame_type for f in frames[:5]] == ["I", "B", "P", "B", "P"]
    assert frames[2].previous is None  # predicted from frame 0
    for frame in (frames[1], frames[3]):
        assert frame.previous is not None and frame.previous.origin == "inferred"
        inner = frame.previous.vectors[6:-6, 6:-6].reshape(-1, 2)
        assert np.abs(np.median(inner, 0) - [-8, -4]).max() <= 1


def test_the_error_is_none_where_the_keyframe_moved_is_the_frame(tmp_path: Path) -> None:
    """A texture that moves: off by what enters the picture alone; one that becomes another: by its difference."""
    frames = pan(6, (96, 128), 4, 0)
    frames[4:] = [255 - frame for frame in frames[4:]]
    path = tmp_path / "turns.mp4"
    encode(frames, path, **SHARP, gop=60)
    seen: dict[int, Candidate] = {}
    with VideoReader(path, starts=lambda candidate: bool(seen.update({candidate.index: candidate}))) as reader:
        kinds = [f.frame_type for f in reader]
    for index in (1, 2, 3):
        assert seen[index].errors[:, 8:].mean() < 3  # the left edge is what comes in
        assert seen[index].error == pytest.approx(float(seen[index].errors.mean()))
    if kinds[4] == "P":  # else x264 saw the cut itself
        assert seen[4].error > 30


def test_pictures_are_moved_bilinearly() -> None:
    rng = np.random.default_rng(3)
    picture = rng.uniform(0, 255, (7, 9)).astype(np.float32)
    vectors = rng.integers(-40, 40, (7, 9, 2)).astype(np.int16)
    found = moved(picture, vectors)
    for y in range(7):
        for x in range(9):
            at_x = min(max(x + vectors[y, x, 0] / 16, 0), 8)
            at_y = min(max(y + vectors[y, x, 1] / 16, 0), 6)
            left, top = int(at_x), int(at_y)
            right, below = min(left + 1, 8), min(top + 1, 6)
            a, b = at_x - left, at_y - top
            upper = picture[top, left] * (1 - a) + picture[top, right] * a
            lower = picture[below, left] * (1 - a) + picture[below, right] * a
            assert found[y, x] == pytest.approx(upper * (1 - b) + lower * b, abs=1e-3)


@pytest.mark.parametrize("gop", [2, 3, 4])
def test_a_link_leads_to_the_keyframe_before_where_that_is_a_b_frame(tmp_path: Path, gop: int) -> None:
    """B frames beyond the longest group are keyframes alone; the anchor after them was coded before they were."""
    path = tmp_path / "b.mp4"
    write_av(path, pan(15, (96, 128), 2, 1), options={"bf": "5", "b-adapt": "0", "crf": "4", "g": "60"})
    with VideoReader(path, gop=gop) as reader:
        frames = list(reader)
    keys = [frame for frame in frames if frame.keyframe]
    after_b = [(before, key) for before, key in pairwise(keys) if before.frame_type == "B" and key.frame_type == "P"]
    assert after_b
    for before, key in after_b:
        assert key.link is not None
        inner, steps = key.link.vectors[6:-6, 6:-6], key.index - before.index
        assert (np.abs(inner - [-8 * steps, -4 * steps]).max(-1) <= 2).mean() > 0.9, key.index
