"""`arseg flops`: what a network computes for a frame."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arseg.errors import InputError

from .options import NETWORK_HELP, Json

if TYPE_CHECKING:
    from arseg.evaluate.flops import Cell


def flops(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help=NETWORK_HELP,
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
    json: Json = False,
) -> None:
    """Count multiply-accumulates: the paper's table, or any network."""
    from json import dumps

    from arseg.terminal import out_console

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
        out_console().print(table, highlight=False)


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
    from arseg.acceleration.sizes import find_sizes
    from arseg.evaluate.flops import gmacs, gop_average, network_compute
    from arseg.networks.arseg_net import ARSegNet

    seen = (height, width)
    try:
        model = network_from(spec, "meta")
        if isinstance(model, ARSegNet):
            counts = gmacs(model, height, width)
            rows = {
                "a frame at full resolution": counts["hr"],
                f"a frame at {model.scale}x": counts["lr"],
                f"a frame at {model.scale}x with fusion": counts["ar"],
                f"mean over a group of {gop}": gop_average(counts["keyframe"], counts["ar"], gop),
            }
            if counts["keyframe"] != counts["hr"]:
                rows = {"a keyframe, with the branch on it": counts["keyframe"], **rows}
            record: dict[str, Any] = {**counts, "average": rows[f"mean over a group of {gop}"], "gop": gop}
        else:
            with suppress(InputError):  # what it says of that size, the count below says better
                seen = find_sizes(model, seen).nearest(seen)
            found = network_compute(model, *seen)
            rows = {**found.parts, "all": found.total}
            record = vars(found) if seen == (height, width) else {**vars(found), "seen": seen}
    except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).split("\n")[0][:200]
        raise InputError(f"model: {spec} does not take an image [1, 3, {height}, {width}] ({reason})") from error
    table = Table()
    table.add_column(f"{spec} at {width}x{height}" + (f", seen at {seen[1]}x{seen[0]}" if "seen" in record else ""))
    table.add_column("GMACs", justify="right")
    for name, value in rows.items():
        table.add_row(name, f"{value:.2f}")
    return {"model": spec, "height": height, "width": width, **record}, table
