"""The commands about data and training: prepare, train, eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from arseg.errors import InputError

from .inputs import (
    default_data,
    distances_of,
    frames_of,
    modes_of,
    network_of,
    pairs_of,
    passes_of,
    recipe_of,
    sequences_of,
)

train_app = typer.Typer(help="Train the networks; every run can be stopped and resumed.", no_args_is_help=True)

Camvid = Annotated[
    Path | None,
    typer.Option(
        help="CamVid: folders train, val with labels beside them (480x360 or 960x720), or the original distribution "
        "with train.txt, val.txt.",
        show_default=False,
    ),
]
Cityscapes = Annotated[
    Path | None,
    typer.Option(help="Cityscapes: folders gtFine, leftImg8bit, leftImg8bit_sequence.", show_default=False),
]
Sequences = Annotated[
    Path | None,
    typer.Option(
        help="The frames of the videos: a folder for each sequence, or (CamVid) the videos themselves.",
        show_default="Cityscapes: leftImg8bit_sequence",
    ),
]
Folder = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for state, log and weights; resumed if it exists.")
]
_PAPER = "or the paper's: camvid-psp18, camvid-bise18, cityscapes-psp18, cityscapes-bise18."
HrPreset = Annotated[
    str | None,
    typer.Option(
        help=f"default (our network), default-large (what comes after it, on larger frames), {_PAPER}",
        show_default="the config's, or default",
    ),
]
ArPreset = Annotated[
    str | None, typer.Option(help=f"default (our network), {_PAPER}", show_default="the config's, or default")
]
Config = Annotated[Path | None, typer.Option(help="TOML file with settings of the recipe.", show_default=False)]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="A setting of the recipe, such as crop=[360,480]; several times.")
]
Steps = Annotated[int | None, typer.Option(min=1, show_default="the recipe's")]
Batch = Annotated[int | None, typer.Option(min=1, help="Over all processes.", show_default="the recipe's")]
Seed = Annotated[
    int | None, typer.Option(help="Of data order, augmentation and initial weights.", show_default="the recipe's, 0")
]
Start = Annotated[
    Path | None,
    typer.Option(help="The default recipes: weights of an earlier run to go on from.", show_default=False),
]
Device = Annotated[str, typer.Option(help="cpu or cuda; with torchrun each process takes a card of its own.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Also write curves for TensorBoard.")]
Workers = Annotated[int, typer.Option(help="Processes that share the work.", min=1)]


def register(app: typer.Typer) -> None:
    """Adds the commands `prepare`, `train hr`, `train ar` and `eval`."""
    train_app.command("hr")(train_hr)
    train_app.command("ar")(train_ar)
    app.add_typer(train_app, name="train")
    app.command("prepare")(prepare)
    app.command("eval")(evaluate)


def prepare(
    output: Annotated[Path, typer.Argument(help="Folder to write; gone on with if it exists.", show_default=False)],
    camvid: Camvid = None,
    cityscapes: Cityscapes = None,
    sequences: Sequences = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    consecutive: Annotated[
        bool,
        typer.Option("--consecutive", help="The split is a video labelled frame by frame, as val at 480x360."),
    ] = False,
    distances: Annotated[
        str, typer.Option("--distances", "-d", help="Frames from keyframe to labelled frame: 11, 0-11 or 1,5,11.")
    ] = "11",
    gop: Annotated[int, typer.Option(help="Frames from keyframe to keyframe.", min=1)] = 12,
    rate: Annotated[
        float | None, typer.Option(help="Frames a second.", show_default="30; Cityscapes 17; consecutive 15")
    ] = None,
    bitrate: Annotated[
        float | None, typer.Option(help="Mbit/s.", show_default="3; Cityscapes 5; none if --crf is given")
    ] = None,
    crf: Annotated[
        float | None, typer.Option(help="x264's quality in place of a bitrate.", min=0, max=51, show_default=False)
    ] = None,
    preset: Annotated[str, typer.Option(help="x264's preset.")] = "medium",
    workers: Workers = 1,
    stream: Annotated[
        int | None,
        typer.Option(
            help="Which video stream of the sequences to read, counted from 0.",
            min=0,
            show_default="the best one that is no cover picture",
        ),
    ] = None,
) -> None:
    """Encode a data set so that each labelled frame lies at chosen distances from its keyframe."""
    from arseg.data.prepare import Encoding
    from arseg.data.prepare import prepare as run
    from arseg.terminal import progress_bar

    if crf is not None and bitrate is not None:
        raise InputError("--crf, --bitrate: give one of them")
    chosen = distances_of(distances, gop)
    if rate is None:
        rate = 17 if cityscapes is not None else 15 if consecutive else 30
    if bitrate is None and crf is None:
        bitrate = 5 if cityscapes is not None else 3
    encoding = Encoding(
        gop, rate, None if bitrate is None else round(bitrate * 1e6), 23 if crf is None else crf, preset
    )
    with progress_bar(_console()) as progress:
        task = progress.add_task("encoding", total=None)
        data = sequences_of(camvid, cityscapes, split, sequences, consecutive, output, gop, stream, _report)
        manifest = run(
            data,
            output,
            encoding,
            chosen,
            whole_run=consecutive,
            workers=workers,
            report=_report,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    typer.echo(manifest)


def train_hr(
    camvid: Camvid = None,
    cityscapes: Cityscapes = None,
    preset: HrPreset = None,
    output: Folder = Path("runs/hr"),
    config: Config = None,
    settings: Set = None,
    steps: Steps = None,
    batch: Batch = None,
    seed: Seed = None,
    start: Start = None,
    device: Device = "cpu",
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
            options: dict[str, Any] = {"report": _report, "device": mine, "tensorboard": tensorboard}
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
            report=_report,
        )
        if distributed.is_first():
            typer.echo(path)


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
    output: Folder = Path("runs/ar"),
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
    device: Device = "cpu",
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
            options: dict[str, Any] = {"report": _report, "device": mine, "tensorboard": tensorboard}
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

        pairs = pairs_of(prepared, camvid, output, recipe, _report)
        checked = Prepared(validation) if validation is not None and recipe.validate_every else None
        path = train_paper_ar(
            pairs, checked, teacher, output, recipe, device=mine, tensorboard=tensorboard, report=_report
        )
        if distributed.is_first():
            typer.echo(path)


def evaluate(
    camvid: Camvid = None,
    prepared: Annotated[
        Path | None, typer.Option(help="Folder made by `arseg prepare`, in place of --camvid.", show_default=False)
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Made by `arseg train` or `arseg convert`.", show_default="those of the package"),
    ] = None,
    gop: Annotated[int, typer.Option(help="A keyframe at least every so many frames.", min=1)] = 12,
    crf: Annotated[float, typer.Option(help="x264's quality of the encoded run.", min=0, max=51)] = 23,
    modes: Annotated[str, typer.Option(help="Ways to segment, of hr,lr,ar,warp,keep.")] = "hr,lr,ar,warp,keep",
    void: Annotated[
        Literal["count", "ignore"] | None,
        typer.Option(help="CamVid's Void in the means.", show_default="count, where the network predicts it"),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the figures here.", show_default=False)] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw them: .png, .pdf or .svg; needs matplotlib.", show_default=False)
    ] = None,
    quick: Annotated[bool, typer.Option(help="One pass over the run in place of one for each keyframe place.")] = False,
    workers: Workers = 1,
) -> None:
    """mIoU by distance to the keyframe: of CamVid's `val` run, encoded at 15 frames a second, or of prepared data."""
    from arseg.evaluate import report
    from arseg.evaluate.by_distance import check_classes, evaluate_passes
    from arseg.files import check_writable

    for path in (json, plot):
        if path is not None:
            check_writable(path)
    if plot is not None:
        report.require_matplotlib()
    wanted = modes_of(modes)
    passes, gop, (data, classes) = passes_of(camvid, prepared, gop, crf, quick)
    model, wanted = network_of(weights, wanted)
    check_classes(model.label_set, data, classes, weights or "the package's weights")
    counted = None if void is None else void == "count"
    scores = evaluate_passes(model, passes, wanted, gop=gop, workers=workers, void=counted, report=_report)
    out = _console(stderr=False)
    out.print(report.scores_table(scores))
    out.print(report.class_table(scores))
    for line in report.notes(scores):
        out.print(line, highlight=False)
    if json is not None:
        report.save_scores(json, scores)
    if plot is not None:
        report.save_plot(plot, scores)


def _console(stderr: bool = True) -> Any:
    from rich.console import Console

    return Console(stderr=stderr)


def _report(line: str) -> None:
    from arseg.train import distributed

    if distributed.is_first():
        typer.echo(line, err=True)
