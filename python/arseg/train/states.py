"""Files of a run: its state, and the best weights of each of its stages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from arseg.files import replacing

from . import distributed


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
        if distributed.is_first():
            save_state(dict(state), self.path(stage))
        return True
