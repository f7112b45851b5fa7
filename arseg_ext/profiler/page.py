"""Results as one HTML page that needs nothing beside itself: roofline, bars with quartiles, all figures, kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from arseg_ext.profiler import drawing, table
from arseg_ext.profiler.compare import Change
from arseg_ext.profiler.results import Report, times

# Of versions: on white, and on black.
COLOURS = {
    "ours": ("#1668dc", "#58a6ff"),
    "eager": ("#a3adba", "#7d8794"),
    "compiled": ("#e0a13a", "#d9a441"),
    "chain": ("#b7a3d9", "#9c86c9"),
    "flex": ("#55a88a", "#58b393"),
    "natten": ("#d97b93", "#d9758f"),
    "localAttention": ("#6fb1c9", "#63a9c4"),
    "head": ("#c7b37a", "#b3a067"),
    "out": ("#7fb2f0", "#3f7fc4"),
    "copy": ("#cfd4da", "#555d68"),
}

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #1c2129; --soft: #626c7a; --rule: #e3e7ec;
  --bad: #c62f3b; --good: #1a7f4b; LIGHT }
@media (prefers-color-scheme: dark) { :root { --page: #101216; --card: #191c22; --ink: #e7eaee; --soft: #98a2b0;
  --rule: #2b3038; --bad: #ff7b84; --good: #5fd08f; DARK } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
  Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1020px; margin: 0 auto; padding: 36px 20px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 36px 0 12px; }
h3 { font-size: 15px; margin: 0; font-weight: 600; overflow-wrap: anywhere; }
p { margin: 0 0 8px; } .soft { color: var(--soft); } .small { font-size: 13px; }
.card, .head { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.card { padding: 18px 20px; margin: 0 0 14px; }
.heads { display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0 0; }
.head { flex: 1 1 150px; padding: 12px 16px; }
.head b { display: block; font-size: 24px; font-weight: 650; font-variant-numeric: tabular-nums; }
.cost { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 2px 0 10px; color: var(--soft); font-size: 13px; }
.pin { display: inline-block; min-width: 22px; color: var(--ours); font-weight: 700; }
ol.index { columns: 2; margin: 12px 0 0; padding: 0; list-style: none; font-size: 13px; }
ol.index li { break-inside: avoid; overflow-wrap: anywhere; }
.keys { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; color: var(--soft); margin: 0 0 8px; }
.keys i { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 6px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 4px 8px; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } th:first-child, td:first-child { text-align: left; }
td.left { text-align: left; } tr.row td { padding-top: 14px; font-weight: 600; } tr.ours td { color: var(--ours); }
details { margin-top: 10px; } summary { cursor: pointer; color: var(--soft); font-size: 13px; }
.slower { color: var(--bad); font-weight: 600; } .faster { color: var(--good); font-weight: 600; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 13px; }
svg .tick, svg .axis { fill: var(--soft); font-size: 12px; } svg .grid { stroke: var(--rule); }
svg .roof { stroke: var(--ink); stroke-width: 1.8; } svg .roof-label { fill: var(--soft); font-size: 12px; }
svg .column { stroke: var(--soft); stroke-opacity: .35; }
svg .number { font-size: 12px; font-weight: 700; fill: var(--ours); }
svg .number, svg .roof-label { paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
svg .whisker { stroke: var(--ink); stroke-width: 1.2; } svg .name, svg .value { fill: var(--soft); }
svg .ours-name { fill: var(--ours); font-weight: 650; }
"""
_DOT = "svg .dot.v-{name}, svg .bar.v-{name} {{ fill: var(--{name}); }} "
_RING = "svg .ring.v-{name} {{ fill: var(--card); stroke: var(--{name}); stroke-width: 2; }}"


def _style() -> str:
    light = " ".join(f"--{name}: {pair[0]};" for name, pair in COLOURS.items())
    dark = " ".join(f"--{name}: {pair[1]};" for name, pair in COLOURS.items())
    rules = "\n".join((_DOT + _RING).format(name=name) for name in COLOURS)
    return STYLE.replace("LIGHT", light).replace("DARK", dark) + rules


def html(report: Report, changes: Sequence[Change] = ()) -> str:
    rows = list(enumerate(report["rows"], 1))
    body = [
        "<h1>Profile of arseg_ext</h1>",
        f'<p class="soft">{escape(table.facts_text(report))}</p>',
        _heads(report),
        _changes(changes),
    ]
    for device, ceilings in report["ceilings"].items():
        here = [(number, row) for number, row in rows if row["problem"].get("device", "cpu") == device]
        if drawn := drawing.roofline(here, ceilings):
            body += [f"<h2>Roofline of {escape(device)}</h2>", _roofline_card(drawn, here)]
    body.append("<h2>Times</h2>")
    body.append(
        '<p class="soft small">A bar is a median, the line on it reaches from the lower to the upper quartile. '
        "Host: time until a call returns (on the CPU on a map of one pixel). Maps that stay in a cache can have more "
        "than all of a copy's bytes a second.</p>"
    )
    body += [_row_card(number, row) for number, row in rows]
    body += ["<h2>All figures</h2>", _figures(report)]
    inside = "\n".join(part for part in body if part)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Profile of arseg_ext</title>'
        f"<style>{_style()}</style></head>\n<body><main>\n{inside}\n</main></body></html>\n"
    )


def _heads(report: Report) -> str:
    """How many times as long as ours each other version takes: the geometric mean over the rows that have it."""
    ratios: dict[str, list[float]] = {}
    for row in report["rows"]:
        for name, version in times(row).items():
            if version.get("times ours") and name not in ("copy", "out"):
                ratios.setdefault(name, []).append(version["times ours"])
    cards = [
        f'<div class="head"><b>{_mean(found):.3g} ×</b><span class="soft small">{escape(name)}: its time over ours, '
        f"mean of {len(found)}</span></div>"
        for name, found in ratios.items()
    ]
    return f'<div class="heads">{"".join(cards)}</div>' if cards else ""


def _mean(values: list[float]) -> float:
    return math.exp(sum(math.log(each) for each in values) / len(values))


def _changes(changes: Sequence[Change]) -> str:
    if not changes:
        return ""
    lines = []
    for change in changes:
        control = f", controls {change.control.low:.3f} - {change.control.high:.3f}" if change.control else ""
        lines.append(
            f'<tr><td>{escape(change.name)}</td><td class="{change.verdict}">{change.verdict}</td>'
            f"<td>{change.ours.middle:.3f} ×{control}</td>"
            f"<td>{change.ours.low:.3f} - {change.ours.high:.3f}</td></tr>"
        )
    head = "<tr><th>row</th><th>verdict</th><th>median, now / then</th><th>quartiles allow</th></tr>"
    return f'<h2>Since the results before</h2><div class="card wide"><table>{head}{"".join(lines)}</table></div>'


def _roofline_card(drawn: str, rows: list[tuple[int, dict[str, Any]]]) -> str:
    names = dict.fromkeys(name for _, row in rows for name in times(row) if name != "copy")
    keys = "".join(f'<span><i style="background: var(--{name})"></i>{escape(name)}</span>' for name in names)
    index = "".join(f'<li><span class="pin">{number}</span> {escape(row["name"])}</li>' for number, row in rows)
    return f'<div class="card"><div class="keys">{keys}</div>{drawn}<ol class="index">{index}</ol></div>'


def _row_card(number: int, row: dict[str, Any]) -> str:
    ours = row["versions"].get("ours", {})
    moved = row["bytes read"] + row["bytes written"]
    facts = [f"{row['flops'] / 1e9:.3g} GFLOP", f"{moved / 1e6:.3g} MB"]
    if "us" in ours:
        facts.append(drawing.speed(ours["GFLOP/s"]))
        if "share of matmul" in ours:
            facts.append(f"{100 * ours['share of matmul']:.3g} % of mm")
        facts.append(f"{ours['GB/s']:.4g} GB/s, {100 * ours['share of copy']:.3g} % of a copy")
    if "host us" in ours:
        facts.append(f"host {table.duration(ours['host us'])}")
    if "peak MB" in ours:
        facts.append(f"peak {ours['peak MB']:.4g} MB")
    cost = "".join(f"<span>{escape(each)}</span>" for each in facts)
    wrong = f'<p class="slower">wrong: {escape(row["wrong"])}</p>' if "wrong" in row else ""
    title = f'<h3><span class="pin">{number}</span> {escape(row["name"])}</h3>'
    return f'<div class="card">{title}<div class="cost">{cost}</div>{wrong}{drawing.bars(row)}{_kernels(row)}</div>'


def _kernels(row: dict[str, Any]) -> str:
    parts = []
    for name, version in row["versions"].items():
        for each in version.get("kernels", [])[: table.MOST_KERNELS]:
            parts.append(
                f"<tr><td>{escape(name)}</td><td>{table.duration(each['us'])}</td><td>{each['calls']}</td>"
                f'<td class="left">{escape(each["name"][:100])}</td></tr>'
            )
    if not parts:
        return ""
    head = '<tr><th>version</th><th>time</th><th>calls</th><th class="left">kernel or operator</th></tr>'
    return f'<details><summary>kernels</summary><div class="wide"><table>{head}{"".join(parts)}</table></div></details>'


def _figures(report: Report) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in table.HEADER)
    lines = []
    for number, row in enumerate(report["rows"], 1):
        span = len(table.HEADER)
        lines.append(f'<tr class="row"><td colspan="{span}">{number} {escape(row["name"])}</td></tr>')
        for name, version in row["versions"].items():
            cells = [escape(each.strip()) for each in table.cells(name, version)]
            if len(cells) == 2:
                lines.append(f'<tr><td>{cells[0]}</td><td class="left soft" colspan="{span - 1}">{cells[1]}</td></tr>')
            else:
                style = ' class="ours"' if name == "ours" else ""
                lines.append(f"<tr{style}>{''.join(f'<td>{each}</td>' for each in cells)}</tr>")
    return f'<div class="card wide"><table><tr>{head}</tr>{"".join(lines)}</table></div>'
