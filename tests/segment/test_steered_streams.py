"""Streams that a policy steers: what is made of their frames, and when, by the network itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.video_clips import busy_scene, pan, write_av

from arseg.errors import InputError
from arseg.segment import steered
from arseg.segment.policies import Spaced
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import VideoReader, encode


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """26 frames whose only I frame is the first."""
    path = tmp_path_factory.mktemp("moving") / "moving.mp4"
    encode(busy_scene(26, (96, 128)), path, gop=60)
    return path


@pytest.fixture(scope="module")
def with_b_frames(tmp_path_factory):
    return write_av(tmp_path_factory.mktemp("b") / "b.mp4", busy_scene(26, (96, 128)), b_frames=2, gop=60)


@pytest.fixture(scope="module")
def with_i_frames(tmp_path_factory):
    """26 frames with an I frame before a group is over."""
    path = tmp_path_factory.mktemp("i") / "i.mp4"
    encode(busy_scene(26, (96, 128)), path, gop=6)
    return path


def agreement(results, whole):
    return np.mean([np.mean(a.labels == b.labels) for a, b in zip(results, whole, strict=True)])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["moving", "with_b_frames"])
def test_both_keyframes_tell_more_than_one(name, request):
    """Of the shipped network: at equal compute, agreement with itself on every frame; keyframes agree wholly."""
    path = request.getfixturevalue(name)
    default_net = VideoSegmenter().model
    whole = list(VideoSegmenter(default_net, mode="hr", height="video").stream(path))
    shares = {}
    for policy in ("warp", "bidirectional"):
        results = list(VideoSegmenter(default_net, policy=policy, budget="12.5%", height="video").stream(path))
        assert [result.index for result in results] == list(range(26))
        for result, same in zip(results, whole, strict=True):
            np.testing.assert_array_equal(result.image, same.image)
            if result.keyframe:
                assert np.mean(result.labels != same.labels) < 1e-3
        shares[policy] = agreement(results, whole)
    assert shares["bidirectional"] > shares["warp"]


@pytest.mark.slow
def test_the_last_frames_have_two_keyframes_too(moving, tiny):
    """The last frame of all becomes a keyframe where that is not beyond the budget by more than one of them."""
    results = list(VideoSegmenter(tiny, budget="25%", height="video").stream(moving))
    assert [result.index for result in results if result.keyframe] == [0, 4, 8, 12, 16, 20, 24]
    results = list(VideoSegmenter(tiny, budget="17%", height="video").stream(moving))
    assert [result.index for result in results if result.keyframe] == [0, 6, 12, 18, 24]
    results = list(VideoSegmenter(tiny, budget="11.6%", height="video").stream(moving))
    assert [result.index for result in results if result.keyframe] == [0, 9, 17, 25]
    results = list(VideoSegmenter(tiny, gop=10, policy="bidirectional", height="video").stream(moving))
    assert [result.index for result in results if result.keyframe] == [0, 10, 20, 25]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["warp", "ar", "bidirectional", "ensemble"])
def test_batches_do_not_matter(policy, moving, tiny):
    def labels(batch):
        segmenter = VideoSegmenter(tiny, policy=policy, batch=batch, height="video")
        return [result.labels for result in segmenter.stream(moving)]

    alone = labels(1)
    for batch in (3, 30):
        assert np.mean([np.mean(a != b) for a, b in zip(alone, labels(batch), strict=True)]) < 1e-3


@pytest.mark.slow
def test_frames_without_a_later_keyframe_have_their_own_result_too(moving, with_i_frames, tiny, monkeypatch):
    """At the end of a stream; an I frame that shows the same is a later keyframe."""
    segmenter = VideoSegmenter(tiny, gop=12, policy="ensemble", height="video")
    seen = {"beside": [], "between": []}
    for name, found in seen.items():
        work = getattr(segmenter._engine, name)

        def noted(frames, *rest, work=work, found=found, **how):
            found.extend(frame.index for frame in frames)
            return work(frames, *rest, **how)

        monkeypatch.setattr(segmenter._engine, name, noted)
    assert len(list(segmenter.stream(moving))) == 26  # the last is one frame from its keyframe, and none itself
    assert seen == {"beside": [25], "between": [*range(1, 12), *range(13, 24)]}
    seen["beside"].clear(), seen["between"].clear()
    assert len(list(segmenter.stream(with_i_frames))) == 26
    assert seen == {"beside": [25], "between": [index for index in range(24) if index % 6]}


@pytest.mark.slow
def test_ar_by_a_policy_is_the_mode(moving, tiny):
    policy = VideoSegmenter(tiny, policy="ar", height="video").stream(moving)
    mode = VideoSegmenter(tiny, gop=12, height="video").stream(moving)
    for one, other in zip(policy, mode, strict=True):
        assert np.mean(one.labels != other.labels) < 1e-3 and one.keyframe == other.keyframe


@pytest.mark.slow
def test_spread_keyframes_are_used_when_they_are_due(moving, tiny):
    """With a bound of a third: the first one's work begins a frame late, for its low resolution stands in for it."""
    segmenter = VideoSegmenter(tiny, slowest="34%", budget="34%", policy="warp", height="video")
    results = list(segmenter.stream(moving))
    assert [result.index for result in results if result.keyframe][:3] == [0, 4, 7]
    with VideoReader(moving, gop=250) as reader:
        frames = list(reader)
    engine = segmenter._engine
    low, stand_in = engine.low_keyframe(frames[0])
    np.testing.assert_array_equal(results[0].labels, low()[0])
    np.testing.assert_array_equal(results[3].labels, engine.after([frames[3]], stand_in, "warp")()[0])
    _, (key,) = engine.keyframes([frames[0]])
    for index in (4, 5, 6):  # begun at 1, finished for 4
        share = np.mean(results[index].labels != engine.after([frames[index]], key, "warp")()[0])
        assert share < 0.08, index  # fields in two steps


@pytest.mark.slow
def test_spread_keyframes_need_fields_of_small_blocks(moving, tiny):
    with pytest.raises(InputError, match="block: expected 4, of which keyframes are spread"):
        list(VideoSegmenter(tiny, slowest="34%", height="video").stream(moving, block=8))


def test_a_live_source_is_not_waited_for(moving, tiny):
    """With a budget alone: each result comes before the next frame is asked for."""
    segmenter = VideoSegmenter(tiny, budget="10%", height="video")
    policy = segmenter.new_policy()
    asked = []
    with VideoReader(moving, **segmenter.reading(policy)) as reader:
        segmenter.begin(policy, (reader.height, reader.width), live=True)
        frames = (asked.append(frame.index) or frame for frame in reader)
        for result in segmenter.segment_all(frames, live=True, policy=policy):
            assert asked[-1] == result.index


def test_what_waits_for_a_keyframe_is_bounded(moving, tiny, monkeypatch):
    """Windows that are full before the next keyframe comes: none of their frames is made one."""
    usual = list(VideoSegmenter(tiny, policy="warp", budget="7%", height="video").stream(moving))
    monkeypatch.setattr(steered.until_keyframes, "__defaults__", (7 * 96 * 128 * 3,))
    results = list(VideoSegmenter(tiny, budget="7%", height="video").stream(moving))
    assert [result.index for result in results] == list(range(26))
    assert [r.index for r in results if r.keyframe][:2] == [r.index for r in usual if r.keyframe][:2]


@pytest.mark.slow
def test_a_cut_in_a_spread_stream_is_not_told_by_what_was_before(tmp_path, tiny):
    dark, bright = pan(9, (96, 128), 1, 0), [255 - x // 4 for x in pan(9, (96, 128), 1, 0, seed=5)]
    path = write_av(
        tmp_path / "cut.mp4", [x // 4 for x in dark] + bright, options={"sc_threshold": "0", "bf": "0"}, gop=60
    )
    segmenter = VideoSegmenter(tiny, slowest="34%", height="video")
    results = list(segmenter.stream(path))
    assert results[9].frame_type == "P" and results[9].keyframe
    with VideoReader(path, gop=250) as reader:
        frame = list(reader)[9]
    np.testing.assert_array_equal(results[9].labels, segmenter._engine.low_keyframe(frame)[0]()[0])


@pytest.mark.slow
def test_a_policy_of_ones_own(moving, tiny):
    class Half(Spaced):
        """Alternately moved and seen at low resolution."""

        ways = frozenset({"warp", "lr"})

        def __init__(self):
            super().__init__()
            self.ways = Half.ways

        def way(self, frame):
            return "lr" if frame.distance % 2 else "warp"

    results = list(VideoSegmenter(tiny, policy=lambda budget, slowest: Half(), height="video").stream(moving))
    low = list(VideoSegmenter(tiny, mode="lr", height="video").stream(moving))
    moved = list(VideoSegmenter(tiny, mode="warp", height="video").stream(moving))
    for result, seen_low, was_moved in zip(results, low, moved, strict=True):
        if not result.keyframe:
            same = seen_low if result.distance % 2 else was_moved
            assert np.mean(result.labels != same.labels) < 1e-3


def test_frames_from_elsewhere_come_with_their_policy(moving, tiny):
    segmenter = VideoSegmenter(tiny, budget="25%")
    with VideoReader(moving) as reader, pytest.raises(InputError, match="policy: expected that which the frames"):
        next(segmenter.segment_all(reader))


@pytest.mark.slow
def test_threads_do_not_change_what_is_spread(moving, tiny):
    def labels():
        return [r.labels for r in VideoSegmenter(tiny, slowest="50%", height="video").stream(moving)]

    before = torch.get_num_threads()
    one = labels()
    try:
        torch.set_num_threads(1)
        other = labels()
    finally:
        torch.set_num_threads(before)
    for a, b in zip(one, other, strict=True):
        assert np.mean(a != b) < 1e-3


@pytest.mark.slow
def test_one_spread_keyframe_at_a_time(moving, tiny):
    """Groups that start faster than keyframes are finished: each one that is begun is used."""

    class Restless(Spaced):
        def starts(self, seen):
            super().starts(seen)
            return True

    segmenter = VideoSegmenter(tiny, slowest="34%", policy=Restless, height="video")
    begun, plain = [], segmenter._engine.keyframes
    segmenter._engine.keyframes = lambda frames: (begun.append(frames[0].index), plain(frames))[1]
    results = list(segmenter.stream(moving))
    assert [result.index for result in results] == list(range(26))
    assert begun == [0, *range(4, 26, 3)]


def test_a_spread_stream_begins_with_a_keyframe(moving, tiny):
    segmenter = VideoSegmenter(tiny, slowest="34%", height="video")
    policy = segmenter.new_policy()
    with VideoReader(moving, **segmenter.reading(policy)) as reader:
        segmenter.begin(policy, (reader.height, reader.width), live=True)
        _, second, *_ = reader
    with pytest.raises(InputError, match="frame 1: not a keyframe, and no keyframe came before it"):
        next(segmenter.segment_all([second], policy=policy, live=True))
