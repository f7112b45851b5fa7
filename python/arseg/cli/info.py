"""`arseg info`: what a weights file says of itself; without one, which weights have a name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Json

_CAPTION = (
    "GMACs: full resolution, a frame between keyframes. mIoU: full resolution, AR-Seg's mean. A release: a file beside "
    "the project's releases, to be put into a folder that ARSEG_WEIGHTS names."
)


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

    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from arseg.zoo import SHIPPED, listing

    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=_CAPTION, caption_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("network")
    for heading in ("GMACs", "mIoU %"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("file", overflow="fold")
    rows = {}
    for row in listing():
        (high, fused), (full, mean) = row.published.gmacs, row.published.miou
        place = "is missing" if row.published.packaged else "a release"
        if row.path is not None:
            place = "packaged" if row.path.parent == SHIPPED else str(row.path)
        table.add_row(row.name, row.published.what, f"{high:.2f}, {fused:.2f}", f"{full:.1f}, {mean:.1f}", place)
        paths = {"path": row.path, "card": row.card}
        rows[row.name] = asdict(row.published) | {key: path and str(path) for key, path in paths.items()}
    return rows, table
