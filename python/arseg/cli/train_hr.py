"""`arseg train hr`: phase 1, the network of the keyframes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from arseg.errors import InputError

from .inputs import default_data, frames_of, recipe_of, report_line
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
    from arseg.train import distributed
    from arseg.train.default.hr import LARGE, HrRecipe
    from arseg.train.default.hr import train_hr as run
    from arseg.train.paper.recipes import HR_PRESETS

    presets = {"default": HrRecipe(), "default-large": LARGE, **HR_PRESETS}
    name, recipe = recipe_of("hr", preset, config, settings, presets, steps=steps, batch=batch, seed=seed)
    with distributed.processes(device) as mine:
        if isinstance(recipe, HrRecipe):
            options: dict[str, Any] = {"report": report_line, "device": mine, "tensorboard": tensorboard}
            path = run(default_data(camvid, name), output, recipe, start=start, **options)
            if distributed.is_first():
                typer.echo(path)
            return
        if start is not None:
            raise InputError("--start: the default recipes go on from weights; the paper's take --set backbone=FILE")
        from arseg.train.paper.train import train_paper_hr

        roots = (camvid, cityscapes, recipe.arch)
        data = frames_of(*roots, "train", recipe.void)
        validation = frames_of(*roots, "val", recipe.void) if recipe.validate_every else None
        path = train_paper_hr(
            data,
            validation,
            output,
            recipe,
            device=mine,
            tensorboard=tensorboard,
            report=report_line,
        )
        if distributed.is_first():
            typer.echo(path)
