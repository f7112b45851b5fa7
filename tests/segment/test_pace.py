"""A live source that is read too slowly: compute is lowered, once it is told, and raised again."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from helpers.streets import pictures
from helpers.tiny_segmenter import tiny_segmenter
from rich.console import Console

from arseg.segment import pace as module
from arseg.segment.outputs import output_for
from arseg.segment.pace import BEHIND, EveryGroup, Pace
from arseg.segment.policies import Amount, Costs, Spaced
from arseg.segment.run import segment_file
from arseg.video import Candidate, ConnectionLostError, VideoFrame, encode

RATE = 10


def candidate(index: int, distance: int, groups: int) -> Candidate:
    luma = np.zeros((2, 2), np.float32)
    return Candidate(index, distance, groups, "P", luma, luma, np.zeros((2, 2, 2), np.int16), np.ones((2, 2), bool))


class Camera:
    """A clock, and frames that come by it; whoever takes them spends time."""

    def __init__(self) -> None:
        self.now = 0.0

    def frames(self, count: int):
        for index in range(count):
            self.now = max(self.now, index / RATE)
            yield VideoFrame(index, np.zeros((1, 1, 3), np.uint8), "P", False, 0, None, 0, Fraction(1), index / RATE)


def watched(
    camera: Camera, starts, change, slow, count: int = 1200
) -> tuple[list[int], list[float], list[float], Pace]:
    """Keyframes, seconds that each frame is taken late, what is said, and the pace; a keyframe takes `slow(index)`."""
    said: list[float] = []
    pace = Pace(change, said.append, lambda: camera.now)
    keys, late = [0], []
    for frame in pace.watched(camera.frames(count), lambda: ()):
        late.append(camera.now - frame.time)
        distance = frame.index - keys[-1]
        if frame.index and starts(candidate(frame.index, distance, len(keys))):
            keys.append(frame.index)
        camera.now += slow(frame.index) if keys[-1] == frame.index else 0.02
    return keys, late, said, pace


def budgeted():
    policy = Spaced(Amount(0.25, "hr"))
    policy.begin(Costs(1.0, {"warp": 0.0}), gop=12, live=True)
    return policy.starts, policy.stretch


def regular():
    every = EveryGroup(4)
    return every, every.stretch


@pytest.mark.parametrize("made", [budgeted, regular])
def test_compute_is_lowered_until_it_keeps_up_and_raised_again(made):
    starts, change = made()
    slow = lambda index: 0.9 if index < 600 else 0.1  # noqa: E731 - four frames take 0.96 s then, and come in 0.4
    keys, late, said, pace = watched(Camera(), starts, change, slow)
    assert len(said) == 1 and said[0] > BEHIND
    assert max(late) < 6 and late[599] < 1.5, "it catches up while it still is slow"
    busy = np.diff([key for key in keys if 200 < key < 600])
    assert busy.min() >= 8
    assert pace.times == 1 and np.diff([key for key in keys if key > 1150]).max() == 4
    starts, _ = made()
    assert watched(Camera(), starts, lambda times: None, slow, 600)[1][599] > 60, "else it falls behind for good"


def test_one_that_keeps_up_is_left_alone():
    starts, change = regular()
    keys, _, said, pace = watched(Camera(), starts, change, lambda index: 0.2)
    assert said == [] and pace.times == 1 and set(np.diff(keys)) == {4}


def test_among_b_frames_a_group_is_no_longer_than_asked():
    every, keys = EveryGroup(10), [0]
    for index in range(4, 80, 4):  # three B frames between
        if every(candidate(index, index - keys[-1], len(keys))):
            keys.append(index)
    assert set(np.diff(keys)) == {8}


def test_a_source_that_comes_back_is_not_behind():
    camera, losses = Camera(), []
    said: list[float] = []
    pace = Pace(said.append, said.append, lambda: camera.now)
    for frame in pace.watched(camera.frames(200), lambda: (losses,)):
        if frame.index == 100:
            camera.now += 30  # it was away, and its times go on where they were
            losses.append(frame)
        if frame.index > 100:
            camera.now = max(camera.now, frame.time + 30)
    assert said == []


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}], ids=str)
def test_of_a_stream(tmp_path, monkeypatch, settings):
    clip = tmp_path / "street.mp4"
    encode(pictures(90), clip, rate=RATE, gop=90)
    camera, found = Camera(), {}
    monkeypatch.setattr(module.Pace.__init__, "__defaults__", (lambda: camera.now,))
    for slow in (0.0, 3.0):
        segmenter = tiny_segmenter(**settings)
        keyframes, keys, camera.now = segmenter._engine.keyframes, [], 0.0

        def seen(frames, keyframes=keyframes, keys=keys, slow=slow):
            keys.extend(frame.index for frame in frames)
            camera.now += slow
            return keyframes(frames)

        segmenter._engine.keyframes = seen
        said, target = io.StringIO(), tmp_path / f"{slow}.npz"
        with pytest.raises(ConnectionLostError):  # a file that is called live ends some time
            segment_file(
                segmenter,
                clip,
                [output_for(str(target))],
                console=Console(file=said, width=500),
                live=True,
                reconnect=0,
            )
        with np.load(target) as labels:
            assert len(labels["frames"]) == 90, "no frame is dropped"
        found[slow] = len(keys), said.getvalue().count("behind; keyframes come further apart")
    assert found[0.0][1] == 0 and found[3.0][1] == 1
    assert found[3.0][0] < 0.7 * found[0.0][0]
