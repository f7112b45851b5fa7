"""`arseg train ar`: phase 2, the low-resolution branch and its fusion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .inputs import run_recipe
from .options import (
    PAPER_PRESETS,
    Camvid,
    Config,
    Data,
    FusedBatch,
    FusedSteps,
    Licence,
    RunFolder,
    Seed,
    Set,
    Start,
    TensorBoard,
    TrainingDevice,
    TrainingWorkers,
)

ArPreset = Annotated[
    str | None,
    typer.Option(
        help=f"default (our network), residual (the paper's, without fusion), {PAPER_PRESETS}",
        show_default="the config's, or default",
    ),
]


def train_ar(
    data: Data = None,
    camvid: Camvid = None,
    prepared: Annotated[
        Path | None,
        typer.Option(
            help="Folder made by `arseg prepare`: labelled frames in videos, with their vectors.",
            show_default="pairs made from the stills of --data or --camvid",
        ),
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="The paper's presets: prepared folder of val.", show_default="no validation")
    ] = None,
    teacher: Annotated[Path, typer.Option(help="Weights of phase 1.")] = Path("runs/hr/hr.safetensors"),
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="The teacher's network, where its weights name code of yours.", show_default=False
        ),
    ] = None,
    preset: ArPreset = None,
    output: RunFolder = Path("runs/ar"),
    config: Config = None,
    settings: Set = None,
    steps: FusedSteps = None,
    batch: FusedBatch = None,
    scale: Annotated[
        float | None, typer.Option(help="Of the low-resolution frames.", show_default="the recipe's, 0.5")
    ] = None,
    seed: Seed = None,
    videos: Annotated[
        list[str] | None,
        typer.Argument(metavar="VIDEO", help="The default recipe: unlabelled videos.", show_default=False),
    ] = None,
    start: Start = None,
    branch: Annotated[
        Path | None,
        typer.Option(
            help="The default recipe: weights of another phase 2, of any scale; the first stage starts from their "
            "low-resolution branch.",
            show_default="a copy of the teacher",
        ),
    ] = None,
    device: TrainingDevice = "cpu",
    workers: TrainingWorkers = None,
    licence: Licence = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Phase 2: the low-resolution branch and CReFF, under the frozen network of phase 1.

    With --data the recipe's sizes and steps follow from the labelled frames; --set changes any of them.
    """
    given = {"preset": preset, "config": config, "settings": settings, "steps": steps, "batch": batch, "seed": seed}
    sources: dict[str, Any] = {"camvid": camvid, "prepared": prepared, "validation": validation, "teacher": teacher}
    sources |= {"videos": videos or (), "start": start, "branch": branch}
    sources |= {"model": model, "licence": licence, "workers": workers}
    run_recipe("ar", {**given, "scale": scale}, device, data, output=output, tensorboard=tensorboard, **sources)
