"""`arseg doctor`: whether this installation works."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with the environment for a bug report.")] = False,
) -> None:
    """Look at this installation and machine: what works, what does not, and what to do; exit code 1 at a fault.

    How a video will be read is what `arseg inspect` says.
    """
    from collections import Counter
    from dataclasses import asdict

    from arseg.doctor.examine import examine

    findings, width = [], 18
    colours = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "fault": typer.colors.RED}
    for finding in examine():
        findings.append(finding)
        if not json:
            level = typer.style(f"{finding.level:<8}", fg=colours[finding.level])
            typer.echo(f"{level} {finding.part:<{width}} {finding.found}")
            if finding.cure:
                typer.echo(f"{'':<8} {'':<{width}} {finding.cure}")
    levels = Counter(finding.level for finding in findings)
    if json:
        from json import dumps

        from arseg_ext.collect_env import collect

        report = {"findings": [asdict(finding) for finding in findings], "environment": collect()}
        typer.echo(dumps(report | {"faults": levels["fault"], "warnings": levels["warning"]}, indent=2))
    else:
        counts = [f"{levels[level]} {level}{'s' * (levels[level] != 1)}" for level in ("fault", "warning")]
        typer.echo(", ".join(counts))
    raise typer.Exit(1 if levels["fault"] else 0)
