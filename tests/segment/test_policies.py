"""What a budget, a bound and a policy make of a stream: how many keyframes, where, and of what the frames between."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from arseg.errors import InputError
from arseg.networks.compute import gmacs
from arseg.segment.costs import costs_of
from arseg.segment.policies import POLICIES, Amount, Costs, Spaced
from arseg.segment.policies.amounts import LaterCosts
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import Candidate


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


def test_names_of_policies():
    assert list(POLICIES) == ["bidirectional", "warp", "ar", "ensemble"]


def test_costs_are_found_when_they_are_looked_at():
    asked = []
    later = LaterCosts(lambda: asked.append(1) or Costs(2.0, {"ar": 0.5}))
    policy = Spaced()
    policy.begin(later, gop=12, live=False)
    assert asked == []
    assert (later.key, later.of("ar"), later.of("warp"), later.ways, asked) == (2.0, 0.5, 0.0, {"ar": 0.5}, [1])
    assert not hasattr(later, "keys")


def test_keyframes_cost_what_the_ways_that_are_left_need(tiny):
    """ "ensemble" of a file has no use for the branch's result at a keyframe; the method has, with a residual."""
    residual = copy.deepcopy(tiny)
    residual.keyframe_residual = 0.5
    segmenter = VideoSegmenter(residual, budget="60%", policy="ensemble", height=48)
    policy = segmenter.new_policy()
    segmenter.begin(policy, (48, 64), live=False)
    own = gmacs(residual, 48, 64)["low"] / gmacs(residual, 48, 64)["hr"]
    assert policy.every == pytest.approx((1 + own - own) / (0.6 - own), rel=0.02)
    live = segmenter.new_policy()
    segmenter.begin(live, (48, 64), live=True)
    counted = gmacs(residual, 48, 64)
    key, between = counted["keyframe"] / counted["hr"], counted["ar"] / counted["hr"]
    assert live.every == pytest.approx((key - between) / (0.6 - between), rel=0.02) and key > 1.1


def test_a_limit_that_is_told_is_enough():
    for value in (0.25004, 0.2513, 0.25, 12.345, 1e-9):
        told = Amount(1.0, "hr").of(value)
        assert value <= told.value * (1 + 1e-8) <= value * 1.01


def test_long_groups_are_as_long_as_asked(tiny):
    for policy in ("ensemble", "warp"):
        segmenter = VideoSegmenter(tiny, policy=policy, gop=1000, height=48)
        assert segmenter.reading(segmenter.new_policy())["gop"] == 1000
    assert VideoSegmenter(tiny, budget="25%", gop=1000, height=48).new_policy().longest == 250


def test_single_frames_have_no_policy(tiny):
    segmenter = VideoSegmenter(tiny, policy="ensemble", height=48)
    for call in (segmenter.segment, segmenter.logits):
        with pytest.raises(InputError, match=r"^budget, slowest, policy: single frames are segmented by a mode alone"):
            call(None, None)


def test_saved_compute_of_a_bound_that_does_not_bind(tiny):
    segmenter = VideoSegmenter(tiny, budget="25%", slowest="100%", height=48)
    policy = segmenter.new_policy()
    segmenter.begin(policy, (48, 64), live=True)
    assert policy.spread == 1
    assert segmenter.compute_saved((48, 64), policy)(100, 25) == pytest.approx(0.75)
