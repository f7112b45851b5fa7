"""`arseg segment`: videos or pictures in; overlays, label maps, masks, scores and tables out."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Any, Literal

import typer

from arseg.errors import ArsegError, InputError
from arseg.segment.modes import Mode

from .grammar import named
from .options import (
    Budget,
    Device,
    EndTime,
    Every,
    Limit,
    OnError,
    Opacity,
    Palette,
    PlayerHeight,
    PlayerLimit,
    Quiet,
    ScoredModel,
    SegmenterBatch,
    SegmenterHeight,
    SegmenterPrecision,
    SegmenterWeights,
    StartTime,
    Stream,
    Timeout,
    Transcode,
    UsualGop,
    Verbose,
)
from .startup import kept
from .values import height_of, palette_of, time_of


def segment(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT…",
            help="Videos, folders or patterns of videos or of pictures, URLs such as rtsp://…, - (standard input).",
            show_default=False,
        ),
    ],
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="[KIND:]OUT",
            help="What to write; several times. Its ending decides: .mp4 .mkv .mov .ts .webm .gif an overlay video, a "
            "folder label maps (PNG), .npz label arrays, .jsonl COCO masks, .csv .parquet a table of the frames, .html "
            "a report. "
            "Kinds: label-video (FFV1 in .mkv), side-by-side, overlay-pictures, logits, probabilities (.npz). "
            "Of several inputs a folder, or a name with {stem} in it.",
            show_default="INPUT-segmented.mp4",
        ),
    ] = None,
    weights: SegmenterWeights = None,
    model: ScoredModel = None,
    gop: UsualGop = None,
    height: SegmenterHeight = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Resolution of frames between keyframes, up to 1: less costs less. Best is what the network was "
            "trained for.",
            min=0.05,
            max=1,
            show_default="what the network was trained for, mostly 0.5",
        ),
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(
            metavar="MODE",
            show_default=False,
            help="In place of a policy. ar: the published method. To compare: hr, all frames at full resolution; lr, "
            "all at low; warp, the keyframe's result moved by the vectors; keep, the keyframe's result as it is.",
        ),
    ] = None,
    budget: Budget = None,
    slowest: Annotated[
        str | None,
        typer.Option(
            "--live",
            help="Compute of the slowest frame, as --budget: no frame waits for the next, and a keyframe's work is "
            "spread over several; frames' own results at low resolution are made while they prove to be worth it.",
            show_default=False,
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="What frames between keyframes are made of: bidirectional, both keyframes around them, moved; "
            "ensemble, these and their own result at low resolution; warp, the last keyframe, moved; ar, the method, "
            "with keyframes at cuts, too.",
            show_default="bidirectional with --budget alone, or without a low-resolution branch; else ensemble, of "
            "published checkpoints --mode ar without --live",
        ),
    ] = None,
    precision: SegmenterPrecision = None,
    device: Device = "cpu",
    batch: SegmenterBatch = None,
    low_latency: Annotated[
        bool,
        typer.Option(
            "--low-latency",
            help="Each result comes before the next frame is read, of a file as of a camera: --batch 1, and nothing is "
            "taken from the next keyframe.",
        ),
    ] = False,
    start: StartTime = None,
    end: EndTime = None,
    every: Every = 1,
    frames: Limit = None,
    opacity: Opacity = None,
    palette: Palette = None,
    classes: Annotated[
        str | None, typer.Option(help="Of logits and probabilities: names or ids, a,b,c.", show_default="all")
    ] = None,
    orientation: Annotated[
        Literal["coded", "shown"] | None,
        typer.Option(help="Frames and masks as in the stream, or as players show them.", show_default="coded"),
    ] = None,
    audio: Annotated[
        bool | None, typer.Option("--audio/--no-audio", help="Copy the sound into overlays.", show_default="--audio")
    ] = None,
    player_height: PlayerHeight = None,
    player_limit: PlayerLimit = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Keep a journal beside the output, and go on where a stopped or killed run was."),
    ] = False,
    partial_results: Annotated[
        bool,
        typer.Option("--partial", help="On Ctrl-C, SIGTERM or damage finish a file's results with what there is."),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that share the files, or the groups of frames of a long one. They share the threads; with "
            "--device cuda they take the cards in turn.",
            min=1,
            show_default="1; of a cluster one for each machine or card",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Let a Ray cluster do it: auto, local or HOST:PORT; its machines have the files under the same names.",
            show_default=False,
        ),
    ] = None,
    transcode: Transcode = True,
    on_error: OnError = "raise",
    reconnect: Annotated[
        int, typer.Option(help="How often in a row to connect again to a network stream or camera.", min=0)
    ] = 5,
    timeout: Timeout = 10.0,
    stream: Stream = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Segment videos or pictures: overlays, label maps, masks, scores, tables, any of them together."""
    with kept():
        import logging
        from functools import partial

        from arseg.memory import keep_pages
        from arseg.segment.opened import open_segmenter
        from arseg.segment.outputs.chosen import kind_of, outputs_for
        from arseg.segment.run import forget
        from arseg.segment.selection import Selection
        from arseg.segment.shards.files import FileJob
        from arseg.segment.sources import sources_of, targets_for
        from arseg.terminal import err_console, say

        if verbose:
            logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        if quiet:
            logging.getLogger("arseg").setLevel(logging.ERROR)
        sources = sources_of(inputs)
        wanted = list(output or [])
        selection = Selection(time_of(start, "--start") or 0.0, time_of(end, "--end"), every, frames)
        settings = {"opacity": opacity, "classes": classes and classes.split(","), "orientation": orientation}
        settings |= {"audio": audio, "player_height": player_height, "player_limit": player_limit}
        given = {name: value for name, value in settings.items() if value is not None}
        usual_names = wanted or ["{stem}-segmented"]
        names = targets_for(usual_names, sources, lambda text: kind_of(text)[0] in ("labels", "overlay-pictures"))
        if not wanted:
            whole = zip(sources, names, strict=True)
            names = [[f"overlay-pictures:{n}" if source.pictures else f"{n}.mp4" for n in one] for source, one in whole]
        outputs = [outputs_for(targets, given) for targets in names]
        if low_latency and batch not in (None, 1):
            raise InputError(f"--low-latency: is --batch 1, got --batch {batch}; give one of them")
        if low_latency and (ray is not None or (workers or 1) > 1):
            raise InputError("--low-latency: results of --workers and --ray come group by group; leave one of them out")
        made: dict[str, Any] = {"gop": gop, "height": height_of(height), "scale": scale, "mode": mode}
        made |= {"precision": precision}
        made |= {"batch": 1 if low_latency else batch, "budget": budget, "slowest": slowest, "policy": policy}
        made["logits"] = any(out.needs_logits for out in outputs[0])
        if ray is not None and weights is not None and weights.exists():
            weights = weights.absolute()
        if ray is not None and model is not None:
            from arseg.acceleration.network_source import anywhere

            model = anywhere(model)
        make = partial(open_segmenter, weights=weights, model=model, settings=made)
        keep_pages()
        segmenter = make(device)
        usual = start is end is None and every == 1
        how: dict[str, Any] = {
            "frames": frames,
            "at_once": low_latency,
            "palette": None if palette is None else palette_of(palette, len(segmenter.label_set.classes)),
            "selection": None if usual else selection,
            "partial": partial_results,
            "resume": resume,
            "remember": resume and len(sources) > 1,
            "transcode": transcode,
            "on_error": on_error,
            "reconnect": reconnect,
            "timeout": timeout,
            "stream": stream,
        }
        folders = len(sources) > 1 or any("{" in text for text in wanted)
        named = zip(sources, names, strict=True)
        jobs = [FileJob(source, tuple(targets), given, how, folders) for source, targets in named]
        runner = _runner(make, workers, ray, device)
    console = err_console()
    console.quiet = quiet
    if segmenter.scale != segmenter.trained_scale:
        say(console, scale_remark(segmenter.scale, segmenter.trained_scale))
    with runner or nullcontext():
        if runner is not None and len(jobs) >= max(2, runner.slots):
            failed = _by_files(jobs, runner, console)
        else:
            failed = _one_by_one(jobs, segmenter, runner, console)
    if failed:
        raise typer.Exit(2)
    if resume and len(jobs) > 1:
        for job in jobs:
            forget(job.outputs())


def scale_remark(scale: float, trained: float) -> str:
    return (
        f"--scale: the network was trained for frames at {trained:g}x; for good labels at {scale:g}x train one for it: "
        f"`arseg adapt --scale {scale:g}`, or `arseg train ar --scale {scale:g}`"
    )


def _runner(make: Any, workers: int | None, ray: str | None, device: str) -> Any:
    """Who shares the work; None: this process does it."""
    if ray is not None:
        from arseg.segment.shards.ray_data import RayData

        return RayData(make, ray, workers, device=device)
    if workers is None or workers == 1:
        return None
    from arseg.segment.shards.pool import LocalPool

    return LocalPool(make, workers, device=device)


def _one_by_one(jobs: list[Any], segmenter: Any, runner: Any, console: Any) -> bool:
    """Each file in turn, its groups shared where there is a runner; whether one of several failed."""
    failed = False
    for job in jobs:
        try:
            count = job.segment(segmenter, console=console, runner=runner)
        except (ArsegError, OSError) as error:
            if len(jobs) == 1:
                raise
            typer.echo(f"arseg: {' '.join(named(str(error)).split())}", err=True)
            failed = True
            continue
        _tell(job, count)
    return failed


def _by_files(jobs: list[Any], runner: Any, console: Any) -> bool:
    """Whole files shared; whether one of them failed."""
    from arseg.segment.shards.files import each_file
    from arseg.terminal import frames_bar, say

    failed = False
    for job in jobs:
        if job.source.video == "pipe:0":
            raise InputError("-: the standard input is this process's alone; leave out --workers and --ray, or the -")
    with frames_bar(console) as progress:
        task = progress.add_task("segmenting", total=None, keyframes=0)

        def on_progress(ended: int, frames: int, keyframes: int) -> None:
            text = f"segmenting, {ended} of {len(jobs)} files"
            progress.update(task, completed=frames, keyframes=keyframes, description=text)

        for done in each_file(jobs, runner, on_progress):
            for line in done.said.splitlines():
                say(console, line)
            if done.failed is not None:
                if done.failed.ours:
                    raise done.failed.error()
                typer.echo(f"arseg: {' '.join(named(done.failed.sentence).split())}", err=True)
                failed = True
                continue
            _tell(done.job, done.frames)
    return failed


def _tell(job: Any, count: int) -> None:
    for out in job.outputs():
        typer.echo(f"{out.target}: {count} frames")
