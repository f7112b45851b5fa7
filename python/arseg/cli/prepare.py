"""`arseg prepare`: a data set encoded, so that labelled frames lie at chosen distances from their keyframes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arseg.errors import InputError

from .inputs import data_of, distances_of, report_line, sequences_of
from .options import Camvid, Cityscapes, Data, Workers, X264Preset, stream_option


def prepare(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write; gone on with if it exists.", show_default=False)
    ],
    data: Data = None,
    camvid: Camvid = None,
    cityscapes: Cityscapes = None,
    sequences: Annotated[
        Path | None,
        typer.Option(
            help="The frames of the videos: a folder for each sequence, or (CamVid) the videos themselves.",
            show_default="Cityscapes: leftImg8bit_sequence",
        ),
    ] = None,
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
        float | None,
        typer.Option(help="Frames a second.", min=1, max=1000, show_default="30; Cityscapes 17; consecutive 15"),
    ] = None,
    bitrate: Annotated[
        float | None, typer.Option(help="Mbit/s.", min=0.001, show_default="3; Cityscapes 5; none if --crf is given")
    ] = None,
    crf: Annotated[
        float | None, typer.Option(help="x264's quality in place of a bitrate.", min=0, max=51, show_default=False)
    ] = None,
    preset: X264Preset = "medium",
    workers: Workers = 1,
    stream: Annotated[
        int | None,
        stream_option("Which video stream of the sequences to read, counted from 0."),
    ] = None,
) -> None:
    """Encode a data set so that each labelled frame lies at chosen distances from its keyframe."""
    from arseg.data.prepare import Encoding
    from arseg.data.prepare import prepare as run
    from arseg.terminal import counting, err_console

    if crf is not None and bitrate is not None:
        raise InputError("--crf, --bitrate: give one of them")
    chosen = distances_of(distances, gop)
    opened = data_of(data, camvid=camvid, cityscapes=cityscapes)
    source, root = opened.source, opened.root
    if rate is None:
        rate = source.run_rate if consecutive else source.rate
    if bitrate is None and crf is None:
        bitrate = source.bitrate / 1e6
    encoding = Encoding(
        gop, rate, None if bitrate is None else round(bitrate * 1e6), 23 if crf is None else crf, preset
    )
    with counting(err_console(), "encoding") as progress:
        frames = sequences_of(source, root, split, sequences, consecutive, output, gop, stream, report_line)
        manifest = run(
            frames,
            output,
            encoding,
            chosen,
            whole_run=consecutive,
            workers=workers,
            report=report_line,
            progress=progress,
        )
    typer.echo(manifest)
