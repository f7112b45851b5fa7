"""What a budget, a bound and a policy make of a stream: how many keyframes, where, and of what the frames between."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.video_clips import busy_scene, pan, write_av

from arseg.errors import InputError
from arseg.networks.compute import gmacs
from arseg.segment import steered
from arseg.segment.costs import costs_of
from arseg.segment.policies import POLICIES, Amount, Costs, Spaced
from arseg.segment.policies.amounts import LaterCosts
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import Candidate, VideoReader, encode


def seen(index, distance, groups, error=1.0):
    luma = np.full((2, 2), error, np.float32)
    vectors = np.zeros((2, 2, 2), np.int16)
    return Candidate(index, distance, groups, "P", luma, np.zeros_like(luma), vectors, np.ones((2, 2), bool))


def keyframes(policy, count, intra=(), errors=lambda index, key: 1.0):
    """Where a policy has keyframes in a stream of so many frames."""
    keys = [0]
    for index in range(1, count):
        if index in intra or policy.starts(seen(index, index - keys[-1], len(keys), errors(index, keys[-1]))):
            keys.append(index)
    return keys


def begun(budget, key=1.0, way=0.0, live=False, **options):
    policy = Spaced(None if budget is None else Amount(budget, "hr"), **options)
    policy.begin(Costs(key, {"warp": way, "bidirectional": way, "ar": way}), gop=12, live=live)
    return policy


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("2gmacs", 2, "gmacs"),
        ("1.5 GMACs", 1.5, "gmacs"),
        ("40ms", 40, "ms"),
        ("25%", 0.25, "hr"),
        (".5gmac", 0.5, "gmacs"),
    ],
)
def test_amounts(text, value, unit):
    assert Amount.parse(text) == Amount(value, unit)
    assert Amount.parse(Amount(value, unit)) == Amount(value, unit)
    assert Amount.parse(str(Amount(value, unit))) == Amount(value, unit)


@pytest.mark.parametrize("text", ["", "2", "gmacs", "-1ms", "0ms", "2 gigs", "1e3ms", None])
def test_what_is_no_amount_is_told(text):
    with pytest.raises(InputError, match=r"^budget: expected an amount of compute for a frame such as 2gmacs"):
        Amount.parse(text)


@pytest.mark.parametrize("share", [1 / 12, 1 / 6, 1 / 4, 1 / 3, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("intra", [(), range(0, 600, 50), (1, 2, 3), range(30, 40)])
def test_the_mean_frame_costs_the_budget(share, intra):
    keys = keyframes(begun(share), 600, intra)
    assert len(keys) == pytest.approx(600 * share, rel=0.05, abs=1)


def test_what_frames_between_cost_is_paid_for_first():
    assert len(keyframes(begun(0.5, way=0.25, ahead="ar"), 300)) == 100
    with pytest.raises(InputError, match=r"^budget: expected more than 25%, which each frame between keyframes costs"):
        begun(0.25, way=0.25)


def test_regular_distances():
    assert keyframes(begun(0.25), 17) == [0, 4, 8, 12, 16]
    assert keyframes(begun(0.4), 11) == [0, 3, 5, 8, 10]  # 2.5 in the mean
    assert keyframes(begun(None), 37) == [0, 12, 24, 36]
    assert keyframes(begun(None), 37, intra=(5,)) == [0, 5, 17, 29]


@pytest.mark.parametrize(
    ("percent", "distance"), [("33", 3), ("33.3", 3), ("33.3333", 3), ("33.4", 3), ("16.7", 6), ("8.3", 12), ("99", 1)]
)
def test_a_share_in_rounded_digits_is_the_regular_distance(percent, distance):
    policy = Spaced(Amount.parse(percent + "%"))
    policy.begin(Costs(1.0, {"bidirectional": 0.0}), gop=12, live=False)
    assert keyframes(policy, 600) == list(range(0, 600, distance))


def test_what_is_no_rounded_share_is_kept_in_the_mean():
    assert keyframes(begun(0.32), 1000) != list(range(0, 1000, 3))
    assert len(keyframes(begun(0.32), 1000)) <= 320 + 1  # what comes early does not add up


def test_an_intra_frame_counts():
    assert keyframes(begun(0.25), 17, intra=(5,)) == [0, 4, 5, 12, 16]


def test_a_cut_starts_a_group_and_a_fast_scene_does_not():
    policy = begun(0.1, live=True)
    assert keyframes(policy, 10, errors=lambda index, key: 0.3 * (index - key) + 50 * (key < 4 <= index)) == [0, 4]
    assert policy.cut_at(4) and not policy.cut_at(5)
    assert keyframes(policy, 10, errors=lambda index, key: 50 * (key < 9 <= index))[-1] == 9
    assert policy.cut_at(4) and policy.cut_at(9)
    assert keyframes(begun(0.1), 10, errors=lambda index, key: 9.0 * (index - key)) == [0]


def test_a_flash_is_no_cut_where_the_next_keyframe_may_be_waited_for():
    def flash(index, key):
        return 0.3 * (index - key) + 60 * ((key == 7) != (index == 7))

    def cut(index, key):
        return 0.3 * (index - key) + 60 * (key < 7 <= index)

    at_once = begun(0.1, live=True)
    assert keyframes(at_once, 30, errors=flash) == [0, 7, 8]
    assert keyframes(begun(0.1), 30, errors=flash) == [0, 10, 20]
    assert keyframes(begun(0.1, live=True), 12, errors=cut) == [0, 7]
    assert keyframes(begun(0.1), 12, errors=cut) == [0, 8]
    # A keyframe that is a flash itself is not kept.
    assert keyframes(begun(1 / 7), 14, errors=flash) == [0, 7, 9]


def among_b_frames(every, steps):
    policy, keys, index = begun(None), [0], 0
    policy.every = every
    for step in steps:
        index += step
        if policy.starts(seen(index, index - keys[-1], len(keys))):
            keys.append(index)
    return keys


def test_among_b_frames_the_nearest_anchor():
    assert among_b_frames(3, [4] * 4) == [0, 4, 8, 12, 16]
    assert among_b_frames(3, [2] * 6) == [0, 4, 8, 12]
    assert among_b_frames(12, [4, 4, 3, 4, 4, 4, 4]) == [0, 11, 23]
    assert among_b_frames(12, [1] * 37) == [0, 12, 24, 36]


def test_a_cut_at_the_very_end_closes():
    policy = begun(None)
    for index in range(1, 6):
        assert not policy.starts(seen(index, index, 1, 0.3 * index + 50 * (index == 5)))
        assert policy.closes(SimpleNamespace(distance=index)) == (index == 5)


def test_an_i_frame_is_as_the_first_frame():
    """What comes after one does not follow from what was before it, where there is no budget."""

    def errors(index, key):
        return (9.0 if index < 20 else 0.5) * (index - key) + 40 * (key < 24 <= index)

    policy = begun(None)
    assert policy.restarts and not begun(0.1).restarts
    assert not type("Own", (Spaced,), {"starts": lambda self, seen: False})().restarts
    assert not type("Own", (Spaced,), {"way": lambda self, frame: "warp"})().restarts
    keys = keyframes(policy, 40, intra=(21,), errors=errors)
    assert keys == [0, 12, 21, 25, 37]
    alone = keyframes(begun(None), 19, errors=lambda index, key: errors(index + 21, key + 21))
    assert alone == [key - 21 for key in keys if key >= 21]


def test_a_bound_spreads_the_work():
    policy = Spaced(Amount(0.5, "hr"), Amount(0.34, "hr"))
    policy.begin(Costs(1.0, {"warp": 0.0, "lr": 0.25}), gop=12, live=True)
    assert (policy.spread, policy.every) == (3, 3)
    policy = Spaced(None, Amount(0.2, "hr"))
    with pytest.raises(InputError, match=r"^slowest: expected more than 25%, as frames without a keyframe cost"):
        policy.begin(Costs(1.0, {"warp": 0.0, "lr": 0.25}), gop=12, live=True)
    policy = Spaced(Amount(0.5, "hr"), Amount(0.5, "hr"), at_once="ar")  # spread keyframes come besides
    policy.begin(Costs(1.0, {"ar": 0.25}), gop=12, live=True)
    assert (policy.spread, policy.every) == (4, 4)
    policy = Spaced(Amount(0.1, "hr"), Amount(0.4, "hr"), at_once="ar")
    with pytest.raises(InputError, match=r"^budget: expected more than 20%"):
        policy.begin(Costs(1.0, {"ar": 0.2}), gop=12, live=True)
    policy = Spaced(None, Amount(0.2, "hr"), at_once="ar")
    with pytest.raises(InputError, match=r"^slowest: expected more than 20%"):
        policy.begin(Costs(1.0, {"ar": 0.2}), gop=12, live=True)


def test_a_test_at_keyframes_is_paid_for():
    """Of every fourth frame 1 + 0.1, of the others 0.1: "ensemble" has a frame's own result at keyframes, too."""
    assert begun(0.35, way=0.1, ahead="ar").every == pytest.approx(3.6)
    policy = Spaced(Amount(0.35, "hr"), ahead="ensemble")
    policy.begin(Costs(1.0, {"ensemble": 0.1}), gop=12, live=False)
    assert policy.every == 4


def test_costs_are_those_that_flops_counts(tiny):
    engine = VideoSegmenter(tiny, height=48)._engine
    counted = gmacs(tiny, 48, 64)
    found = costs_of(engine, (48, 64), ("warp", "ar", "ensemble", "lr"), "gmacs")
    assert found.key == counted["keyframe"]
    assert (found.of("warp"), found.of("lr")) == (0, counted["lr"])
    assert (found.of("ar"), found.of("ensemble")) == (counted["ar"], counted["low"])
    assert costs_of(engine, (48, 64), ("warp",), "hr") == Costs(1.0, {"warp": 0.0})
    assert all(p.device.type == "cpu" for p in tiny.parameters())


def test_costs_of_a_network_that_looks_into_its_layers(tiny):
    """Which are not what they were where shapes alone are counted: then it is counted as it is."""

    class Looking(type(tiny.high)):
        def features(self, image):
            assert next(m for m in self.modules() if isinstance(m, torch.nn.BatchNorm2d)).weight.shape
            return super().features(image)

    looking = copy.deepcopy(tiny)
    looking.high.__class__ = looking.low.__class__ = Looking
    counted = costs_of(VideoSegmenter(looking, height=48)._engine, (48, 64), ("warp", "ar"), "gmacs")
    assert counted == costs_of(VideoSegmenter(tiny, height=48)._engine, (48, 64), ("warp", "ar"), "gmacs")


def test_measured_costs(tiny):
    engine = VideoSegmenter(tiny, height=48, policy="ensemble")._engine
    found = costs_of(engine, (48, 64), ("warp", "ensemble", "bidirectional", "lr", "hr"), "ms")
    assert found.key > 0 and all(milliseconds > 0 for milliseconds in found.ways.values())


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


def test_a_source_that_begins_anew_is_not_made_up_for():
    policy = begun(0.1)
    keyframes(policy, 300)
    keys, groups = [300], 1  # connected again: the reader's groups are counted from there
    for index in range(301, 400):
        if policy.starts(seen(index, index - keys[-1], groups)):
            keys.append(index)
            groups += 1
    assert keys == list(range(300, 400, 10))


def test_frames_that_were_lost_are_not_made_up_for():
    policy = begun(0.1)
    assert len(keyframes(policy, 100)) == 10
    keys, groups = [300], 11  # two hundred were lost
    for index in range(301, 400):
        if policy.starts(seen(index, index - keys[-1], groups)):
            keys.append(index)
            groups += 1
    assert len(keys) == pytest.approx(10, abs=1)


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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": "much"}, "budget: expected an amount"),
        ({"slowest": "2"}, "slowest: expected an amount"),
        ({"budget": "2ms", "slowest": "1gmacs"}, "budget, slowest: expected amounts in one unit, got 2ms and 1gmacs"),
        (
            {"policy": "wrap"},
            "policy: expected one of bidirectional, warp, ar, ensemble, got 'wrap'; did you mean warp",
        ),
        ({"budget": "25%", "mode": "hr"}, "mode: expected none beside a budget"),
    ],
)
def test_what_does_not_go_together_is_told(options, words, tiny):
    with pytest.raises(InputError, match=words):
        VideoSegmenter(tiny, **options)


def test_frames_from_elsewhere_come_with_their_policy(moving, tiny):
    segmenter = VideoSegmenter(tiny, budget="25%")
    with VideoReader(moving) as reader, pytest.raises(InputError, match="policy: expected that which the frames"):
        next(segmenter.segment_all(reader))


def test_names_of_policies():
    assert list(POLICIES) == ["bidirectional", "warp", "ar", "ensemble"]


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


def test_costs_are_found_when_they_are_looked_at():
    asked = []
    later = LaterCosts(lambda: asked.append(1) or Costs(2.0, {"ar": 0.5}))
    policy = Spaced()
    policy.begin(later, gop=12, live=False)
    assert asked == []
    assert (later.key, later.of("ar"), later.of("warp"), later.ways, asked) == (2.0, 0.5, 0.0, {"ar": 0.5}, [1])
    assert not hasattr(later, "keys")
