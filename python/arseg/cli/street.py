"""`arseg street`: a synthetic drive as a video, with its true labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import OutputVideo, result_path


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
    from arseg.segment.run import render_street_file
    from arseg.terminal import err_console

    count = render_street_file(
        output, labels, frames=frames, seed=seed, size=(height, width), rate=rate, console=err_console()
    )
    typer.echo(f"{output}: {count} frames")
