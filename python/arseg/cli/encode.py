"""`arseg encode`: any video again as H.264 whose motion vectors can be used."""

from __future__ import annotations

from typing import Annotated

import typer

from arseg.errors import InputError

from .options import Gop, OutputVideo, Stream, Timeout, Video, X264Preset


def encode(
    video: Video,
    output: OutputVideo,
    gop: Gop = 12,
    crf: Annotated[float, typer.Option(help="x264's quality; lower is better.", min=0, max=51)] = 18,
    preset: X264Preset = "veryfast",
    stream: Stream = None,
    timeout: Timeout = 10.0,
) -> None:
    """Encode any video again as H.264 with usable motion vectors (one reference, no B frames)."""
    from arseg.files import same_file
    from arseg.terminal import counting, err_console
    from arseg.video import transcode
    from arseg.video.names import local_path

    source = local_path(video)
    if source is not None and same_file(output, source):
        raise InputError(f"{output}: is the input itself; give the output another name")
    with counting(err_console(), "encoding") as progress:
        count = transcode(
            video,
            output,
            gop=gop,
            crf=crf,
            preset=preset,
            stream=stream,
            timeout=timeout,
            progress=progress,
            remark=lambda sentence: typer.echo(sentence.rstrip(".") + ".", err=True),
        )
    typer.echo(f"{output}: {count} frames")
