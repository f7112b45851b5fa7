"""`arseg train ar`: phase 2, the low-resolution branch and its fusion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from arseg.errors import InputError

from .inputs import default_data, pairs_of, recipe_of, report_line
from .options import (
    PAPER_PRESETS,
    Batch,
    Camvid,
    Config,
    RunFolder,
    Seed,
    Set,
    Start,
    Steps,
    TensorBoard,
    TrainingDevice,
)

ArPreset = Annotated[
    str | None, typer.Option(help=f"default (our network), {PAPER_PRESETS}", show_default="the config's, or default")
]


def train_ar(
    camvid: Camvid = None,
    prepared: Annotated[
        Path | None,
        typer.Option(
            help="The paper's presets: folder made by `arseg prepare`.",
            show_default="pairs made from --camvid's stills",
        ),
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="The paper's presets: prepared folder of val.", show_default="no validation")
    ] = None,
    teacher: Annotated[Path, typer.Option(help="Weights of phase 1.")] = Path("runs/hr/hr.safetensors"),
    preset: ArPreset = None,
    output: RunFolder = Path("runs/ar"),
    config: Config = None,
    settings: Set = None,
    steps: Steps = None,
    batch: Batch = None,
    scale: Annotated[
        float | None, typer.Option(help="Of the low-resolution frames.", show_default="the recipe's, 0.5")
    ] = None,
    seed: Seed = None,
    videos: Annotated[
        list[str] | None, typer.Option("--video", help="The default recipe: an unlabelled video; several times.")
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
    tensorboard: TensorBoard = False,
) -> None:
    """Phase 2: the low-resolution branch and CReFF, under the frozen network of phase 1."""
    from arseg.train import distributed
    from arseg.train.default.ar import ArRecipe
    from arseg.train.default.ar import train_ar as run
    from arseg.train.paper.recipes import AR_PRESETS

    name, recipe = recipe_of(
        "ar",
        preset,
        config,
        settings,
        {"default": ArRecipe(), **AR_PRESETS},
        steps=steps,
        batch=batch,
        seed=seed,
        scale=scale,
    )
    with distributed.processes(device) as mine:
        if isinstance(recipe, ArRecipe):
            options: dict[str, Any] = {"report": report_line, "device": mine, "tensorboard": tensorboard}
            options.update(videos=videos or (), start=start, branch=branch)
            path = run(default_data(camvid, name), teacher, output, recipe, **options)
            if distributed.is_first():
                typer.echo(path)
            return
        for option, given in (("--start", start), ("--branch", branch)):
            if given is not None:
                raise InputError(
                    f"{option}: the default recipe goes on from weights; the paper's take --set start=teacher"
                )
        from arseg.data.prepared import Prepared
        from arseg.train.paper.train import train_paper_ar

        pairs = pairs_of(prepared, camvid, output, recipe, report_line)
        checked = Prepared(validation) if validation is not None and recipe.validate_every else None
        path = train_paper_ar(
            pairs, checked, teacher, output, recipe, device=mine, tensorboard=tensorboard, report=report_line
        )
        if distributed.is_first():
            typer.echo(path)
