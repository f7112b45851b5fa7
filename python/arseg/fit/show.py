"""A plan and a result, as the terminal shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from arseg.train.log import duration

from .plan import NAMES, Plan
from .report import WAYS

if TYPE_CHECKING:
    from .measure import Cost


def plan_lines(plan: Plan, status: Mapping[str, str]) -> list[str]:
    """What each phase does, and where it stands: `status` is "done", "begun" or ""."""
    data = plan.sources.data
    lines = [f"plan of {plan.config.output}:"]
    if data is not None:
        lines.append(f"  data: {data.name} ({data.layout}), {plan.sources.stills} frames to train on; {data.split_by}")
    for phase in plan.phases:
        stages = ", then ".join(
            f"{n} steps" if len(phase.steps) == 1 else f"{n} steps of the {stage}" for stage, n in phase.steps.items()
        )
        state = f" ({status[phase.name]} already)" if status.get(phase.name) else ""
        lines.append(f"  {phase.name}{state}: {NAMES[phase.name]}; {phase.what}{f'; {stages}' if stages else ''}")
    return lines


def cost_table(plan: Plan, costs: Mapping[str, Cost], status: Mapping[str, str]) -> Table:
    """What each phase takes, a row for each of its stages."""
    table = Table("phase")
    for heading in ("steps", "s a step", "time", "memory", "disk"):
        table.add_column(heading, justify="right")
    for phase in plan.phases:
        cost = costs[phase.name]
        stages: list[tuple[str, int | None]] = [*phase.steps.items()] or [("", None)]
        for number, (stage, steps) in enumerate(stages):
            name = phase.name if len(stages) == 1 else f"{phase.name}: {stage}"
            pace = f"{cost.step[stage]:.2f}" if stage in cost.step else ""
            whole = ("", "", "") if number else (duration(cost.seconds), size(cost.memory), size(cost.disk))
            table.add_row(name, "" if steps is None else f"{steps}", pace, *whole)
        table.rows[-1].end_section = True
    left = [cost for name, cost in costs.items() if status.get(name) != "done"]
    memory = max((cost.memory for cost in left), default=0)
    table.add_row(
        "to do" if len(left) < len(costs) else "all",
        "",
        "",
        duration(sum(cost.seconds for cost in left)),
        size(memory),
        size(sum(cost.disk for cost in left)),
    )
    return table


def size(count: float) -> str:
    """'350 MB', '1.2 GB'."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def headline(report: Path) -> list[str]:
    """The scores in a line, and where weights and report are."""
    record = json.loads(report.with_suffix(".json").read_text())
    means = ", ".join(f"{WAYS[name]} {curve['mean']:.1f}" for name, curve in record["curves"].items() if curve["mean"])
    lines = [f"mIoU, mean of distances: {means}"] if means else []
    return [*lines, str(report.parent / record["weights"]), str(report)]
