"""`arseg info`: what a weights file says of itself; without one, which weights have a name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Json


def info(
    weights: Annotated[
        Path | None,
        typer.Argument(
            help="A .safetensors file of ours, or a name of the zoo such as lite0.", show_default="list the zoo"
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Tell what a weights file holds: network, classes, normalisation, licence, and how it was made."""
    from json import dumps

    from arseg.terminal import out_console

    if weights is None:
        found, report = _zoo()
    else:
        from arseg.weights.info import weights_info, weights_report

        found = weights_info(weights)
        report = weights_report(found)
    if json:
        typer.echo(dumps(found, indent=2, allow_nan=False))
    else:
        out_console().print(report, highlight=False)


def _zoo() -> tuple[dict[str, Any], Any]:
    """The weights that have a name, and a table of them."""
    from dataclasses import asdict

    from rich.table import Table

    from arseg.zoo import SHIPPED, VARIABLE, folders, listing

    table = Table(caption="GMACs and mIoU: full resolution, AR-Seg between keyframes / in the mean.")
    table.add_column("name", no_wrap=True)
    table.add_column("network")
    for heading in ("GMACs", "mIoU %"):
        table.add_column(heading, justify="right")
    table.add_column("file", overflow="fold")
    rows = {}
    for row in listing():
        (high, fused), (full, mean) = row.published.gmacs, row.published.miou
        place = f"{row.published.file} is not in {' or '.join(map(str, folders()))} (see {VARIABLE})"
        if not row.published.packaged:
            place = f"beside the releases: {row.published.file}, for a folder of {VARIABLE}"
        if row.path is not None:
            place = "in the package" if row.path.parent == SHIPPED else str(row.path)
        table.add_row(row.name, row.published.what, f"{high:.2f}, {fused:.2f}", f"{full:.1f}, {mean:.1f}", place)
        paths = {"path": row.path, "card": row.card}
        rows[row.name] = asdict(row.published) | {key: path and str(path) for key, path in paths.items()}
    return rows, table
