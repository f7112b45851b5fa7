"""A bound on the slowest frame: frames' own results are made where they prove to be worth it, and only there."""

import copy
import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.video_clips import busy_scene

from arseg import VideoSegmenter
from arseg.preprocess import network_input
from arseg.segment.costs import costs_of
from arseg.segment.engine import Keyframe
from arseg.segment.policies import POLICIES, Amount, Costs
from arseg.segment.policies.live import LiveEnsemble
from arseg.segment.policies.worth import AGAIN, BEGUN, MOST, OWN_WEIGHTS, STAYS, Worth
from arseg.video import Candidate, VideoReader, encode

COSTS = Costs(1.0, {"ensemble": 0.25, "lr": 0.25})
VAIN, GOOD = (0.9, 0.9, 0.9, 0.9), (0.5, 0.6, 0.9, 0.7)


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """70 frames whose only I frame is the first."""
    path = tmp_path_factory.mktemp("moving") / "moving.mp4"
    encode(busy_scene(70, (96, 128)), path, gop=90)
    return path


@pytest.fixture
def apart(tiny):
    """A network whose branch is not its keyframe network."""
    net = copy.deepcopy(tiny)
    with torch.no_grad():
        for parameter in net.low.parameters():
            parameter.mul_(1.1).add_(0.01)
    return net


def until_tried(worth):
    """Keyframes up to the next trial."""
    count = 0
    while not worth.tried:
        worth.learn(())
        count += 1
    return count


def test_a_trial_in_vain_comes_again_later_and_later():
    worth, waits = Worth(), []
    for _ in range(6):
        assert worth.tried and not worth.used
        worth.learn(VAIN)
        waits.append(until_tried(worth))
    assert waits == [AGAIN, 2 * AGAIN, 4 * AGAIN, MOST, MOST, MOST]


def test_what_takes_errors_away_is_used_and_with_the_best_weight():
    worth = Worth()
    worth.learn(GOOD)
    assert worth.used and not worth.tried and worth.weight == OWN_WEIGHTS[2]
    worth.learn(())  # a keyframe that nothing was told of, as at a cut
    assert worth.used and not worth.tried
    for _ in range(3):
        worth.learn((0.5, 0.9, 0.6, 0.6))
    assert worth.used and worth.weight == OWN_WEIGHTS[1]
    for _ in range(12):
        if worth.used:
            worth.learn(VAIN)
    assert not worth.used
    assert until_tried(worth) == AGAIN


def test_what_is_perfect_needs_no_own_results():
    worth = Worth()
    worth.learn((1.0, 1.0, 1.0, 1.0))
    assert not worth.used


def test_what_nothing_tells_of_any_more_is_tried_again():
    """As with I frames so often that no keyframe with an own result is ever finished."""
    worth = Worth()
    worth.learn(GOOD)
    for left in range(AGAIN, 0, -1):
        assert worth.used and not worth.tried, left
        worth.learn(())
    assert worth.tried and not worth.used


@pytest.mark.parametrize(("used", "share"), [(False, BEGUN), (True, STAYS)])
def test_how_many_errors_may_be_left(used, share):
    for left, good in ((share - 0.01, True), (share + 0.01, False)):
        worth = Worth(used=used)
        worth.learn((0.5, 0.0, 1 - 0.5 * left, 0.0))
        assert worth.used == good


def begun(budget=None, slowest=0.4, costs=COSTS):
    policy = POLICIES["ensemble"](None if budget is None else Amount(budget, "hr"), Amount(slowest, "hr"))
    assert isinstance(policy, LiveEnsemble)
    policy.begin(costs, gop=12, live=True)
    return policy


def test_own_results_leave_less_for_keyframes():
    policy = begun()
    assert (policy.spread, policy.every) == (3, 3)
    policy.learn(GOOD)
    assert (policy.spread, policy.every) == (7, 7)  # 1 / 7 + 0.25 < 0.4
    for _ in range(12):
        policy.learn(VAIN)
    assert (policy.spread, policy.every) == (3, 3)


def test_a_budget_holds_in_both_ways():
    policy = begun(budget=0.3)
    assert (policy.spread, policy.every) == (3, pytest.approx(1 / 0.3))
    policy.learn(GOOD)
    assert (policy.spread, policy.every) == (7, pytest.approx(20))
    policy = begun(budget=0.2)  # less than own results alone
    policy.learn(GOOD)
    assert (policy.spread, policy.every) == (3, 5) and policy.ways == {"warp", "lr"}
    assert policy.way(SimpleNamespace(keyframe=True)) == "warp"


def test_a_bound_that_keyframes_keep_needs_no_own_results():
    policy = begun(slowest=1.0)
    assert policy.spread == 1 and policy.ways == {"warp", "lr"}
    assert policy.way(SimpleNamespace(keyframe=True)) == "warp"


def test_a_stream_that_falls_behind_has_no_own_results():
    policy, frame = begun(), SimpleNamespace(keyframe=False)
    policy.learn(GOOD)
    assert policy.way(frame) == "ensemble"
    policy.stretch(2)
    assert policy.way(frame) == "warp" and (policy.spread, policy.every) == (3, 3)
    policy.learn(())
    assert policy.way(frame) == "warp"
    policy.stretch(1)
    assert policy.way(frame) == "warp"  # a keyframe's work may be spread over 3 frames now
    policy.learn(())
    assert policy.way(frame) == "ensemble" and policy.spread == 7


def starts(policy, count, change_at=(), shares=()):
    """Where groups start in a calm stream; at some frames a keyframe is finished, as the frame is looked at."""
    keys = [0]
    vectors, luma = np.zeros((2, 2, 2), np.int16), np.ones((2, 2), np.float32)
    for index in range(1, count):
        seen = Candidate(index, index - keys[-1], len(keys), "P", luma, luma, vectors, np.ones((2, 2), bool))
        if policy.starts(seen):
            keys.append(index)
        if index in change_at:
            policy.learn(shares)
    return keys


def test_from_one_way_to_the_other_no_keyframe_is_lost():
    assert starts(begun(), 12) == [0, 4, 7, 10]  # the first one's work begins a frame late
    assert starts(begun(budget=0.3), 18) == [0, 4, 7, 10, 14, 17]
    assert starts(begun(), 30, [4], GOOD) == [0, 4, 11, 18, 25]
    for at in (10, 12):  # a frame where a group starts, and another
        assert starts(begun(budget=0.3), 60, [at], GOOD)[:6] == [0, 4, 7, 10, at + 19, at + 39]


def test_told_are_the_pixels_whose_class_was_right(tiny):
    engine = VideoSegmenter(tiny, slowest="60%", height="video")._engine
    right = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]]])
    moved = torch.tensor([[[[0.3, 0.0, 0.0, 0.3]], [[0.0, 0.2, 0.2, 0.0]]]])  # two of four
    own = torch.tensor([[[[0.0, 9.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, 1.0]]]])  # the other two
    found = engine.told((moved, own), Keyframe(right, right), torch.tensor([0.0, 0.1, 1.0]))
    assert found.tolist() == [0.5, 0.75, 1.0]


def streamed(moving, tiny, shares):
    """Results of a whole run in which every trial ends with `shares`, and what the engine was asked for."""
    segmenter = VideoSegmenter(tiny, slowest="60%", height="video")
    engine, asked = segmenter._engine, []
    plain = {name: getattr(engine, name) for name in ("beside", "beside_and_parts", "after", "keyframes")}

    def noted(name):
        def call(frames, *args, **options):
            if name == "keyframes":  # of a thread beside
                return plain[name](frames, *args, **options)
            one = frames if name == "beside_and_parts" else frames[0]
            asked.append((one.index, name, *(float(x) for x in args[1:] if isinstance(x, torch.Tensor))))
            return plain[name](frames, *args, **options)

        return call

    for name in plain:
        setattr(engine, name, noted(name))
    engine.told = lambda parts, key, weights: torch.tensor(shares)
    return list(segmenter.stream(moving)), asked


@pytest.mark.slow
def test_frames_have_their_own_results_while_these_are_worth_it(moving, tiny):
    results, asked = streamed(moving, tiny, GOOD)
    costs = VideoSegmenter(tiny, slowest="60%", height="video")
    policy = costs.new_policy()
    costs.begin(policy, (96, 128), live=True)
    alone, beside = policy.spread, policy._paces[True][0]
    assert 1 < alone < beside
    keys = [result.index for result in results if result.keyframe]
    own = [name.startswith("beside") for _, name, *_ in asked]
    first = own.index(True) + 1  # frame 0 is its own stand-in
    tried = keys[1]
    assert asked[first - 1][:2] == (tried, "beside_and_parts")
    learnt = tried + 1 + alone  # its work begins a frame later, for it had its own result in this one
    assert [index for index, name, *_ in asked if name == "after"] == [*range(1, first), *range(first + 1, learnt)]
    assert own[learnt - 1 :] and all(own[learnt - 1 :])
    assert {round(weight, 6) for *_, weight in asked[learnt - 1 :]} == {OWN_WEIGHTS[2]}
    assert keys[1] == alone + 1 and keys[2] == tried + 1 + alone  # works that begin a frame later
    later = [key for key in keys if key >= learnt]
    assert all(b - a == beside for a, b in itertools.pairwise(later))


@pytest.mark.slow
def test_what_is_told_later_is_what_labels_were_made_of(moving, tiny):
    engine = VideoSegmenter(tiny, slowest="60%", logits=True, height="video")._engine
    with VideoReader(moving, gop=250) as reader:
        frames = list(itertools.islice(reader, 4))
    _, (key,) = engine.keyframes(frames[:1])
    for weight in map(key.key_logits.new_tensor, OWN_WEIGHTS[1:]):
        labels, (moved, own) = engine.beside_and_parts(frames[3], key, weight)
        np.testing.assert_array_equal(labels()[0], engine.beside([frames[3]], key, weight)()[0])
        assert np.mean(labels.logits()[0].argmax(0) != (moved + weight * own)[0].argmax(0).numpy()) < 1e-3


@pytest.mark.slow
def test_own_results_in_vain_are_made_at_trials_alone(moving, tiny):
    results, asked = streamed(moving, tiny, VAIN)
    own = [index for index, name, *_ in asked if name != "after"]
    keys = [result.index for result in results if result.keyframe]
    assert [keys.index(index) for index in own] == [1, 2 + AGAIN, 3 + 3 * AGAIN]


@pytest.mark.slow
def test_an_i_frame_every_twelve_frames(tmp_path, apart):
    """Its stand-in is moved until its own work is done, spread as without own results, however good these are."""
    path = tmp_path / "often.mp4"
    encode(busy_scene(40, (96, 128)), path, gop=12)
    results, asked = streamed(path, apart, GOOD)
    least = VideoSegmenter(apart, slowest="60%", height="video")
    policy = least.new_policy()
    least.begin(policy, (96, 128), live=True)
    made = {index: name for index, name, *_ in asked}
    assert [result.index for result in results if result.frame_type == "I"] == [0, 12, 24, 36]
    for intra in (12, 24):
        ready = intra + 1 + policy.least_spread
        assert [made[index] for index in range(intra + 1, ready)] == ["after"] * (ready - intra - 1)
        assert made[ready].startswith("beside")


@pytest.mark.slow
def test_frames_that_were_lost_are_no_end(moving, apart):
    """All of those in which a keyframe's work would have begun, after the first frame and after a trial."""
    segmenter = VideoSegmenter(apart, slowest="60%", height="video")
    policy = segmenter.new_policy()
    with VideoReader(moving, **segmenter.reading(policy)) as reader:
        segmenter.begin(policy, (96, 128), live=True)
        late = (dataclasses.replace(frame, index=frame.index + 20 * (frame.index > 0)) for frame in reader)
        results = list(segmenter.segment_all(itertools.islice(late, 12), policy=policy, live=True))
    assert [result.index for result in results] == [0, *range(21, 32)]


def test_a_bound_alone_tries_own_results(tiny):
    assert isinstance(VideoSegmenter(tiny, slowest="60%").new_policy(), LiveEnsemble)
    assert not isinstance(VideoSegmenter(tiny, slowest="60%", policy="bidirectional").new_policy(), LiveEnsemble)
    assert not isinstance(VideoSegmenter(tiny, budget="60%").new_policy(), LiveEnsemble)


@pytest.mark.parametrize(("policy", "branch"), [("ensemble", True), ("ar", True), ("warp", False)])
def test_the_branch_stands_in_where_it_is_asked_for(policy, branch, moving, apart):
    segmenter = VideoSegmenter(apart, slowest="60%", policy=policy, logits=True, height="video")
    with VideoReader(moving) as reader:
        frame = next(iter(reader))
    image = network_input(frame.image, frame.image.shape[:2], segmenter.label_set, torch.device("cpu"))
    with torch.inference_mode():
        feature = apart.low_res(image) if branch else apart.keyframe(apart.shrink(image))
        expected = apart.classifier(feature)
    labels, key = segmenter._engine.low_keyframe(frame)
    torch.testing.assert_close(key.key_logits, expected, atol=1e-3, rtol=1e-3)
    assert np.mean(labels()[0] != apart.labels(expected, frame.image.shape[:2])[0].numpy()) < 1e-3


@pytest.mark.slow
def test_the_method_has_finished_keyframes_where_i_frames_come_often(tmp_path, apart):
    """After a stand-in frames are moved alone, so the network may have all of the bound but that."""
    path = tmp_path / "often.mp4"
    encode(busy_scene(40, (96, 128)), path, gop=12)
    costs = costs_of(VideoSegmenter(apart, height="video")._engine, (96, 128), ("ar", "warp"), "hr")
    tight = f"{100 * (costs.of('ar') + costs.key / 30):.2f}%"  # its share of the bound beside the method: a thirtieth
    segmenter = VideoSegmenter(apart, policy="ar", slowest=tight, height="video")
    policy = segmenter.new_policy()
    segmenter.begin(policy, (96, 128), live=True)
    assert policy.spread >= 29 and policy.least_spread < 5
    made = []
    engine = segmenter._engine
    after = engine.after
    engine.after = lambda frames, key, way=None: made.extend((f.index, way) for f in frames) or after(frames, key, way)
    with VideoReader(path, **segmenter.reading(policy)) as reader:
        results = list(segmenter.segment_all(reader, policy=policy, live=True))
    assert len(results) == 40
    by_method = [index for index, way in made if way == "ar"]
    assert {index // 12 for index in by_method} == {0, 1, 2}, "in each group, once its keyframe is there"
