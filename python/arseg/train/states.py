"""Files of a run: its state, and the best weights of each of its stages."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from arseg.errors import refuse_other_settings
from arseg.files import replacing

from . import distributed
from .averaging import averaged_model
from .settings import with_new_names


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """A state that is there whole or not at all."""
    with replacing(path) as part:
        torch.save(state, part)


@dataclass
class Best:
    """The best validation of each stage of a run, and the weights that it belongs to.

    Stages are named by what `validate` returns; their scores are not compared with each other's.
    """

    folder: Path
    scores: dict[str, tuple[float, int]] = field(default_factory=dict)

    def path(self, stage: str) -> Path:
        """Where a stage's best weights are kept."""
        return self.folder / f"best-{stage}.pt"

    def offer(self, stage: str, score: float, step: int, state: Mapping[str, Tensor]) -> bool:
        """Keeps `state` where it is the best of its stage so far; a score that is NaN never is."""
        if math.isnan(score) or (stage in self.scores and score <= self.scores[stage][0]):
            return False
        self.scores[stage] = (score, step)
        if distributed.is_main_process():
            save_state(dict(state), self.path(stage))
        return True


class RunState:
    """What a run goes on from: `state.pt` in its folder holds it, but for the schedule, which the step tells.

    Args:
        settings: what the run depends on, in JSON's terms.
        grad_scaler: scale the loss so that gradients fit in float16 (CUDA).
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        ema_decay: float,
        grad_scaler: bool,
        device: torch.device,
    ):
        self.model, self.optimiser, self.device = model, optimiser, device
        self.path, self.settings = folder / "state.pt", json.loads(json.dumps(dict(settings)))
        self.scaler = torch.amp.GradScaler("cuda", enabled=grad_scaler)
        self.best = Best(folder)
        self._ema_decay = ema_decay
        self._averaged = averaged_model(model, ema_decay)

    def resume(self) -> int:
        """Takes what the state file holds, if there is one; the number of steps that are done.

        Raises `InputError` where the state was made with other settings.
        """
        if not self.path.exists():
            return 0
        saved = torch.load(self.path, weights_only=True, map_location=self.device)
        made = with_new_names(json.loads(saved["settings"]), self.settings)
        refuse_other_settings(self.path, made, self.settings)
        self.model.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self._averaged = averaged_model(self.model, self._ema_decay, saved["step"])
        self._averaged.module.load_state_dict(saved["ema"])
        self.scaler.load_state_dict(saved.get("scaler", {}) or self.scaler.state_dict())
        self.best.scores = {stage: (score, step) for stage, (score, step) in saved.get("best", {}).items()}
        return saved["step"]

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights, which further steps change in place."""
        return self._averaged.module.state_dict()

    def update(self, max_grad_norm: float | None) -> None:
        """The optimiser's step, and the average's."""
        self.scaler.unscale_(self.optimiser)
        if max_grad_norm is not None:
            parameters = (p for group in self.optimiser.param_groups for p in group["params"])
            nn.utils.clip_grad_norm_(parameters, max_grad_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self._averaged.update_parameters(self.model)

    def save(self, step: int) -> None:
        """Writes the state after `step` steps; of several processes, the first does."""
        if not distributed.is_main_process():
            return
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": self.averaged(),
            "best": self.best.scores,
            "step": step,
            "settings": json.dumps(self.settings),
        }
        save_state(state, self.path)
