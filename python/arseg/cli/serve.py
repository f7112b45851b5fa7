"""`arseg serve`: videos are sent to it, and progress and results come back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arseg.errors import InputError

from .options import (
    Budget,
    Device,
    SegmenterBatch,
    SegmenterHeight,
    SegmenterPrecision,
    SegmenterWeights,
    UsualGop,
    Verbose,
)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0: all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0: any that is free.", min=0, max=65535)] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A name that the server may be called by; several times; '*': any.", show_default=False),
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Fetch URLs that lead to private addresses, too.")
    ] = False,
    weights: SegmenterWeights = None,
    gop: UsualGop = None,
    height: SegmenterHeight = None,
    budget: Budget = None,
    precision: SegmenterPrecision = None,
    device: Device = "cpu",
    batch: SegmenterBatch = None,
    workers: Annotated[int, typer.Option(help="Videos segmented at once, each by a process.", min=1)] = 1,
    waiting: Annotated[int, typer.Option(help="Videos that may wait for a worker.", min=0)] = 4,
    upload_mb: Annotated[float, typer.Option(help="Size of a video.", min=0.001)] = 500,
    upload_seconds: Annotated[float, typer.Option(help="Time for a video to come.", min=0.1)] = 600,
    max_seconds: Annotated[float, typer.Option(help="Length of a video.", min=0.001)] = 600,
    max_frames: Annotated[int, typer.Option(help="Frames of a video.", min=1)] = 20_000,
    max_pixels: Annotated[int, typer.Option(help="Pixels of a frame.", min=256)] = 3840 * 2160,
    job_seconds: Annotated[float, typer.Option(help="Time to segment a video.", min=0.1)] = 3600,
    kept_mb: Annotated[float, typer.Option(help="Size of all results that are kept.", min=0.001)] = 4000,
    kept_seconds: Annotated[float, typer.Option(help="Time after which results go.", min=0.1)] = 3600,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where videos and results are kept.", show_default="the system's for temporary files"),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Serve a page to try it, and videos that programs send; extra `serve`."""
    import logging

    from arseg.serve.limits import Limits
    from arseg.serve.server import serve as run

    from .values import height_of

    if folder is not None and not folder.is_dir():
        raise InputError(f"--folder: {folder} is no folder; make it first")
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    settings = {
        "weights": None if weights is None else str(weights),
        "gop": gop,
        "height": height_of(height),
        "budget": budget,
        "precision": precision,
        "device": device,
        "batch": batch,
    }
    limits = Limits(
        upload_mb=upload_mb,
        upload_seconds=upload_seconds,
        video_seconds=max_seconds,
        frames=max_frames,
        pixels=max_pixels,
        job_seconds=job_seconds,
        waiting=waiting,
        kept_mb=kept_mb,
        kept_seconds=kept_seconds,
    )
    run(
        settings,
        limits,
        host=host,
        port=port,
        workers=workers,
        allow_private=allow_private,
        hosts=tuple(allow_host or ()),
        folder=folder,
        say=typer.echo,
    )
