"""Results as text: a line for each version of a row."""

from __future__ import annotations

from typing import Any

from arseg_ext.profiler.results import Report

HEADER = ("", "time", "quartiles", "x ours", "GFLOP/s", "of mm", "GB/s", "of copy", "peak MB", "host", "difference")


def duration(us: float) -> str:
    if us >= 1e6:
        return f"{us / 1e6:.3g} s"
    return f"{us / 1e3:.3g} ms" if us >= 1e3 else f"{us:.3g} us"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.3g} %"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 1e3 else f"{value:.3g}"


def cells(name: str, version: dict[str, Any]) -> list[str]:
    if "us" not in version:
        return [f"  {name}", version.get("failure", "not timed")]
    low, high = version["quartiles us"]
    return [
        f"  {name}",
        duration(version["us"]),
        f"{duration(low)} - {duration(high)}",
        _number(version.get("times ours")),
        _number(version.get("GFLOP/s")),
        _share(version.get("share of matmul")),
        _number(version.get("GB/s")),
        _share(version.get("share of copy")),
        _number(version.get("peak MB")),
        duration(version["host us"]) if "host us" in version else "",
        _number(version.get("difference")),
    ]


MOST_KERNELS = 8  # of a version, the longest first
_WIDTHS = (16, 9, 19, 7, 8, 7, 7, 8, 8, 8, 10)


def _line(texts: list[str]) -> str:
    if len(texts) == 2:
        return f"{texts[0]:16} {texts[1]}"
    rest = (text.rjust(width) for text, width in zip(texts[1:], _WIDTHS[1:], strict=True))
    return " ".join([texts[0].ljust(_WIDTHS[0]), *rest]).rstrip()


def header() -> str:
    return _line(list(HEADER))


def row_text(row: dict[str, Any]) -> str:
    moved = row["bytes read"] + row["bytes written"]
    lines = [f"{row['name']}  ({row['flops'] / 1e9:.3g} GFLOP, {moved / 1e6:.3g} MB)"]
    for name, version in row["versions"].items():
        lines.append(_line(cells(name, version)))
    for name, version in row["versions"].items():
        for each in version.get("kernels", [])[:MOST_KERNELS]:
            lines.append(f"  {name:14} {duration(each['us']):>9} {each['calls']:>5} x  {each['name'][:90]}")
    return "\n".join(lines)


def ceilings_text(report: Report) -> list[str]:
    lines = []
    for device, found in report["ceilings"].items():
        matmul = ", ".join(f"{name} {_number(value)}" for name, value in found["matmul GFLOP/s"].items())
        lines.append(f"measured ceilings of {device}: copy {found['copy GB/s']:.4g} GB/s; mm GFLOP/s {matmul}")
    return lines


def facts_text(report: Report) -> str:
    """What is known of the machine and the build, in a line."""
    facts = report["facts"]
    parts = [
        facts.get("processor"),
        f"{facts['threads']} threads" if facts.get("threads") else "",
        *facts.get("gpu", {}).values(),
        f"torch {facts['torch']}",
        f"commit {facts['commit']}" if facts.get("commit") else "",
        facts["date"],
    ]
    return ", ".join(part for part in parts if part)
