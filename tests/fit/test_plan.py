"""Which phases there is data for, and what they depend on."""

from __future__ import annotations

import pytest
import torch

from arseg.errors import InputError
from arseg.fit.config import config_of
from arseg.fit.plan import is_ours, kind_of, open_plan, phases_for
from arseg.fit.show import plan_lines
from arseg.labels import LabelSet
from arseg.networks.pyramid import PyramidNet
from arseg.weights.files import save_checkpoint


@pytest.mark.parametrize(
    ("stills", "videos", "trained", "ours", "phases"),
    [
        (True, False, None, True, ("hr", "ar")),
        (True, False, None, False, ("hr", "ar")),
        (False, True, None, True, ("adapt",)),
        (False, True, "hr", False, ("adapt",)),
        (True, True, None, True, ("hr", "ar")),
        (True, True, None, False, ("hr", "ar", "adapt")),
        (True, False, "hr", True, ("ar",)),
        (True, True, "state", False, ("ar", "adapt")),
        (True, True, "ar", True, ("adapt",)),
        (True, False, "accelerated", False, ()),
    ],
)
def test_the_phases_are_those_that_there_is_data_for(stills, videos, trained, ours, phases):
    assert phases_for(stills=stills, videos=videos, trained=trained, ours=ours) == (*phases, "report")


def test_the_packages_own_network_is_known_by_its_line():
    assert is_ours(None) and is_ours("pyramid?encoder=efficientnet-lite1") and not is_ours("timm:resnet18")


def plan_of(**settings):
    config = config_of(("", {key.replace("__", "."): value for key, value in settings.items()}))
    return open_plan(config)


def test_a_plan_says_what_of_and_how_many_steps(labelled, drive):
    plan = plan_of(data__source=str(labelled), data__videos=[str(drive)], hr__steps=7, ar__low_steps=0, ar__steps=9)
    assert [phase.name for phase in plan.phases] == ["hr", "ar", "report"]
    assert [dict(phase.steps) for phase in plan.phases] == [{"hr": 7}, {"branch and fusion": 9}, {}]
    text = "\n".join(plan_lines(plan, {"hr": "done"}))
    stills = plan.sources.stills
    assert f"{stills} labelled stills" in text and "3 classes" in text and "1 video without labels" in text
    assert "  hr (done already): the network" in text and "; 7 steps" in text
    assert "val, by distance to the keyframe" in text and plan.sources.data.split_by in text


def test_a_phase_depends_on_its_own_settings_and_data(labelled, drive, tmp_path):
    of = plan_of(data__source=str(labelled), data__videos=[str(drive)])
    hr, ar, _ = (phase.settings for phase in of.phases)
    assert hr["data"] == ar["data"] == of.sources.data.fingerprint() and "drive.mp4" in ar["videos"][0]
    other = plan_of(data__source=str(labelled), data__videos=[str(drive)], ar__steps=5, eval__stills=3)
    assert other.phases[0].settings == hr and other.phases[1].settings == {**ar, "steps": 5}


def test_no_data_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"\[data\]: expected labelled stills \(source\), videos, or both, got none"):
        plan_of()
    with pytest.raises(InputError, match=r"\[data\]: videos: .*none.mp4: no such file"):
        plan_of(data__videos=["none.mp4"])


def test_videos_are_named_by_patterns_too(drive):
    assert plan_of(data__videos=[str(drive.parent / "*.mp4"), str(drive)]).sources.videos == (drive,)


def test_what_weights_are_is_read_from_them(tmp_path):
    net = PyramidNet(3, 8, 8)
    save_checkpoint(net.state_dict(), tmp_path / "w.safetensors", kind="hr", config={"classes": 3})
    torch.save(net.state_dict(), tmp_path / "w.pth")
    assert kind_of(tmp_path / "w.safetensors") == "hr" and kind_of(tmp_path / "w.pth") == "state"
    save_checkpoint({}, tmp_path / "f.safetensors", kind="fused", config={})
    with pytest.raises(InputError, match="expected weights of a whole network, got some of kind 'fused'"):
        kind_of(tmp_path / "f.safetensors")
    with pytest.raises(InputError, match=r"\[model\]: weights: .*none.pth: no such file"):
        kind_of(tmp_path / "none.pth")


def test_weights_of_other_classes_are_refused_before_the_work(labelled, tmp_path):
    labels = LabelSet.of(2, classes=("cat", "dog"))
    config = {"classes": 2, "labels": labels.to_json()}
    save_checkpoint(PyramidNet(2, 8, 8).state_dict(), tmp_path / "w.safetensors", kind="hr", config=config)
    with pytest.raises(
        InputError, match=r"w.safetensors: know 2 classes \(cat, dog, …\), and the data has labelled.*'s 3"
    ):
        plan_of(data__source=str(labelled), model__weights=str(tmp_path / "w.safetensors"))


def test_a_device_that_is_not_there_is_refused_first():
    with pytest.raises(InputError, match=r"device: expected a device of torch, .* got 'abacus'"):
        plan_of(device="abacus")


def test_a_state_needs_its_network(drive, tmp_path):
    torch.save({}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"\[model\]: .*w.pth does not say what network it is of; give line, too"):
        plan_of(data__videos=[str(drive)], model__weights=str(tmp_path / "w.pth"))
