"""`arseg report`: a segmented video as one HTML page, from the video or from outputs that are there already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arseg.errors import InputError

from .options import (
    Budget,
    Device,
    EndTime,
    Every,
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
    UsualGop,
    Video,
    result_path,
)


def report(
    video: Video,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The page, .html.", parser=result_path, show_default="VIDEO-report.html"),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Label maps that are there: a folder, .mkv, .npz or .jsonl of `arseg segment`; with --table.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="The table of the same run, .csv or .parquet; nothing is segmented.", show_default=False),
    ] = None,
    weights: SegmenterWeights = None,
    model: ScoredModel = None,
    gop: UsualGop = None,
    height: SegmenterHeight = None,
    budget: Budget = None,
    start: StartTime = None,
    end: EndTime = None,
    every: Every = 1,
    opacity: Opacity = None,
    palette: Palette = None,
    player_height: PlayerHeight = None,
    player_limit: PlayerLimit = None,
    precision: SegmenterPrecision = None,
    device: Device = "cpu",
    batch: SegmenterBatch = None,
    timeout: Timeout = 10.0,
    stream: Stream = None,
    quiet: Quiet = False,
) -> None:
    """A page to look at a segmented video: a player with a slider, a timeline, the classes; one file, no network."""
    from arseg.video.names import default_stem

    target = output or Path(f"{default_stem(video)}-report.html")
    if labels is None and table is None:
        from .segment import segment

        segment(
            [video],
            ["report:" + str(target).replace("{", "{{").replace("}", "}}")],  # a name, no pattern
            weights=weights,
            model=model,
            gop=gop,
            height=height,
            budget=budget,
            start=start,
            end=end,
            every=every,
            opacity=opacity,
            palette=palette,
            player_height=player_height,
            player_limit=player_limit,
            precision=precision,
            device=device,
            batch=batch,
            timeout=timeout,
            stream=stream,
            quiet=quiet,
        )
        return
    if labels is None or table is None:
        raise InputError("--labels, --table: expected both, of one run, or none of them; give the other one, too")
    from arseg.segment.html_report.earlier import report_of
    from arseg.terminal import err_console, say

    from .values import palette_of

    console = err_console()
    console.quiet = quiet
    looks = {"opacity": opacity, "player_height": player_height, "player_limit": player_limit}
    count = report_of(
        video,
        labels,
        table,
        target,
        colours=None if palette is None else lambda classes: palette_of(palette, classes),
        stream=stream,
        say=lambda sentence: say(console, sentence),
        **{name: value for name, value in looks.items() if value is not None},
    )
    typer.echo(f"{target}: {count} frames")
