"""Commands about networks: what they compute, and weights from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from arseg.errors import InputError

if TYPE_CHECKING:
    from arseg.evaluate.flops import Cell


def register(app: typer.Typer) -> None:
    """Adds the commands `convert` and `flops`."""
    app.command("convert")(convert_weights)
    app.command("flops")(flops)


def convert_weights(
    source: Annotated[Path, typer.Argument(help="The authors' .pth file.", show_default=False)],
    output: Annotated[
        Path, typer.Argument(help="The .safetensors file to write; replaced if it exists.", show_default=False)
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
    from arseg.weights.convert import convert

    made = convert(source, output, fused=fused, arch=arch, part=part, scale=scale, window=window, half=half)
    what = f"both networks, for frames at {made.scale}x" if made.part == "ar" else f"part {made.part}"
    typer.echo(f"{output}: {made.arch}, {what}, {made.tensors} tensors")


def flops(
    model: Annotated[
        str | None,
        typer.Option(
            help="torchvision:NAME, timm:NAME (an encoder, with our head), module.py:function or "
            "package.module:function (called without arguments, returns a network), or a .safetensors file.",
            show_default="the paper's networks, as its table",
        ),
    ] = None,
    height: Annotated[int | None, typer.Option(help="Of the frame, with --model.", min=1)] = None,
    width: Annotated[int | None, typer.Option(help="Of the frame, with --model.", min=1)] = None,
    arch: Annotated[
        list[str] | None, typer.Option(help="A network of the paper; may be repeated.", show_default="its four")
    ] = None,
    window: Annotated[int, typer.Option(help="Side of the attention in the paper's networks.")] = 7,
    gop: Annotated[int, typer.Option(help="Frames in a group: one keyframe and the others.", min=1)] = 12,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Count multiply-accumulates: the paper's table, or any network."""
    from json import dumps

    from rich.console import Console

    if model is None:
        if height is not None or width is not None:
            raise InputError("--height, --width: the paper's table has its own sizes; give --model, too")
        record, table = _paper(arch, window, gop)
    else:
        if arch is not None:
            raise InputError("--arch: names a network of the paper, --model another; give one of them")
        if height is None or width is None:
            raise InputError("--model: say how large a frame is; give --height and --width")
        record, table = _network(model, height, width, gop)
    if json:
        typer.echo(dumps(record, indent=2, allow_nan=False))
    else:
        Console().print(table, highlight=False)


def _paper(archs: list[str] | None, window: int, gop: int) -> tuple[Any, Any]:
    from rich.table import Table

    from arseg.evaluate.flops import paper_table
    from arseg.networks.paper.published import PUBLISHED

    cells = paper_table(archs or PUBLISHED, gop=gop, window=window)
    names = dict.fromkeys(cell.arch.replace("-", "\n") for cell in cells)
    table = Table(
        "scale",
        *names,
        title=f"GMACs a frame: mean over a group of {gop} (a frame between keyframes)",
        caption="Convolutions and attention, at 960x720 (CamVid) and 2048x1024 (Cityscapes); the paper says GFLOPs.",
    )
    for scale in dict.fromkeys(cell.scale for cell in cells):
        table.add_row(f"{scale:.1f}", *(_text(cell) for cell in cells if cell.scale == scale))
    return [vars(cell) for cell in cells], table


def _text(cell: Cell) -> str:
    return f"{cell.average:.2f}" + (f" ({cell.between:.2f})" if cell.between is not None else "")


def _network(spec: str, height: int, width: int, gop: int) -> tuple[Any, Any]:
    from rich.table import Table

    from arseg.acceleration.network_source import network_from
    from arseg.evaluate.flops import gmacs, gop_average, network_compute
    from arseg.networks.arseg_net import ARSegNet

    try:
        model = network_from(spec, "meta")
        if isinstance(model, ARSegNet):
            counts = gmacs(model, height, width)
            rows = {
                "a frame at full resolution": counts["hr"],
                f"a frame at {model.scale}x": counts["lr"],
                f"a frame at {model.scale}x with fusion": counts["ar"],
                f"mean over a group of {gop}": gop_average(counts["hr"], counts["ar"], gop),
            }
            record: dict[str, Any] = {**counts, "average": rows[f"mean over a group of {gop}"], "gop": gop}
        else:
            found = network_compute(model, height, width)
            rows = {**found.parts, "all": found.total}
            record = vars(found)
    except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).split("\n")[0][:200]
        raise InputError(f"model: {spec} does not take an image [1, 3, {height}, {width}] ({reason})") from error
    table = Table()
    table.add_column(f"{spec} at {width}x{height}")
    table.add_column("GMACs", justify="right")
    for name, value in rows.items():
        table.add_row(name, f"{value:.2f}")
    return {"model": spec, "height": height, "width": width, **record}, table
