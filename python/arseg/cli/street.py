"""`arseg street`: a synthetic drive as a video, with its true labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import OutputVideo, result_path

if TYPE_CHECKING:
    import numpy as np


def street(
    output: OutputVideo,
    frames: Annotated[int, typer.Option(help="Length.", min=1)] = 96,
    seed: Annotated[int, typer.Option(help="Which street.")] = 7,
    width: Annotated[int, typer.Option(min=16)] = 480,
    height: Annotated[int, typer.Option(min=16)] = 360,
    rate: Annotated[float, typer.Option(help="Frames a second.", min=1, max=1000)] = 15,
    labels: Annotated[
        Path | None,
        typer.Option(help="New or empty folder to write, one PNG of true class ids a frame.", parser=result_path),
    ] = None,
) -> None:
    """Render a drive along a synthetic street as a video, with its true labels."""
    from contextlib import ExitStack

    from arseg.data.street import StreetScene
    from arseg.data.street.recording import record
    from arseg.files import new_folder
    from arseg.labels import CAMVID
    from arseg.segment.outputs import save_labels
    from arseg.terminal import counting, err_console, say
    from arseg.video.sink import size_remark

    console = err_console()
    scene = StreetScene(seed, width=width, height=height, rate=rate)
    with ExitStack() as stack:
        folder = None if labels is None else stack.enter_context(new_folder(labels))
        progress = stack.enter_context(counting(console, "rendering"))

        def each(index: int, truth: np.ndarray) -> None:
            if folder is not None:
                save_labels(folder, index, truth, CAMVID.palette)
            progress(index + 1, frames)

        count = record(scene, output, frames, each=each)
    remark = size_remark(output, height, width)
    if remark is not None:
        say(console, remark)
    typer.echo(f"{output}: {count} frames")
