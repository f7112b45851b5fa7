"""`arseg fit`: one config from data to a report."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from arseg.errors import InputError


def fit(
    config: Annotated[
        Path | None,
        typer.Argument(help="TOML file; --init begins one.", show_default="settings of --set alone"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting in place of the config's, such as hr.steps=500; several times."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="default, or quick: a tenth of the work.", show_default="the config's, or default"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder of state, weights and report; a run that is there is gone on with.",
            show_default="the config's, or runs/fit",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1.", show_default="the config's, or cpu")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the plan, with what a few steps of it took, and write nothing."),
    ] = False,
    init: Annotated[bool, typer.Option("--init", help="Write a commented config to begin with, and end.")] = False,
) -> None:
    """Train, score and report on what there is data for: labelled stills, videos without labels, or both."""
    if init:
        return _begin(config)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("fit: runs as one process; several train with `arseg train hr` and `arseg train ar`")

    from arseg.fit.config import read_fit_config
    from arseg.fit.plan import open_plan
    from arseg.fit.run import run_plan, status_of
    from arseg.fit.show import cost_table, headline, plan_lines
    from arseg.terminal import out_console

    flags = {"preset": preset, "output": output, "device": device}
    given = [f"{key}={json.dumps(str(value))}" for key, value in flags.items() if value is not None]
    plan = open_plan(read_fit_config(config, [*(settings or []), *given]))
    status = status_of(plan)
    for line in plan_lines(plan, status):
        typer.echo(line, err=not dry_run)
    if dry_run:
        from arseg.fit.measure import measure

        typer.echo("measuring a few steps of each phase …", err=True)
        out_console().print(cost_table(plan, measure(plan), status))
        return
    path = run_plan(plan, lambda line: typer.echo(line, err=True))
    for line in headline(path):
        typer.echo(line)


def _begin(path: Path | None) -> None:
    from arseg.files import check_writable
    from arseg.fit.example import STARTER

    if path is None:
        typer.echo(STARTER, nl=False)
        return
    check_writable(path)
    if path.exists():
        raise InputError(f"{path}: exists already; give another name")
    path.write_text(STARTER)
    typer.echo(path)
