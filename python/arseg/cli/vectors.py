"""`arseg vectors`: a video's motion vectors by themselves."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import Annotated

import typer

from arseg.errors import InputError

from .options import Gop, Limit, OnError, Stream, Timeout, Transcode, Video


def vectors(
    video: Video,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="A new folder (no ending) for one .npz a group; FILE.parquet; FILE.npy for a stream of arrays; - for "
            "that on the standard output.",
            show_default=False,
        ),
    ],
    what: Annotated[
        str,
        typer.Option(help="Some of: records (the codec's own), keyframe (fields to it), previous (to that before)."),
    ] = "records,keyframe,previous",
    images: Annotated[bool, typer.Option("--images", help="The frames' pictures, too: RGB, as coded.")] = False,
    block: Annotated[int, typer.Option(help="Pixels a cell of the fields: 4, 8 or 16.")] = 4,
    gop: Gop = 48,
    frames: Limit = None,
    compress: Annotated[bool, typer.Option("--compress", help="Smaller .npz, which takes longer.")] = False,
    transcode: Transcode = True,
    on_error: OnError = "raise",
    stream: Stream = None,
    timeout: Timeout = 10.0,
) -> None:
    """Write a video's motion vectors: the codec's own, and dense fields made of them."""
    import sys

    from arseg.files import same_file
    from arseg.terminal import err_console, frames_bar, say
    from arseg.video import VideoReader
    from arseg.video import vector_files as files
    from arseg.video.names import local_path, output_path, shown
    from arseg.video.vectors import WHAT, vectors_of

    names = [name.strip() for name in what.split(",")]
    chosen = [name for name in WHAT if name in names]
    if not chosen or len(chosen) < len(names):
        raise InputError(f"--what: expected some of {','.join(WHAT)}, got {what!r}")
    source = local_path(video)
    if output != "-" and source is not None and same_file(output, source):
        raise InputError(f"{output}: is the video itself; give the vectors another name")
    if output == "-" and compress:
        raise InputError("-: the standard output is a stream, which is not compressed; leave --compress out")
    if output == "-" and sys.stdout.isatty():
        raise InputError("-: the standard output is a terminal; pipe it on, or give a name")
    console, origins, keyframes, count = err_console(), set(), 0, 0
    out = None if output == "-" else files.writer(output_path(output), compress=compress)
    with VideoReader(
        video, block=block, gop=gop, transcode=transcode, on_error=on_error, stream=stream, timeout=timeout
    ) as reader:
        if reader.choice:
            say(console, f"{reader.choice}.")
        if reader.transcoding:
            say(console, f"{reader.transcoding}: finding vectors by transcoding while reading.")
        with (
            out or files.stream(sys.stdout.buffer) as write,
            frames_bar(console) as bar,
            closing(vectors_of(reader, chosen, images=images)) as found,
        ):
            total = reader.frame_count if frames is None else min(frames, reader.frame_count or frames)
            task = bar.add_task("vectors", total=total, keyframes=0)
            for frame in islice(found, frames):
                write(frame)
                count, keyframes = count + 1, keyframes + frame.keyframe
                origins |= {field.origin for field in (frame.to_keyframe, frame.to_previous) if field is not None}
                bar.update(task, completed=count, keyframes=keyframes)
        for loss in (*reader.losses, *reader.discontinuities):
            say(console, f"{shown(video)}: {loss}")
    kinds = f", fields {' and '.join(sorted(origins))}" if origins else ""
    typer.echo(f"{output}: {count} frames in {keyframes} groups{kinds}", err=output == "-")
