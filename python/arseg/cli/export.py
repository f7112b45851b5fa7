"""`arseg export`: a network as compiled packages or ONNX, which `arseg segment` and other programs run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from arseg.errors import InputError

from .options import Device, Precision, ScoredModel, SegmenterWeights


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; new or empty.", show_default=False)],
    videos: Annotated[
        list[str] | None,
        typer.Argument(metavar="[VIDEO…]", help="Videos to export for: their sizes are taken.", show_default=False),
    ] = None,
    weights: SegmenterWeights = None,
    model: ScoredModel = None,
    height: Annotated[
        int | None,
        typer.Option(
            help="Of the images that the network sees, for VIDEOs.",
            min=16,
            show_default="the height that the network was trained for",
        ),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            help="Height and width of the images that the network sees, such as 576x1024; several times.",
            show_default="those of the VIDEOs, or 16:9",
        ),
    ] = None,
    format: Annotated[
        str,
        typer.Option(help="aoti, packages of AOTInductor; onnx, the branches as ONNX; program, of torch.export."),
    ] = "aoti",
    precision: Precision = "float32",
    device: Device = "cpu",
) -> None:
    """Export a network for `arseg segment`, C++ and ONNX Runtime: keyframe branch, low-resolution branch, fusion."""
    from arseg.device import check_device
    from arseg.evaluate.exported import compare
    from arseg.export.formats import FORMATS
    from arseg.export.make import export_network

    from .inputs import report_line
    from .values import size_of

    FORMATS[format]
    check_device(device)
    net, branch = _network(weights, model)
    net = net.to(device)
    sizes = [size_of(text) for text in size or []] + _sizes_of(videos or [], height or net.input_height)
    if not sizes:
        sizes = [_usual(height or net.input_height or USUAL_HEIGHT)]
    if not branch:
        report_line("keyframes alone: this network has no trained low-resolution branch")
    export_network(net, output, sizes, format=format, precision=precision, branch=branch, report=report_line)
    for one in dict.fromkeys(sizes):
        report_line(f"{compare(net, output, one, branch=branch)}")
    typer.echo(output)


USUAL_HEIGHT = 576
"""Of images, where neither the network nor the user says another."""


def _network(weights: Path | None, model: str | None) -> tuple[Any, bool]:
    """The network, and whether it has a trained branch."""
    from arseg.acceleration.opened import around, open_network
    from arseg.export.exported import is_exported
    from arseg.networks.arseg_net import ARSegNet
    from arseg.networks.fused import FusedNetwork

    if weights is not None and is_exported(weights):
        raise InputError(f"--weights: {weights} is exported already; give the weights themselves")
    network = open_network(weights, model)
    if isinstance(network, FusedNetwork):
        raise InputError(
            f"{weights}: the low-resolution network alone; convert it together with the keyframes' (--fused)"
        )
    return (network, True) if isinstance(network, ARSegNet) else (around(network), False)


def _sizes_of(videos: list[str], height: int | None) -> list[tuple[int, int]]:
    from arseg.preprocess import input_size
    from arseg.video import VideoReader

    found = []
    for video in videos:
        with VideoReader(video) as reader:
            found.append(input_size((reader.height, reader.width), height))
    return found


def _usual(height: int) -> tuple[int, int]:
    from arseg.preprocess import input_size

    return input_size((9, 16), height)
