"""`arseg train hr`: phase 1, the network of the keyframes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .inputs import run_recipe
from .options import (
    PAPER_PRESETS,
    Batch,
    Camvid,
    Cityscapes,
    Config,
    RunFolder,
    Seed,
    Set,
    Start,
    Steps,
    TensorBoard,
    TrainingDevice,
)

HrPreset = Annotated[
    str | None,
    typer.Option(
        help=f"default (our network), default-large (what comes after it, on larger frames), {PAPER_PRESETS}",
        show_default="the config's, or default",
    ),
]


def train_hr(
    camvid: Camvid = None,
    cityscapes: Cityscapes = None,
    preset: HrPreset = None,
    output: RunFolder = Path("runs/hr"),
    config: Config = None,
    settings: Set = None,
    steps: Steps = None,
    batch: Batch = None,
    seed: Seed = None,
    start: Start = None,
    device: TrainingDevice = "cpu",
    tensorboard: TensorBoard = False,
) -> None:
    """Phase 1: the network of the keyframes, on labelled frames (and, by default, synthetic streets)."""
    given = {"preset": preset, "config": config, "settings": settings, "steps": steps, "batch": batch, "seed": seed}
    sources = {"camvid": camvid, "cityscapes": cityscapes, "start": start}
    run_recipe("hr", given, device, output=output, tensorboard=tensorboard, **sources)
