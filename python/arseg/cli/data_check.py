"""`arseg data check`: what is wrong with a data set, before it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arseg.errors import InputError

from .options import Workers

if TYPE_CHECKING:
    from rich.table import Table

    from arseg.data.check import Findings

SOURCE_HELP = (
    "A folder with images, labels and classes.json, or that of CamVid, Cityscapes, …; LAYOUT:FOLDER names the layout; "
    "module.py:Name is a data set of your own."
)
SHOWN = 5
"""Faults of one kind that are printed, where not all are asked for."""


def check(
    source: Annotated[str, typer.Argument(metavar="DATA", help=SOURCE_HELP, show_default=False)],
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="PNG to draw: crops as training sees them, with their labels.", show_default=False
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help=f"Print all faults, not {SHOWN} of each kind.")] = False,
    workers: Workers = 2,
) -> None:
    """Read a whole data set, and tell its faults: exit code 1 where there are any."""
    from arseg.data.check import check as run
    from arseg.data.opened import open_data
    from arseg.files import check_writable, save_png
    from arseg.terminal import counting, err_console, out_console

    if sheet is not None:
        check_writable(sheet)
    try:
        data = open_data(source)
    except InputError as error:  # of the data set itself
        typer.echo(f"{error}\n1 fault")
        raise typer.Exit(1) from None
    with counting(err_console(), "reading") as progress:
        found = run(data, workers=workers, progress=progress)
    console = out_console()
    parts = ", ".join(f"{count} {split}" for split, count in found.pictures.items())
    typer.echo(f"{data.name}: layout {data.layout}; {parts}; split {data.split_by}")
    typer.echo("pixels of each class, in percent of those labelled, and in how many pictures it is:")
    console.print(_table(found))
    for remark in found.remarks:
        typer.echo(f"remark: {remark}")
    for kind, sentences in found.faults.items():
        typer.echo(f"{kind}:")
        for sentence in sentences if every else sentences[:SHOWN]:
            typer.echo(f"  {sentence}")
        if len(sentences) > SHOWN and not every:
            typer.echo(f"  and {len(sentences) - SHOWN} more (--all)")
    count = sum(map(len, found.faults.values()))
    typer.echo(f"{count} fault{'s' if count != 1 else ''}" if count else "no faults")
    if sheet is not None:
        from arseg.inspect.training_sheet import training_sheet

        try:
            save_png(sheet, training_sheet(data))
            typer.echo(sheet)
        except InputError as error:  # one of the faults
            typer.echo(f"{sheet}: not drawn: {error}")
    raise typer.Exit(1 if count else 0)


def _table(found: Findings) -> Table:
    from rich.table import Table

    table = Table("class")
    for split in found.pixels:
        table.add_column(f"{split} %", justify="right")
        table.add_column("in", justify="right")
    totals = {split: max(1, int(pixels[:-1].sum())) for split, pixels in found.pixels.items()}
    for index, name in enumerate(found.labels.classes):
        row = [name]
        for split, pixels in found.pixels.items():
            row += [f"{100 * pixels[index] / totals[split]:.2f}", str(found.shown[split][index])]
        table.add_row(*row, end_section=index == len(found.labels.classes) - 1)
    ignored = ["ignored, of all"]
    for pixels in found.pixels.values():
        ignored += [f"{100 * pixels[-1] / max(1, int(pixels.sum())):.2f}", ""]
    table.add_row(*ignored)
    return table
