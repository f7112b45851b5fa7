"""`arseg profile`: the operators on a video's own motion, beside other ways to compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Gop, NetworkHeight, SegmenterWeights, Stream, Timeout, Video, result_path


def profile(
    video: Video,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- PROFILER ARGUMENTS]",
            help="Arguments of `python -m arseg_ext.profiler`, such as creff_labels --device cuda --html page.html.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[int, typer.Option(help="Motion fields to take, as one batch.", min=1, max=64)] = 4,
    save: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The .npz to write: the arguments of the operators; replaced if it exists.",
            show_default="VIDEO-motion.npz",
            parser=result_path,
        ),
    ] = None,
    weights: SegmenterWeights = None,
    height: NetworkHeight = None,
    gop: Gop = 12,
    stream: Stream = None,
    timeout: Timeout = 10.0,
) -> None:
    """Profile the operators on a video's own motion fields, at the sizes of a network's maps."""
    import numpy as np

    from arseg.errors import InputError
    from arseg.files import check_writable, replacing, same_file
    from arseg.inspect.operator_inputs import operator_inputs
    from arseg.terminal import counting, err_console
    from arseg.video.names import default_stem, local_path
    from arseg_ext.profiler.cli import main

    path = save or Path(f"{default_stem(video)}-motion.npz")
    source = local_path(video)
    if source is not None and same_file(path, source):
        raise InputError(f"{path}: is the video itself; give -o another name")
    check_writable(path)
    with counting(err_console(), "reading") as progress:
        arrays = operator_inputs(
            video,
            frames,
            weights=weights,
            height=height,
            gop=gop,
            stream=stream,
            timeout=timeout,
            progress=lambda done: progress(done, frames),
        )
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)
    size = "x".join(map(str, arrays["shape"]))
    typer.echo(f"{path}: motion of {len(arrays['motion'])} frames, maps of {size}", err=True)
    raise typer.Exit(main([*(arguments or []), "--inputs", str(path)]))
