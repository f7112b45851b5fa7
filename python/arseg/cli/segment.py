"""`arseg segment`: a video in; an overlay video, label maps, or both out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from arseg.errors import InputError
from arseg.segment.modes import Mode

from .options import (
    Device,
    Gop,
    ScoredModel,
    SegmenterBatch,
    SegmenterPrecision,
    SegmenterWeights,
    Stream,
    Timeout,
    Video,
    result_path,
)
from .startup import kept


def segment(
    video: Video,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Overlay video to write; replaced if it exists. Its first frame is at 0.",
            show_default="VIDEO-segmented.mp4, unless --labels is given",
            parser=result_path,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="New or empty folder to write: one PNG of class ids a frame, in the coded orientation.",
            parser=result_path,
        ),
    ] = None,
    weights: SegmenterWeights = None,
    model: ScoredModel = None,
    gop: Gop = 12,
    height: Annotated[
        str | None,
        typer.Option(
            help="Resize frames to this height for the network; 'video': leave them as they are.",
            show_default="the height that the network was trained for",
        ),
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(
            show_default="ar, unless there is a budget, a bound or a policy",
            help="ar: the method. To compare: hr, all frames at full resolution; lr, all at low; warp, the keyframe's "
            "result moved by the vectors; keep, the keyframe's result as it is.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Compute of the mean frame: 2gmacs, 40ms, or 25% of the network on every frame. It says how often "
            "there are keyframes.",
            show_default=False,
        ),
    ] = None,
    slowest: Annotated[
        str | None,
        typer.Option(
            "--live",
            help="Compute of the slowest frame, as --budget: no frame waits for the next, and a keyframe's work is "
            "spread over several.",
            show_default=False,
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="What frames between keyframes are made of: bidirectional, both keyframes around them, moved; "
            "ensemble, these and their own result at low resolution; warp, the last keyframe, moved; ar, the method.",
            show_default="bidirectional, where there is a budget or a bound",
        ),
    ] = None,
    precision: SegmenterPrecision = None,
    device: Device = "cpu",
    batch: SegmenterBatch = None,
    opacity: Annotated[float, typer.Option(help="Of the colours in the overlay.", min=0, max=1)] = 0.55,
    frames: Annotated[
        int | None, typer.Option(help="Stop after so many frames; live sources have no other end.", min=1)
    ] = None,
    transcode: Annotated[
        bool,
        typer.Option(help="Find motion vectors by encoding again, while reading, where the video has none to use."),
    ] = True,
    on_error: Annotated[
        Literal["raise", "resync"],
        typer.Option(
            help="At damage of a file: stop and write nothing, or go on at the next keyframe and say what was lost."
        ),
    ] = "raise",
    reconnect: Annotated[
        int, typer.Option(help="How often in a row to connect again to a network stream or camera.", min=0)
    ] = 5,
    timeout: Timeout = 10.0,
    stream: Stream = None,
) -> None:
    """Segment a video; write an overlay video, label maps, or both."""
    with kept():
        from arseg.segment.outputs import OUTPUTS
        from arseg.segment.run import segment_file
        from arseg.segment.segmenter import VideoSegmenter
        from arseg.terminal import err_console
        from arseg.video.names import default_stem

        if output is None and labels is None:
            output = Path(f"{default_stem(video)}-segmented.mp4")
        segmenter = VideoSegmenter(
            _network(weights, model, branch=_needs_branch(mode, policy, budget or slowest)),
            gop=gop,
            height=_height(height),
            mode=mode,
            precision=precision,
            device=device,
            batch=batch,
            budget=budget,
            slowest=slowest,
            policy=policy,
        )
    outputs = []
    if output is not None:
        outputs.append(OUTPUTS["overlay"](output, opacity=opacity))
    if labels is not None:
        outputs.append(OUTPUTS["labels"](labels))
    count = segment_file(
        segmenter,
        video,
        outputs,
        console=err_console(),
        frames=frames,
        transcode=transcode,
        on_error=on_error,
        reconnect=reconnect,
        timeout=timeout,
        stream=stream,
    )
    for written in outputs:
        typer.echo(f"{written.target}: {count} frames")


def _needs_branch(mode: Mode | None, policy: str | None, amount: str | None) -> bool:
    """Whether a frame's own low-resolution branch is used."""
    if policy is not None:
        return policy in ("ar", "ensemble")
    return mode == "ar" or (mode is None and amount is None)


def _network(weights: Path | None, model: str | None, *, branch: bool) -> Any:
    """What `VideoSegmenter` takes: the weights, or what they and `--model` make."""
    if model is None:
        return weights
    from arseg.acceleration.opened import around, open_network
    from arseg.networks.arseg_net import ARSegNet

    network = open_network(weights, model)
    if isinstance(network, ARSegNet):
        return network
    if branch:
        raise InputError(
            f"--model: {model} is a network alone; give a --budget such as 25%, or choose --mode hr, warp, lr or keep; "
            "or train its low-resolution branch with `arseg adapt` and give --weights"
        )
    return around(network)


def _height(text: str | None) -> int | Literal["video"] | None:
    if text is None:
        return None
    if text == "video":
        return "video"
    if not text.isdigit() or not 16 <= int(text) <= 4320:
        raise InputError(f"--height: expected 16 to 4320 pixels, or 'video', got {text!r}")
    return int(text)
