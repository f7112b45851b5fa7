"""Runs of version 0.1 go on: their states are read, and their settings' names are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from arseg.errors import InputError
from arseg.train.loop import train
from arseg.train.schedule import Schedule
from arseg.train.settings import RENAMED

OLD = Path(__file__).resolve().parents[1] / "fixtures" / "train" / "run_of_0_1.pt"
"""Of commit cb10479: "state", `state.pt` after 20 of 40 steps, and "result", what a run without a stop returned."""
SETTINGS = {"steps": 40, "lr": 1e-2, "ema_decay": 0.99, "max_grad_norm": 5.0, "low_lr_scale": 0.3, "crop": (2, 3)}


def resumed(folder: Path, settings: dict) -> dict[str, torch.Tensor]:
    torch.save(torch.load(OLD, weights_only=True)["state"], folder / "state.pt")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))

    def sample(step, rng):
        x = torch.from_numpy(rng.standard_normal((16, 4)).astype("float32"))
        return {"x": x, "y": x.sum(1, keepdim=True)}

    first, rest = list(model[0].parameters()), [p for module in model[1:] for p in module.parameters()]
    return train(
        model,
        [{"params": first, "lr_scale": 0.5}, {"params": rest}],
        sample,
        lambda batch: {"fit": nn.functional.mse_loss(model(batch["x"]), batch["y"])},
        Schedule(40, 1e-2, warmup=5, log_every=5, save_every=10, validate_every=10),
        folder,
        settings=settings,
        report=lambda line: None,
        validate=lambda done, weights: ("all", {"miou": 1.0}),
    )


def test_a_state_of_0_1_ends_as_it_would_have(tmp_path):
    found, expected = resumed(tmp_path, SETTINGS), torch.load(OLD, weights_only=True)["result"]
    assert list(found) == list(expected)
    # A bias before batch normalisation has no gradient but rounding, which AdamW enlarges to whole steps of `lr`; it
    # changes nothing but the running mean. With as many threads as made the file they are the same, too.
    drifts = {"0.bias": 2e-2, "1.running_mean": 2e-2}
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=drifts.get(key, 1e-5), msg=key)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == 40 and state["best"] == {"all": (1.0, 10)}, "the best of before is remembered"
    assert set(json.loads(state["settings"])) == set(SETTINGS), "under today's names"


def test_other_settings_are_refused_under_their_new_names(tmp_path):
    with pytest.raises(
        InputError, match=r"made with ema_decay 0\.99 \(asked for 0\.5\), lr 0\.01 \(asked for 0\.1\); give"
    ):
        resumed(tmp_path, {**SETTINGS, "ema_decay": 0.5, "lr": 0.1})


def test_each_old_name_stands_for_a_setting_of_today():
    from dataclasses import fields

    from arseg.train.adapt import AdaptRecipe
    from arseg.train.default.recipes import ArRecipe, HrRecipe
    from arseg.train.paper.recipes import PaperArRecipe

    names = {field.name for kind in (HrRecipe, ArRecipe, PaperArRecipe, AdaptRecipe) for field in fields(kind)}
    assert not names & set(RENAMED) and {name for new in RENAMED.values() for name in new} <= names
