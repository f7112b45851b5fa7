"""The residual while it is trained: what it is without one, where its gradient goes, and a run in parts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from arseg.data.pairs import still_clip
from arseg.data.street import StreetScene
from arseg.labels import CAMVID, CAMVID_VOID
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.paper.published import make_published
from arseg.networks.pyramid import PyramidNet
from arseg.networks.trust import LearnedResidual
from arseg.train.default.ar import fst_loss, train_ar
from arseg.train.default.pairs import frames_at, sample_pairs
from arseg.train.default.recipes import ArRecipe, settings_of
from arseg.train.finish import Finish
from arseg.train.schedule import Schedule
from arseg.weights.files import load_checkpoint, read_config, save_checkpoint

RECIPE = ArRecipe(
    steps=4,
    batch=2,
    crop=(64, 96),
    low_steps=0,
    streets=0,
    calibration=0,
    keyframe_weight=0.0,
    keyframe_detail=0.0,
    keyframe_residual=0.7,
)


@pytest.fixture(scope="module")
def stills():
    street = StreetScene(1, width=160, height=120)
    return [street.frame(index) for index in (0, 40)]


@pytest.fixture(scope="module")
def root(stills, tmp_path_factory):
    """The stills in CamVid's layout; the sky has no label."""
    folder = tmp_path_factory.mktemp("camvid")
    for name, which in (("train", 0), ("trainannot", 1)):
        (folder / name).mkdir()
        for index, still in enumerate(stills):
            picture = still[which] if which == 0 else np.where(still[1] == 0, np.uint8(11), still[1])
            Image.fromarray(picture).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def high(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("high") / "hr.safetensors"
    config = {"classes": 11, "channels": 16, "wide": 16, "labels": CAMVID.to_json()}
    save_checkpoint(PyramidNet(11, 16, 16).state_dict(), path, kind="hr", config=config, half=False)
    return path


def a_batch(stills, recipe):
    rng = np.random.default_rng(0)
    pairs = [(frames_at([still_clip(stills[0], rng, keep=3)], recipe.distances), 2)]
    return Finish.of(CAMVID)(sample_pairs(pairs, recipe, rng))


def a_network(**options):
    torch.manual_seed(0)
    net = ARSegNet(PyramidNet(11, 16, 16), channels=16, label_set=CAMVID, **options).eval()
    net.high.requires_grad_(False)
    torch.nn.init.normal_(net.classifier.weight, std=0.5)
    for parameter in net.low.parameters():
        parameter.data.mul_(1.1)  # else both branches are the same
    return net


@pytest.mark.slow
def test_the_gradient_reaches_both_numbers_and_the_branch_through_both_frames(stills):
    net, batch = a_network(), a_batch(stills, RECIPE)
    learned = LearnedResidual(0.7, 32.0)
    seen = []
    hook = net.low.register_forward_hook(lambda *_: seen.append(1))
    original = net.low.features
    net.low.features = lambda image: (seen.append(image.shape), original(image))[1]
    terms = fst_loss(net, net.high.features, batch, torch.ones(11), RECIPE, learned)
    hook.remove()
    assert len(seen) == 2, "the keyframe and the frame"
    sum(terms.values()).backward()
    for parameter in learned.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite() and parameter.grad.abs() > 0
    assert sum(p.grad.abs().sum() for p in net.low.parameters() if p.grad is not None) > 0
    assert all(p.grad is None for p in net.high.parameters())


@pytest.mark.slow
def test_nothing_of_the_residual_is_the_method_without_it(stills):
    """As its gain goes to 0 the terms are those of a network without one; at 0 the recipe is an older one's."""
    batch = a_batch(stills, RECIPE)
    net = a_network()
    plain = fst_loss(net, net.high.features, batch, torch.ones(11), RECIPE)
    tiny, some = (
        fst_loss(net, net.high.features, batch, torch.ones(11), RECIPE, LearnedResidual(gain, 32.0))
        for gain in (1e-9, 0.7)
    )
    for name, term in plain.items():
        torch.testing.assert_close(tiny[name], term, rtol=2e-3, atol=2e-3)
    assert abs(some["distillation"] - plain["distillation"]) > 5e-3
    assert "keyframe_residual" not in settings_of(ArRecipe()) and "keyframe_residual" in settings_of(RECIPE)


def test_what_is_learned_stays_positive_and_starts_where_it_is_told():
    learned = LearnedResidual(0.74, 33.6)
    assert learned.constants() == pytest.approx({"keyframe_residual": 0.74, "residual_tau": 33.6})
    with torch.no_grad():
        for parameter in learned.parameters():
            parameter.sub_(20)
    assert all(value > 0 for value in learned.constants().values())


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["attention", "none"])
def test_a_run_in_parts_ends_with_the_same_bits_and_the_file_has_what_was_learned(
    root, high, tmp_path, monkeypatch, fusion
):
    recipe, lines = replace(RECIPE, fusion=fusion, lr=0.01), []
    whole = train_ar(root, high, tmp_path / "whole", recipe, lines.append)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        calls = []

        def stop(*given):
            calls.append(1)
            if len(calls) > 2:
                raise KeyboardInterrupt
            return fst_loss(*given)

        patched.setattr("arseg.train.default.ar.fst_loss", stop)
        patched.setattr("arseg.train.default.ar.Schedule", partial(Schedule, save_every=2))
        train_ar(root, high, tmp_path / "parts", recipe, lambda line: None)
    assert (tmp_path / "parts" / "state.pt").exists()
    parts = train_ar(root, high, tmp_path / "parts", recipe, lambda line: None)
    first, second = load_checkpoint(whole), load_checkpoint(parts)
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())
    config = read_config(whole)[1]
    assert first.keyframe_residual == config["keyframe_residual"] == read_config(parts)[1]["keyframe_residual"]
    assert isinstance(first.residual_tau, float) and first.residual_tau == second.residual_tau
    assert abs(first.keyframe_residual - 0.7) > 1e-3, "it has learned"
    assert lines[-1].startswith("residual: 0.")
    assert not any("learned" in key for key in first.state_dict()), "plain numbers in the end"


@pytest.mark.slow
def test_a_network_of_the_paper_is_trained_with_void_as_its_class_and_without_its_heads(root, tmp_path):
    net = make_published("camvid-bise18")
    config = {"arch": "camvid-bise18", "auxiliary": True, "labels": CAMVID_VOID.to_json()}
    save_checkpoint(net.state_dict(), tmp_path / "hr.safetensors", kind="hr", config=config, half=False)
    recipe = replace(RECIPE, steps=1, fusion="none")
    path = train_ar(root, tmp_path / "hr.safetensors", tmp_path / "ar", recipe, lambda line: None)
    trained = load_checkpoint(path)
    assert trained.label_set.classes[-1] == "void" and trained.classifier.out_channels == 12
    assert trained.high.auxiliary is None and trained.low.auxiliary is None
    assert all(value.isfinite().all() for value in trained.state_dict().values())
