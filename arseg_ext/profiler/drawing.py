"""Roofline and bars as SVG: text made of numbers, styled by the page that holds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from arseg_ext.profiler.problems import DTYPES
from arseg_ext.profiler.results import times
from arseg_ext.profiler.table import duration


def _text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _decades(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)]


def _tick(value: float, units: Sequence[tuple[float, str]]) -> str:
    for size, unit in units:
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def speed(gflops: float) -> str:
    return f"{gflops / 1e3:.3g} TFLOP/s" if gflops >= 1e3 else f"{gflops:.3g} GFLOP/s"


class _Axes:
    """Both logarithmic: operations a byte, and GFLOP/s."""

    width, height = 920, 460
    left, right, top, bottom = 64, 24, 24, 48

    def __init__(self, intensities: list[float], speeds: list[float]):
        self.x0, self.x1 = min(intensities) / 1.8, max(intensities) * 1.8
        self.y0, self.y1 = min(speeds) / 1.8, max(speeds) * 2.2

    def x(self, intensity: float) -> float:
        share = math.log(intensity / self.x0) / math.log(self.x1 / self.x0)
        return self.left + share * (self.width - self.left - self.right)

    def y(self, speed: float) -> float:
        share = math.log(speed / self.y0) / math.log(self.y1 / self.y0)
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)

    def frame(self) -> list[str]:
        low, high, end = self.height - self.bottom, self.top, self.width - self.right
        parts = []
        for value in _decades(self.x0, self.x1):
            parts.append(_line(self.x(value), high, self.x(value), low, "grid"))
            parts.append(_text(self.x(value), low + 18, f"{value:g}", "tick", "middle"))
        for value in _decades(self.y0, self.y1):
            parts.append(_line(self.left, self.y(value), end, self.y(value), "grid"))
            label = _tick(value, ((1e6, " P"), (1e3, " T"), (1, " G"), (1e-3, " M")))
            parts.append(_text(self.left - 8, self.y(value) + 4, label, "tick", "end"))
        parts.append(_text((self.left + end) / 2, self.height - 8, "operations for each byte moved", "axis", "middle"))
        middle = (high + low) / 2
        turned = f'<g transform="rotate(-90 14 {middle:.0f})">'
        parts.append(turned + _text(14, middle, "FLOP/s", "axis", "middle") + "</g>")
        return parts


def intensity(row: dict[str, Any]) -> float:
    return row["flops"] / (row["bytes read"] + row["bytes written"])


def roofline(rows: list[tuple[int, dict[str, Any]]], ceilings: dict[str, Any]) -> str:
    """Rows of one device, numbered: ours a dot, the others rings on the same vertical."""
    shown = [(number, row) for number, row in rows if "GFLOP/s" in row["versions"].get("ours", {})]
    if not shown:
        return ""
    used = {row["problem"]["dtype"] for _, row in shown}
    copy = ceilings["copy GB/s"]
    matmul = {name: peak for name, peak in ceilings["matmul GFLOP/s"].items() if name in used}
    every = [v["GFLOP/s"] for _, row in shown for v in times(row).values() if v.get("GFLOP/s")]
    ridges = [peak / copy for peak in matmul.values()]
    axes = _Axes([intensity(row) for _, row in shown] + ridges, every + list(matmul.values()))
    parts = [f'<svg viewBox="0 0 {axes.width} {axes.height}" role="img" aria-label="roofline">', *axes.frame()]
    top = max(matmul.values())
    start = max(axes.x0, axes.y0 / copy)
    parts.append(_line(axes.x(start), axes.y(start * copy), axes.x(top / copy), axes.y(top), "roof"))
    parts.append(_along_slope(axes, start, top / copy, copy))
    for name, peak in matmul.items():
        parts.append(_line(axes.x(peak / copy), axes.y(peak), axes.width - axes.right, axes.y(peak), "roof"))
        label = f"mm {DTYPES.get(name, name)} {speed(peak)}"
        parts.append(_text(axes.width - axes.right, axes.y(peak) - 9, label, "roof-label", "end"))
    labels: list[tuple[float, float]] = []
    for number, row in shown:
        parts += _column(number, row, axes, labels)
    return "\n".join([*parts, "</svg>"])


def _along_slope(axes: _Axes, start: float, end: float, copy: float) -> str:
    """The label of the slope, above it, where no dot can be by rights."""
    x, y = axes.x((start * end) ** 0.5), axes.y(copy * (start * end) ** 0.5)
    rise = math.atan2(axes.y(end * copy) - axes.y(start * copy), axes.x(end) - axes.x(start))
    turned = f'<g transform="rotate({math.degrees(rise):.2f} {x:.1f} {y:.1f})">'
    return turned + _text(x, y - 8, f"copy {copy:.4g} GB/s", "roof-label", "middle") + "</g>"


def _column(number: int, row: dict[str, Any], axes: _Axes, labels: list[tuple[float, float]]) -> list[str]:
    x = axes.x(intensity(row))
    found = {name: each for name, each in times(row).items() if each.get("GFLOP/s")}
    heights = [axes.y(each["GFLOP/s"]) for each in found.values()]
    parts = [_line(x, min(heights), x, max(heights), "column")]
    for name, each in reversed(found.items()):
        y = axes.y(each["GFLOP/s"])
        title = f"<title>{escape(row['name'])}, {name}: {speed(each['GFLOP/s'])}, {duration(each['us'])}</title>"
        radius = 5.5 if name == "ours" else 3.5
        style = "dot v-ours" if name == "ours" else f"ring v-{name}"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="{style}">{title}</circle>')
    y = axes.y(found["ours"]["GFLOP/s"]) - 4
    while any(abs(x - other_x) < 22 and abs(y - other_y) < 13 for other_x, other_y in labels):
        y -= 13
    labels.append((x, y))
    parts.append(_text(x + 9, y + 4, str(number), "number"))
    return parts


def bars(row: dict[str, Any], width: int = 940) -> str:
    """A bar for each version, as long as its median; the line on it reaches from quartile to quartile."""
    found = row["versions"]
    step, label, room = 26, 116, 170
    timed = times(row)
    if not timed:
        return ""
    longest = max(each["quartiles us"][1] for each in timed.values())
    per_us = (width - label - room) / max(longest, 1e-9)
    height = step * len(found) + 4
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="times of {escape(row["name"])}">']
    for i, (name, version) in enumerate(found.items()):
        y = 2 + i * step
        parts.append(_text(label - 10, y + 16, name, "name ours-name" if name == "ours" else "name", "end"))
        if "us" not in version:
            reason = version.get("failure", "not timed")
            parts.append(_text(label, y + 16, reason if len(reason) < 75 else reason[:72] + "...", "tick"))
            continue
        low, high = (each * per_us for each in version["quartiles us"])
        end = max(version["us"] * per_us, 1.5)
        title = f"<title>{name}: {duration(version['us'])}, {version['rounds']} rounds</title>"
        parts.append(
            f'<rect x="{label}" y="{y + 4}" width="{end:.1f}" height="{step - 9}" rx="2" class="bar v-{name}">'
            f"{title}</rect>"
        )
        middle = y + 4 + (step - 9) / 2
        parts.append(_line(label + low, middle, label + high, middle, "whisker"))
        for edge in (low, high):
            parts.append(_line(label + edge, middle - 4, label + edge, middle + 4, "whisker"))
        words = duration(version["us"])
        if "times ours" in version:
            words += f"  ·  {version['times ours']:.3g} × ours"
        style = "value ours-name" if name == "ours" else "value"
        parts.append(_text(label + max(end, high) + 8, y + 16, words, style))
    return "\n".join([*parts, "</svg>"])
