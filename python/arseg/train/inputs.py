"""What a training is given besides its recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from arseg.data.opened import OpenData


@dataclass(frozen=True)
class RunInputs:
    """Data, weights to begin with, and where to work; None for what was not given. A recipe takes what it needs.

    Attributes:
        output: folder of state, log and weights; a run that is there is gone on with.
        preset: the recipe's name, for messages.
        data: the labelled data set.
        camvid, cityscapes: folders of the data sets that the paper's presets train on.
        prepared, validation: folders of `arseg prepare`, to train on and to score.
        teacher: weights of phase 1, for phase 2; of a network to imitate, for phase 1.
        videos: without labels.
        start: weights of an earlier run of the same phase to go on from.
        branch: weights of an earlier phase 2 whose low-resolution branch is taken.
        device: of this process, see `distributed.processes`.
        model: a line that makes the network, as `--model` takes it; None: the preset's.
        licence: of the weights, as the user says it.
        workers: processes that make the batches; None: the recipe's, or by the cores (`workers.default_workers`).
        tensorboard: also write the curves for TensorBoard.
        report: is given a line now and then.
    """

    output: Path
    preset: str = "default"
    data: OpenData | None = None
    camvid: Path | None = None
    cityscapes: Path | None = None
    prepared: Path | None = None
    validation: Path | None = None
    teacher: Path | None = None
    videos: Sequence[str] = ()
    start: Path | None = None
    branch: Path | None = None
    device: torch.device | str = "cpu"
    model: str | None = None
    licence: str | None = None
    workers: int | None = None
    tensorboard: bool = False
    report: Callable[[str], None] = print
