"""The commands about data and training: prepare, train, eval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from arseg.errors import InputError

if TYPE_CHECKING:
    from arseg.data.datasets import LabelledFrames
    from arseg.engine.paper_data import Pairs
    from arseg.engine.recipes import PaperArRecipe

train_app = typer.Typer(help="Train the networks; every run can be stopped and resumed.", no_args_is_help=True)

Camvid = Annotated[
    Path | None,
    typer.Option(
        help="CamVid: folders train, val with labels beside them (480x360 or 960x720), or the original distribution.",
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
Preset = Annotated[
    str | None,
    typer.Option(
        help="default (our network), or the paper's: camvid-psp18, camvid-bise18, cityscapes-psp18, cityscapes-bise18.",
        show_default="the config's, or default",
    ),
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
) -> None:
    """Encode a data set so that each labelled frame lies at chosen distances from its keyframe."""
    from arseg.data.prepare import Encoding
    from arseg.data.prepare import prepare as run
    from arseg.terminal import progress_bar

    if crf is not None and bitrate is not None:
        raise InputError("--crf, --bitrate: give one of them")
    chosen = _distances(distances, gop)
    if rate is None:
        rate = 17 if cityscapes is not None else 15 if consecutive else 30
    if bitrate is None and crf is None:
        bitrate = 5 if cityscapes is not None else 3
    encoding = Encoding(
        gop, rate, None if bitrate is None else round(bitrate * 1e6), 23 if crf is None else crf, preset
    )
    with progress_bar(_console()) as progress:
        task = progress.add_task("encoding", total=None)
        data = _sequences(camvid, cityscapes, split, sequences, consecutive, output, gop)
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
    preset: Preset = None,
    output: Folder = Path("runs/hr"),
    config: Config = None,
    settings: Set = None,
    steps: Steps = None,
    batch: Batch = None,
    seed: Seed = None,
    device: Device = "cpu",
    tensorboard: TensorBoard = False,
) -> None:
    """Phase 1: the network of the keyframes, on labelled frames (and, by default, synthetic streets)."""
    from arseg.engine import parallel
    from arseg.engine.recipes import HR_PRESETS
    from arseg.engine.train_hr import HrRecipe
    from arseg.engine.train_hr import train_hr as run

    name, recipe = _recipe(
        "hr", preset, config, settings, {"default": HrRecipe(), **HR_PRESETS}, steps=steps, batch=batch, seed=seed
    )
    with parallel.processes(device) as mine:
        if isinstance(recipe, HrRecipe):
            _check_default(device, tensorboard)
            typer.echo(run(_default_data(camvid, name), output, recipe, report=_report))
            return
        from arseg.engine.train_paper import train_paper_hr

        data, validation = (_frames(camvid, cityscapes, recipe.arch, split, recipe.void) for split in ("train", "val"))
        assert data is not None
        path = train_paper_hr(
            data,
            validation if recipe.validate_every else None,
            output,
            recipe,
            device=mine,
            tensorboard=tensorboard,
            report=_report,
        )
        if parallel.is_first():
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
    preset: Preset = None,
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
        list[Path] | None, typer.Option("--video", help="The default recipe: an unlabelled video; several times.")
    ] = None,
    device: Device = "cpu",
    tensorboard: TensorBoard = False,
) -> None:
    """Phase 2: the low-resolution branch and CReFF, under the frozen network of phase 1."""
    from arseg.engine import parallel
    from arseg.engine.recipes import AR_PRESETS
    from arseg.engine.train_ar import ArRecipe
    from arseg.engine.train_ar import train_ar as run

    name, recipe = _recipe(
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
    with parallel.processes(device) as mine:
        if isinstance(recipe, ArRecipe):
            _check_default(device, tensorboard)
            typer.echo(run(_default_data(camvid, name), teacher, output, recipe, _report, videos or ()))
            return
        from arseg.data.prepared import Prepared
        from arseg.engine.train_paper import train_paper_ar

        pairs = _pairs(prepared, camvid, output, recipe)
        checked = Prepared(validation) if validation is not None and recipe.validate_every else None
        path = train_paper_ar(
            pairs, checked, teacher, output, recipe, device=mine, tensorboard=tensorboard, report=_report
        )
        if parallel.is_first():
            typer.echo(path)


def evaluate(
    camvid: Camvid = None,
    prepared: Annotated[
        Path | None, typer.Option(help="Folder made by `arseg prepare`, in place of --camvid.", show_default=False)
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Made by `arseg train ar` or `arseg convert`.", show_default="those of the package"),
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
    from arseg.engine import VideoSegmenter
    from arseg.engine import score_report as report
    from arseg.engine.evaluate import evaluate_passes
    from arseg.files import check_writable

    for path in (json, plot):
        if path is not None:
            check_writable(path)
    if plot is not None:
        report.require_matplotlib()
    wanted = _modes(modes)
    passes, gop = _passes(camvid, prepared, gop, crf, quick)
    model = VideoSegmenter(weights).model
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


def _recipe(
    phase: str,
    preset: str | None,
    config: Path | None,
    settings: list[str] | None,
    presets: dict[str, Any],
    **flags: Any,
) -> tuple[str, Any]:
    """The preset's recipe; changed by the file, then by --set, then by options of their own."""
    from arseg.engine.recipe_files import changed, preset_named, read_recipe_file, read_settings

    named, from_file = (None, {}) if config is None else read_recipe_file(config, phase)
    name = preset or named or "default"
    recipe = preset_named(presets, name)
    recipe = changed(recipe, from_file, str(config))
    recipe = changed(recipe, read_settings(settings or []), "--set")
    return name, changed(recipe, {key: value for key, value in flags.items() if value is not None}, "options")


def _check_default(device: str, tensorboard: bool) -> None:
    if device != "cpu" or tensorboard:
        raise InputError("--device, --tensorboard: the default recipe trains on the CPU and logs to log.jsonl alone")


def _default_data(camvid: Path | None, preset: str) -> Path:
    if camvid is None:
        raise InputError(f"--camvid: preset {preset} needs CamVid at 480x360; give its folder")
    return camvid


def _frames(
    camvid: Path | None, cityscapes: Path | None, arch: str, split: str, void: Any, sequences: Path | None = None
) -> LabelledFrames | None:
    """A split of the data set that the preset is made for."""
    from arseg.data.camvid_full import camvid_frames
    from arseg.data.cityscapes import cityscapes_frames

    name = arch.split("-")[0]
    root = {"camvid": camvid, "cityscapes": cityscapes}.get(name)
    if root is None:
        raise InputError(f"--{name}: {arch} needs it; give the folder of the data set")
    if name == "camvid":
        return camvid_frames(root, split, sequences=sequences, void=void)
    return cityscapes_frames(root, split, sequences=sequences)


def _sequences(
    camvid: Path | None,
    cityscapes: Path | None,
    split: str,
    sequences: Path | None,
    consecutive: bool,
    output: Path,
    gop: int,
) -> LabelledFrames:
    from arseg.data.camvid_full import camvid_frames, extracted, labelled_run
    from arseg.data.cityscapes import cityscapes_frames

    if (camvid is None) == (cityscapes is None):
        raise InputError("--camvid, --cityscapes: give one of them")
    if cityscapes is not None:
        return cityscapes_frames(cityscapes, split, sequences=sequences)
    assert camvid is not None
    if consecutive:
        return labelled_run(camvid_frames(camvid, split))
    if sequences is None:
        raise InputError("--sequences: CamVid's videos are needed, as files or as folders of frames")
    return camvid_frames(camvid, split, sequences=extracted(camvid, split, sequences, output, gop))


def _pairs(prepared: Path | None, camvid: Path | None, output: Path, recipe: PaperArRecipe) -> Pairs:
    from arseg.engine.paper_data import prepared_pairs, still_pairs

    if prepared is not None:
        return prepared_pairs(prepared, recipe)
    if camvid is None:
        raise InputError("--prepared: give a folder made by `arseg prepare`, or --camvid to make pairs from its stills")
    return still_pairs(camvid, output / "pairs", recipe, _report)


def _passes(camvid: Path | None, prepared: Path | None, gop: int, crf: float, quick: bool) -> tuple[list[Any], int]:
    from arseg.data.camvid import CamVid
    from arseg.data.prepared import Prepared
    from arseg.engine.evaluate import prepared_passes, run_passes

    if (camvid is None) == (prepared is None):
        raise InputError("--camvid, --prepared: give one of them")
    if prepared is not None:
        data = Prepared(prepared)
        return prepared_passes(data), data.gop
    assert camvid is not None
    split = CamVid(camvid, "val")
    frames = [split[index] for index in range(len(split))]
    return list(run_passes(frames, gop=gop, rate=15, crf=crf, offsets=[0] if quick else None)), gop


def _modes(text: str) -> tuple[Any, ...]:
    from arseg.modes import NAMES

    found = [name.strip() for name in text.split(",") if name.strip()]
    wrong = [name for name in found if name not in NAMES]
    if wrong or not found:
        raise InputError(f"--modes: expected some of {','.join(NAMES)}, got {text!r}")
    return tuple(name for name in NAMES if name in found)


def _distances(text: str, gop: int) -> list[int]:
    """'11', '0-11', '1,5,11' or a mixture."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise InputError(f"--distances: expected numbers such as 11, 0-11 or 1,5,11, got {text!r}")
        found.update(range(int(first), int(last or first) + 1))
    if max(found, default=0) >= gop:
        raise InputError(f"--distances: expected numbers from 0 to gop - 1 = {gop - 1}, got {text!r}")
    return sorted(found)


def _console(stderr: bool = True) -> Any:
    from rich.console import Console

    return Console(stderr=stderr)


def _report(line: str) -> None:
    from arseg.engine import parallel

    if parallel.is_first():
        typer.echo(line, err=True)
