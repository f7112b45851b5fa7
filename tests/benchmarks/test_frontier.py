"""The frontier's own functions: where keyframes are, what fields back are, what a policy is scored by."""

from __future__ import annotations

import json
from types import SimpleNamespace

import by_distance
import frontier
import frontier_plot
import frontier_ways
import numpy as np
import pytest
import torch
from frontier_signals import Recording

HEIGHT, WIDTH = 32, 48


@pytest.fixture
def recording() -> Recording:
    """Twelve frames of random logits of three classes; the picture moves 4 pixels to the right from frame to frame."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 3, HEIGHT // 4, WIDTH // 4, generator=generator).half()
    vectors = torch.zeros(12, HEIGHT // 4, WIDTH // 4, 2, dtype=torch.int16)
    vectors[1:, ..., 0] = -16
    labels = logits.argmax(1).repeat_interleave(4, 1).repeat_interleave(4, 2).byte()
    picture = torch.randint(0, 256, (1, 1, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    luma = torch.cat([picture.roll(4 * t, 3) for t in range(12)])
    valid = torch.ones(vectors.shape[:3], dtype=torch.bool)
    costs = {"hr": 10.0, "ar": 3.0, "lr": 2.5}
    intra = [t == 0 for t in range(12)]
    return Recording(3, logits, logits, labels, labels, luma, vectors, valid, intra, labels, costs)


@pytest.fixture
def frames(recording) -> frontier_ways.Frames:
    def labels(logits, size):
        assert size == (HEIGHT, WIDTH)
        return logits.argmax(1).repeat_interleave(4, 1).repeat_interleave(4, 2).byte()

    return frontier_ways.Frames(recording, SimpleNamespace(labels=labels))


def test_regular_keyframes_start_anew_at_intra_frames_and_at_the_phase():
    intra = [t in (0, 7) for t in range(12)]
    assert frontier_ways.regular(intra, 3) == [0, 3, 6, 7, 10]
    assert frontier_ways.regular(intra, 4, phase=2) == [0, 2, 6, 7, 11]


def test_keyframes_where_e_gathers_hold_their_share_within_one(frames):
    for share in (1 / 2, 1 / 3, 1 / 4):
        found = frontier_ways.gathering(frames, share)
        assert abs(len(found) - share * len(frames)) <= 1
        assert found[0] == 0 and found == sorted(set(found))


def test_the_best_places_are_those_of_an_exhaustive_search():
    gains = np.random.default_rng(0).random((6, 6))
    gain = {(key, t): float(gains[key, t]) for key in range(6) for t in range(key, 6)}

    def total(keys):
        return sum(gain[max(key for key in keys if key <= t), t] for t in range(6))

    best = max(([0, a, b] for a in range(1, 6) for b in range(a + 1, 6)), key=total)
    assert frontier_ways.best_places(gain, 3, 6) == best
    with pytest.raises(ValueError, match="1 keyframes do not reach all of 6 frames"):
        frontier_ways.best_places({place: g for place, g in gain.items() if place[1] - place[0] < 3}, 1, 6)


def test_fields_back_undo_the_steady_motion(frames):
    found = frontier_ways.back_from(frames, 0, 4)
    assert sorted(found) == [1, 2, 3]
    for t, (vectors, _) in found.items():
        assert (vectors[:, :4] == (16 * (4 - t), 0)).all()  # those at the right edge lead out of the picture


def test_the_warp_follows_the_motion_and_keyframes_are_the_networks_own(frames, recording):
    made = list(frontier_ways.warped(frames, [0, 6]))
    assert [cost for _, cost in made] == [1.0 if t in (0, 6) else 0.0 for t in range(12)]
    assert (made[6][0] == recording.labels[6].numpy()).all()
    assert (made[2][0][:, 8:] == recording.labels[0].numpy()[:, :-8]).all()


def test_every_policy_labels_every_frame_and_says_what_it_costs(frames, recording):
    for way in frontier_ways.ways((3, 4, 6, 12)):
        row = frontier.scored(recording, way.run(frames))
        assert 0 < row["compute"] <= 1 and 0 <= row["slowest"] <= 1.25, way.name
        assert 0 <= row["agreement"] <= 100 and 0 <= row["miou"] <= 100, way.name
    assert frontier.scored(recording, frontier_ways.every_frame(frames))["agreement"] == 100


def test_tiles_that_are_all_refreshed_are_the_networks_own(frames, recording):
    made = list(frontier_ways.tiles(frames, [0], 48))
    assert [cost for _, cost in made] == [1.0] + [1.5] * 11
    assert all((labels == recording.labels[t].numpy()).all() for t, (labels, _) in enumerate(made))


def test_a_tile_is_refreshed_where_the_codec_has_no_vectors(frames, recording):
    recording.valid[1, 4:, 6:] = False  # the lower right quarter
    refreshed = list(frontier_ways.tiles(frames, [0], 12))[1][0] == recording.labels[1].numpy()
    assert refreshed[16:, 24:].all() and not refreshed.all()


def test_the_branch_is_seen_in_holes_alone(frames, recording):
    recording.low = recording.logits.flip(1)
    recording.valid[1, 4:] = False
    mixed = [list(frontier_ways.mixed(frames, [0, 6], late=late, tau=None)) for late in (False, True)]
    own = frames.labels(frames.branch(1))
    warped = list(frontier_ways.warped(frames, [0]))[1][0]
    assert (mixed[0][1][0][16:] == own[16:]).all()
    assert (mixed[0][1][0][:16, 8:] == warped[:16, 8:]).all()
    assert (mixed[0][6][0] == recording.labels[6].numpy()).all()
    assert [cost for _, cost in mixed[1]] == [1.0 if t in (0, 6) else 0.25 for t in range(12)]


def test_a_branch_counts_as_the_later_keyframe_proves_it(frames, recording):
    assert frontier_ways.tested(frames, 0, 6) == frontier_ways.OWN_WEIGHTS[-1]  # the branch is the network itself
    recording.low = -recording.logits
    assert frontier_ways.tested(frames, 0, 6) == 0
    made = [list(frontier_ways.both_sides(frames, [0, 6], **how)) for how in ({}, {"branch": frontier_ways.tested})]
    for (one, _), (other, _) in zip(*(part[:6] for part in made), strict=True):
        assert (one == other).all()
    assert [cost for _, cost in made[1][:7]] == [1.25, 0, 0, 0, 0, 0, 1.25]


def test_by_distance_each_place_of_the_keyframes_counts(frames, recording):
    found = by_distance.measured(frames, "HR")
    assert found["agreement"]["by_distance"] == [100.0] * 11 and found["miou"]["mean"] == 100
    warp, default = (by_distance.measured(frames, way)["agreement"]["by_distance"] for way in ("warp", "default"))
    at = [frontier_ways.regular(recording.intra, 12, place) for place in by_distance.PLACES]
    assert at == [[0], [0, 3], [0, 6], [0, 9]]
    one = {}
    for keys in at:
        labelled = enumerate(frontier_ways.warped(frames, keys))
        one[tuple(keys)] = [100 * (labels == frames.given(t)).mean() for t, (labels, _) in labelled]
    assert warp[6] == pytest.approx(np.mean([one[0,][7], one[0, 3][10], one[0, 9][7]]), abs=0.01)
    assert all(a >= b - 1e-9 for a, b in zip(default, warp, strict=True))


def test_results_are_tabled_with_means_over_the_clips(tmp_path):
    row = {"family": "warp", "late": False, "compute": 0.25, "slowest": 1.0, "agreement": 90.0, "miou": 60.0}
    row["consistent"] = 97.0
    streams = {"val": {"rows": {"warp, L = 4": row}}}
    for name, agreement in (("road 30", 80.0), ("road 15", 70.0)):
        streams[name] = {"rows": {"warp, L = 4": {**row, "agreement": agreement, "miou": None}}}
    (tmp_path / "frontier-lite0.json").write_text(json.dumps({"streams": streams}))
    found = frontier_plot.read(tmp_path)
    assert frontier_plot.clips(found["lite0"])["warp, L = 4"]["agreement"] == 75
    assert "| warp, L = 4 | 0.25 | 1.00 | 60.00 | 90.00 | 80.00 | 70.00 | 97.0 · 97.0 |" in frontier_plot.table(
        tmp_path
    )
    assert frontier_plot.flat({"a": {**row, "late": True}})["a"]["slowest"] == 0.25
