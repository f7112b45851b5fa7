"""Constants of trust: what they are chosen by is the step, and the search finds what was planted."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from helpers.network_kinds import make
from helpers.texture_clips import moving_texture

from arseg.data.groups import store_groups
from arseg.errors import InputError
from arseg.preprocess import normalise
from arseg.train.trust import GRID, PLAIN, WEIGHT, Sample, fit_trust, having, sample_cells, search
from arseg.video import encode


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups")
    encode(moving_texture(8, 48, 64), folder / "texture.mp4", rate=15, gop=4, crf=23)
    return store_groups(folder / "texture.mp4", folder, gop=4)


GIVEN = (
    {**PLAIN, "keyframe_weight": 0.5},
    {**PLAIN, "keyframe_weight": 4.0, "keyframe_decay": 0.5, "keyframe_tau": 6.0},
    {**PLAIN, "keyframe_weight": 0.0, "keyframe_residual": 0.75},
    {**PLAIN, "keyframe_decay": 0.0, "keyframe_tau": 12.0, "keyframe_residual": 1.0, "residual_tau": 16.0},
)


@pytest.mark.slow
@torch.no_grad()
def test_the_agreement_it_chooses_by_is_that_of_the_network_with_those_constants(groups):
    torch.manual_seed(0)
    net = make("joined with the keyframe")
    torch.nn.init.normal_(net.classifier.weight, std=3)
    sample = sample_cells(net, groups, gop=4, autocast=nullcontext)
    assert len(sample.truth) == 2 * 3 * 12 * 16, "all cells: fewer than are looked at"
    assert net.keyframe_weight == 0.7 and sample.distance.unique().tolist() == [1, 2, 3]
    found = []
    for constants in GIVEN:
        same = []
        with having(net, constants):
            for group in groups:
                labels = net.label_set
                frames = [
                    normalise(torch.from_numpy(group.image(d)).permute(2, 0, 1)[None], labels.mean, labels.std)
                    for d in range(4)
                ]
                reference = net.keyframe(frames[0])
                kept = net.classifier(reference)
                signals = net.keyframe_signals(frames[0], reference, kept)
                for d in range(1, 4):
                    where = {"block": 4, "frame_size": group.coded, "signals": signals}
                    motion = torch.from_numpy(group.vectors(d))[None]
                    logits = net.step(frames[d], reference, motion, d, kept, **where)
                    truth = net.classifier(net.keyframe(frames[d])).argmax(1)
                    same.append((logits.argmax(1) == truth).double().mean().item())
        found.append(100 * sum(same) / len(same))
        assert sample.agreement(constants) == pytest.approx(found[-1], abs=0.2), "but for ties and rounding"
    assert len({round(x, 1) for x in found}) >= 3, "else it would show nothing"


def planted(tau=None, residual_tau=None, count=8_000):
    """Cells of two classes, of which the keyframe is right as far as e is small, and the branch wrong by a constant."""
    generator = torch.Generator().manual_seed(0)
    error = torch.rand(count, generator=generator) * 40
    truth = torch.randint(2, (count,), generator=generator)
    sign = 2.0 * truth - 1
    right = torch.ones(count) if tau is None else torch.where(error < tau, 1.0, -1.0)
    flip = torch.where(torch.rand(count, generator=generator) < 0.2, -1.0, 1.0)  # what the branch takes for the other

    def two(x):
        return torch.stack([-x, x], 1)

    residual = (1 - flip) * sign * (1.0 if residual_tau is None else torch.where(error < residual_tau, 1.0, -1.0))
    distance = 1 + torch.arange(count) % 3
    return Sample(two(flip * sign), two(0.9 * right * sign), two(residual), error, distance, truth)


@pytest.mark.slow
def test_trust_is_found_where_the_error_tells_who_is_right():
    fits = fit_trust(planted(tau=10.0), residual=False)
    assert list(fits) == ["weight", "trust", "chosen"] and fits["chosen"] == fits["trust"]
    assert fits["weight"].constants["keyframe_tau"] is None
    assert fits["trust"].constants["keyframe_tau"] in GRID["keyframe_tau"][1:]
    assert fits["trust"].agreement > fits["weight"].agreement + 3


@pytest.mark.slow
def test_the_residual_is_taken_where_it_is_worth_a_pass():
    fits = fit_trust(planted(tau=0.0))
    assert fits["chosen"] == fits["residual"] and fits["residual"].constants["keyframe_residual"] >= 0.75
    assert fits["residual"].agreement > 99 and fits["trust"].agreement < 85
    assert "+ residual" in fits["chosen"].text() and "exp" not in fits["weight"].text()
    useless = planted(tau=10.0)._replace(residual=torch.zeros(8_000, 2))
    fits = fit_trust(useless)
    assert fits["chosen"] == fits["trust"] and fits["chosen"].constants["keyframe_residual"] == 0
    assert fit_trust(useless, residual=True)["chosen"].agreement >= fits["trust"].agreement - 1e-6


def test_equal_constants_stay_the_simplest():
    sample = planted()._replace(own=torch.zeros(8_000, 2))  # any weight of the keyframe is right
    fit = search(sample, WEIGHT)
    assert fit.constants == PLAIN and fit.agreement == 100


def test_every_distance_counts_alike():
    sample = planted(tau=0.0)
    far = Sample(*(torch.cat([x, x[sample.distance == 3]]) for x in sample))
    assert far.agreement(PLAIN) == pytest.approx(sample.agreement(PLAIN), abs=1e-9)


def test_frames_after_a_keyframe_are_needed(groups):
    with pytest.raises(InputError, match=r"^groups: expected frames after a keyframe, got none"):
        sample_cells(make("default"), [], gop=4, autocast=nullcontext)
