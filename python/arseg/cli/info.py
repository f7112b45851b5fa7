"""`arseg info`: what a weights file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def info(
    weights: Annotated[
        Path | None, typer.Argument(help="A .safetensors file of ours.", show_default="the package's own")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Tell what a weights file holds: network, classes, normalisation, licence, and how it was made."""
    from json import dumps

    from arseg.terminal import out_console
    from arseg.weights.files import DEFAULT_WEIGHTS
    from arseg.weights.info import weights_info, weights_report

    found = weights_info(DEFAULT_WEIGHTS if weights is None else weights)
    if json:
        typer.echo(dumps(found, indent=2, allow_nan=False))
    else:
        out_console().print(weights_report(found), highlight=False)
