"""`arseg convert`: the authors' weights as files of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def convert(
    source: Annotated[Path, typer.Argument(help="The authors' .pth file.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The .safetensors file to write; replaced if it exists.", show_default=False
        ),
    ],
    fused: Annotated[
        Path | None,
        typer.Option(help="The low-resolution network with its fusion; both become one file, for `arseg segment`."),
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option(
            help="camvid-psp18, camvid-bise18, cityscapes-psp18, cityscapes-bise18, or one with a deeper ResNet.",
            show_default="told from the keys",
        ),
    ] = None,
    part: Annotated[
        Literal["hr", "fused"] | None, typer.Option(help="Which network SOURCE is.", show_default="told from the keys")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Of the low-resolution frames.",
            show_default="what the fused file's name says, as in PSPNet_resnet18_0.5_…, or else 0.5",
        ),
    ] = None,
    window: Annotated[int, typer.Option(help="Side of the attention, which the weights do not tell.")] = 7,
    half: Annotated[bool, typer.Option("--half", help="Store half precision: half the size.")] = False,
) -> None:
    """Convert the authors' weights; with --fused into one file that `arseg segment --weights` takes."""
    from arseg.weights.convert import convert as run

    made = run(source, output, fused=fused, arch=arch, part=part, scale=scale, window=window, half=half)
    what = f"both networks, for frames at {made.scale}x" if made.part == "ar" else f"part {made.part}"
    typer.echo(f"{output}: {made.arch}, {what}, {made.tensors} tensors")
