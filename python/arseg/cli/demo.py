"""`arseg demo`: one video in three ways, with a table that compares them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Device, SegmenterBatch, SegmenterPrecision, SegmenterWeights, Stream, Timeout, result_path


def demo(
    video: Annotated[str | None, typer.Argument(help="Your own video.", show_default="a synthetic street")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.", parser=result_path)] = Path(
        "demo-output"
    ),
    weights: SegmenterWeights = None,
    frames: Annotated[int, typer.Option(help="Length of the synthetic street.", min=1)] = 96,
    seed: Annotated[int, typer.Option(help="Which synthetic street.")] = 7,
    height: Annotated[int, typer.Option(help="Of the synthetic street; it is 4:3.", min=16)] = 360,
    stream: Stream = None,
    timeout: Timeout = 10.0,
    precision: SegmenterPrecision = None,
    device: Device = "cpu",
    batch: SegmenterBatch = None,
) -> None:
    """Segment a video in three ways: all at high resolution, all at low resolution, and as AR-Seg."""
    from arseg.errors import InputError
    from arseg.evaluate.demo import run_demo
    from arseg.export.exported import ExportedNet
    from arseg.segment.segmenter import VideoSegmenter
    from arseg.terminal import err_console

    model = VideoSegmenter(weights, precision=precision, device=device).model
    if isinstance(model, ExportedNet):
        raise InputError(
            f"--weights: {weights} is an exported folder, which `segment` runs; give the weights themselves"
        )
    run_demo(
        model,
        output,
        video,
        frames=frames,
        seed=seed,
        height=height,
        stream=stream,
        timeout=timeout,
        precision=precision,
        device=device,
        batch=batch,
        console=err_console(),
    )
