"""`arseg inspect`: what a video is made of, and what its motion vectors are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arseg.errors import InputError

from .options import Gop, Json, Stream, Timeout, Video


def inspect(
    video: Video,
    frames: Annotated[int, typer.Option(help="Read at most so many frames.", min=1)] = 300,
    gop: Gop = 48,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="PNG to draw: frames with their motion as arrows and colours, filled cells and error of the warp; "
            "replaced if it exists.",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="Numbers of the frames to draw, such as 1,5,11.",
            show_default="three of the first group: after its keyframe, in its middle and its last",
        ),
    ] = None,
    json: Json = False,
    stream: Stream = None,
    timeout: Timeout = 10.0,
) -> None:
    """Tell what a video is made of, and what its motion vectors are worth."""
    from json import dumps

    from arseg.files import check_writable, same_file, save_png
    from arseg.inspect.reading import inspect as read
    from arseg.inspect.report import report
    from arseg.inspect.samples import frame_numbers, samples
    from arseg.terminal import counting, err_console, out_console
    from arseg.video.names import local_path

    numbers = None if at is None else frame_numbers(at, frames)
    if picture is not None:
        source = local_path(video)
        if source is not None and same_file(picture, source):
            raise InputError(f"{picture}: is the video itself; give the picture another name")
        check_writable(picture)
    elif at is not None:
        raise InputError("--at: says which frames to draw; give -o, too")
    with counting(err_console(), "reading") as progress:
        found = read(video, frames=frames, gop=gop, stream=stream, timeout=timeout, progress=progress)
    if picture is not None:
        from arseg.inspect.sheet import sheet

        chosen = found.worth_drawing if numbers is None else numbers
        save_png(picture, sheet(found.title, samples(found, chosen)))
        typer.echo(f"{picture}: frames {', '.join(map(str, sorted(chosen)))}", err=json)
    if json:
        typer.echo(dumps(found.facts(), indent=2, allow_nan=False))
    else:
        out_console().print(report(found), highlight=False)
