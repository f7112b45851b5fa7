"""`arseg train hr`: phase 1, the network of the keyframes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .inputs import run_recipe
from .options import (
    PAPER_PRESETS,
    Batch,
    Camvid,
    Cityscapes,
    Config,
    Data,
    Licence,
    RunFolder,
    Seed,
    Set,
    Start,
    Steps,
    TensorBoard,
    TrainedModel,
    TrainingDevice,
    TrainingWorkers,
)

Imitated = Annotated[
    Path | None,
    typer.Option(
        help="The default recipes: weights, or a name of the zoo, of a larger network for the same classes, which the "
        "network imitates besides the labels.",
        show_default=False,
    ),
]
HrPreset = Annotated[
    str | None,
    typer.Option(
        help=f"default (our network), default-large (what comes after it, on larger frames), {PAPER_PRESETS}",
        show_default="the config's, or default",
    ),
]


def train_hr(
    data: Data = None,
    camvid: Camvid = None,
    cityscapes: Cityscapes = None,
    model: TrainedModel = None,
    preset: HrPreset = None,
    output: RunFolder = Path("runs/hr"),
    config: Config = None,
    settings: Set = None,
    steps: Steps = None,
    batch: Batch = None,
    seed: Seed = None,
    start: Start = None,
    teacher: Imitated = None,
    device: TrainingDevice = "cpu",
    workers: TrainingWorkers = None,
    licence: Licence = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Phase 1: the network of the keyframes, on labelled frames (and, for CamVid's classes, synthetic streets).

    With --data the recipe's sizes, steps and classes follow from the labelled frames; --set changes any of them.
    """
    given = {"preset": preset, "config": config, "settings": settings, "steps": steps, "batch": batch, "seed": seed}
    sources: dict[str, Any] = {"camvid": camvid, "cityscapes": cityscapes, "start": start, "teacher": teacher}
    sources |= {"model": model, "licence": licence, "workers": workers}
    run_recipe("hr", given, device, data, output=output, tensorboard=tensorboard, **sources)
