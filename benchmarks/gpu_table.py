"""The short table that gpu_check.py prints last, and what the design asks for, out of its report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from arseg_ext.profiler.problems import DTYPES as SHORT
from arseg_ext.profiler.results import times

Report = dict[str, Any]
DTYPES = ("fp32", "fp16", "bf16")
# In a cell: our time, the larger share of a ceiling, and how many times longer each of these takes.
OTHERS = ("eager", "chain", "localAttention", "compiled", "flex")


def call_of(row: dict[str, Any]) -> str:
    """What is called on which map: the line of the table."""
    direction = "" if row["direction"] == "forward" else f" {row['direction']}"
    return f"{row['op']}{direction} {'x'.join(str(each) for each in row['problem']['shape'][1:])}"


def rows_of(report: Report) -> dict[tuple[str, str], dict[str, Any]]:
    """By call and dtype."""
    rows = report.get("phases", {}).get("benchmarks", {}).get("rows", [])
    return {(call_of(row), SHORT[row["problem"]["dtype"]]): row for row in rows}


def version(report: Report, call: str, dtype: str, name: str = "ours") -> dict[str, Any]:
    """A version's figures, none where it was not timed."""
    row = rows_of(report).get((call, dtype))
    return times(row).get(name, {}) if row else {}


def cell(report: Report, call: str, dtype: str) -> str:
    if (call, dtype) not in rows_of(report):
        return "not reached"
    ours = version(report, call, dtype)
    if not ours:
        return "FAILED"
    share = max(ours.get("share of copy", 0), ours.get("share of matmul", 0))
    ratios = [version(report, call, dtype, name).get("times ours") for name in OTHERS]
    others = " ".join(f"{ratio:.3g}" if ratio else "-" for ratio in ratios)
    return f"{ours['us']:.4g} {100 * share:.0f}% {others}"


def table(report: Report) -> list[str]:
    calls = sorted({call for call, _ in rows_of(report)})
    if not calls:
        return []
    lines = [f"us, share of the nearer ceiling, times ours: {' '.join(OTHERS)}"]
    grid = [["", *DTYPES], *([call, *(cell(report, call, dtype) for dtype in DTYPES)] for call in calls)]
    widths = [max(len(row[i]) for row in grid) for i in range(len(grid[0]))]
    return lines + [" | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in grid]


@dataclass(frozen=True)
class Target:
    """What the design asks for on an H100: `value` of the report, None where it was not measured."""

    name: str
    limit: float
    at_most: bool
    value: Callable[[Report], float | None]


def time_of(call: str, dtype: str = "bf16") -> Callable[[Report], float | None]:
    return lambda report: version(report, call, dtype).get("us")


def slower(report: Report) -> float | None:
    forward, backward = (time_of(f"local_attention{kind} {BIG}")(report) for kind in ("", " backward"))
    return backward / forward if forward and backward else None


BIG = "64x720x960"
TARGETS = (
    Target("fusion, features out, half, us", 190, True, time_of(f"creff {BIG}")),
    Target("fusion, labels out, half, us", 150, True, time_of(f"creff_labels {BIG}")),
    Target("attention forward, half, us", 60, True, time_of(f"local_attention {BIG}")),
    Target("attention backward / forward, half", 3.5, True, slower),
    Target("mv_warp, share of copy", 0.8, False, lambda r: version(r, f"mv_warp {BIG}", "bf16").get("share of copy")),
    Target("chain / fusion, half", 15, False, lambda r: version(r, f"creff {BIG}", "bf16", "chain").get("times ours")),
)


def targets(report: Report) -> Iterator[dict[str, Any]]:
    for target in TARGETS:
        value = target.value(report)
        if value is None:
            yield {"target": target.name, "limit": target.limit, "met": None}
            continue
        met = value <= target.limit if target.at_most else value >= target.limit
        yield {"target": target.name, "limit": target.limit, "value": float(f"{value:.4g}"), "met": met}


def pipeline(found: dict[str, Any]) -> str:
    """A network's ms a frame by groups, recorded, in each mode, and what is asked for."""
    modes = ("hr", "ar", "lr", "warp")
    told = ["ms a frame " + ", ".join(f"{mode} {found['rows'][f'{mode} group recorded']['ms']:.3g}" for mode in modes)]
    told.append(f"HR / AR {found['HR batched / AR']:g}")
    for name, target in found["targets"].items():
        met = "met" if target["met"] else "missed"
        told.append(f"{name} {target['value']:.3g} ({target['limit']:g}), {met}")
    return "; ".join(told)


def summary(report: Report) -> list[str]:
    device = report["device"]
    lines = ["", f"{device['name']}, torch {device['torch']}, {report.get('seconds', 0):.0f} s", *table(report)]
    for ceilings in report.get("phases", {}).get("benchmarks", {}).get("ceilings", {}).values():
        matmul = ", ".join(f"{SHORT[name]} {value / 1e3:g}" for name, value in ceilings["matmul GFLOP/s"].items())
        lines.append(f"ceilings: copy {ceilings['copy GB/s']:g} GB/s; matmul TFLOP/s {matmul}")
        words = {None: "not measured", True: "met", False: "missed"}
        for found in targets(report):
            value = f" {found['value']:g}" if "value" in found else ""
            lines.append(f"target on an H100: {found['target']}:{value} ({found['limit']:g}), {words[found['met']]}")
    for name, found in report.get("phases", {}).get("pipeline", {}).get("cases", {}).items():
        lines.append(f"pipeline, {name}: {found['failure'] if 'failure' in found else pipeline(found)}")
    for name, phase in report.get("phases", {}).items():
        told = phase.get("failure") or phase.get("reason") or phase.get("summary")
        lines.append(f"{phase['status']:8} {name}" + (f": {told}" if told else ""))
    return lines
