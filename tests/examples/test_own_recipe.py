"""A recipe of one's own: registered by a script, which then is `arseg` with one preset more."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from arseg.cli import main
from arseg.train.inputs import RunInputs
from arseg.train.loop import train
from arseg.train.recipes import RECIPES, Training
from arseg.train.schedule import Schedule


# --- the script; `main()` at its end
@dataclass(frozen=True)
class LineRecipe:
    steps: int = 400
    lr: float = 0.1


def run(recipe: LineRecipe, inputs: RunInputs) -> Path:
    model = nn.Linear(1, 1)
    weights = train(
        model,
        [{"params": list(model.parameters())}],
        sample=lambda step, rng: {"x": torch.from_numpy(rng.standard_normal((8, 1), dtype="float32"))},
        loss=lambda batch: {"fit": nn.functional.mse_loss(model(batch["x"]), 3 * batch["x"])},
        schedule=Schedule(recipe.steps, recipe.lr, ema_decay=0.9),
        folder=inputs.output,
        settings=vars(recipe),
    )
    torch.save(weights, inputs.output / "line.pt")
    return inputs.output / "line.pt"


RECIPES["hr"].register("line", Training(LineRecipe(), run))
# --- its end


def test_the_command_line_trains_by_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('preset = "line"\nlr = 0.2\n')
    monkeypatch.setattr(sys, "argv", ["arseg", "train", "hr", "--config", "mine.toml", "--steps", "80", "-o", "run"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code and capsys.readouterr().out.splitlines()[-1] == "run/line.pt"
    assert torch.load("run/line.pt", weights_only=True)["weight"].item() == pytest.approx(3, abs=0.3)
