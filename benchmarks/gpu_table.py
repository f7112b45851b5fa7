"""The short table that gpu_check.py prints last, and what the design asks for, out of its report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Report = dict[str, Any]
DTYPES = ("fp32", "fp16", "bf16")
# In a cell: our time, the larger share of a ceiling, and how many times longer each of these takes.
OTHERS = ("eager", "chain", "localAttention", "compiled", "flex")


def rows_of(report: Report) -> dict[str, dict[str, Any]]:
    return report.get("phases", {}).get("benchmarks", {}).get("rows", {})


def version(report: Report, row: str, name: str = "ours") -> dict[str, Any]:
    """A version's figures; those of the first pass where there are two."""
    for found in rows_of(report).get(row, {}).values():
        if "us" in found.get("versions", {}).get(name, {}):
            return found["versions"][name]
    return {}


def cell(report: Report, row: str) -> str:
    passes = rows_of(report).get(row)
    if not passes:
        return "not reached"
    ours = version(report, row)
    if not ours:
        return "FAILED"
    share = max(ours.get("share of copy", 0), ours.get("share of matmul", 0))
    ratios = [version(report, row, name).get("times ours") for name in OTHERS]
    others = " ".join(f"{ratio:.3g}" if ratio else "-" for ratio in ratios)
    return f"{ours['us']:.4g} {100 * share:.0f}% {others}"


def table(report: Report) -> list[str]:
    names = list(rows_of(report))
    calls = list(dict.fromkeys(name.rsplit(" ", 1)[0] for name in names))
    if not calls:
        return []
    lines = [f"us, share of the nearer ceiling, times ours: {' '.join(OTHERS)}"]
    grid = [["", *DTYPES], *([call, *(cell(report, f"{call} {dtype}") for dtype in DTYPES)] for call in sorted(calls))]
    widths = [max(len(row[i]) for row in grid) for i in range(len(grid[0]))]
    return lines + [" | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in grid]


@dataclass(frozen=True)
class Target:
    """What the design asks for on an H100: `value` of the report, None where it was not measured."""

    name: str
    limit: float
    at_most: bool
    value: Callable[[Report], float | None]


def time_of(row: str) -> Callable[[Report], float | None]:
    return lambda report: version(report, row).get("us")


def slower(report: Report) -> float | None:
    forward, backward = (version(report, f"attention{kind} 64x720x960 bf16").get("us") for kind in ("", " backward"))
    return backward / forward if forward and backward else None


TARGETS = (
    Target("fusion, features out, half, us", 190, True, time_of("creff 64x720x960 bf16")),
    Target("fusion, labels out, half, us", 150, True, time_of("labels 64x720x960 bf16")),
    Target("attention forward, half, us", 60, True, time_of("attention 64x720x960 bf16")),
    Target("attention backward / forward, half", 3.5, True, slower),
    Target("mv_warp, share of copy", 0.8, False, lambda r: version(r, "warp 64x720x960 bf16").get("share of copy")),
    Target("chain / fusion, half", 15, False, lambda r: version(r, "creff 64x720x960 bf16", "chain").get("times ours")),
)


def targets(report: Report) -> Iterator[dict[str, Any]]:
    for target in TARGETS:
        value = target.value(report)
        if value is None:
            yield {"target": target.name, "limit": target.limit, "met": None}
            continue
        met = value <= target.limit if target.at_most else value >= target.limit
        yield {"target": target.name, "limit": target.limit, "value": float(f"{value:.4g}"), "met": met}


def summary(report: Report) -> list[str]:
    device = report["device"]
    lines = ["", f"{device['name']}, torch {device['torch']}, {report.get('seconds', 0):.0f} s", *table(report)]
    ceilings = report.get("phases", {}).get("benchmarks", {}).get("ceilings")
    if ceilings:
        matmul = ", ".join(f"{name} {value:g}" for name, value in ceilings["matmul TFLOP/s"].items())
        lines.append(f"ceilings: copy {ceilings['copy GB/s']:g} GB/s; matmul TFLOP/s {matmul}")
        words = {None: "not measured", True: "met", False: "missed"}
        for found in targets(report):
            value = f" {found['value']:g}" if "value" in found else ""
            lines.append(f"target on an H100: {found['target']}:{value} ({found['limit']:g}), {words[found['met']]}")
    for name, phase in report.get("phases", {}).items():
        told = phase.get("failure") or phase.get("reason") or phase.get("summary")
        lines.append(f"{phase['status']:8} {name}" + (f": {told}" if told else ""))
    return lines
