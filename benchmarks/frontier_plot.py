"""The frontier's results as a plot and as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

NETWORKS = {"lite0": "lite0 (shipped)", "pspnet18": "PSPNet18", "bisenet18": "BiSeNet18", "lraspp18": "LRASPP-ResNet18"}
"""By the name in the results; the last is torchvision's."""

CURVES = {
    "both sides": ("#2a6fb0", "o"),
    "warp": ("#e07b26", "s"),
    "spread": ("#8a8f98", "v"),
    "AR": ("#c23b3b", "*"),
    "residual": ("#7b4fa3", "P"),
    "branch alone": ("#3a8f4d", "^"),
    "branch, memory": ("#1f6b3a", "D"),
    "both sides and branch": ("#12b5a6", "X"),
    "arseg --budget": ("#000000", "+"),
    "HR": ("#5a5f66", "h"),
}
"""What is drawn, by family: colour and marker."""

Row = Mapping[str, Any]
Results = dict[str, dict[str, dict[str, Row]]]
"""By network, stream and name of the policy."""


def read(folder: Path) -> Results:
    found: Results = {}
    for name in NETWORKS:
        path = folder / f"frontier-{name}.json"
        if path.exists():
            streams = json.loads(path.read_text())["streams"]
            found[name] = {stream: record["rows"] for stream, record in streams.items()}
    return found


def clips(streams: Mapping[str, Mapping[str, Row]]) -> dict[str, dict[str, Any]]:
    """Of each policy the means over the streams without labels, and the dearest of their slowest frames."""
    rows = [streams[name] for name in streams if name != "val"]
    found: dict[str, dict[str, Any]] = {}
    for name in rows[0] if rows else ():
        same = [row[name] for row in rows if name in row]
        means = {key: float(np.mean([row[key] for row in same])) for key in ("compute", "agreement", "consistent")}
        found[name] = {**same[0], **means, "slowest": max(row["slowest"] for row in same)}
    return found


def families(rows: Mapping[str, Row]) -> dict[str, list[Row]]:
    """The rows of each family that is drawn, by their compute."""
    found: dict[str, list[Row]] = {}
    for row in rows.values():
        if row["family"] in CURVES:
            found.setdefault(row["family"], []).append(row)
    return {name: sorted(found[name], key=lambda row: row["compute"]) for name in CURVES if name in found}


def flat(rows: Mapping[str, Row]) -> dict[str, Row]:
    """Against the slowest frame: what takes from frames to come may compute the next keyframe meanwhile, too.

    It is as late as two groups then, and every frame costs what the mean one does.
    """
    return {name: {**row, "slowest": row["compute"]} if row["late"] else row for name, row in rows.items()}


def drawn(results: Path) -> dict[str, list[dict[str, list[list[float]]]]]:
    """The points of the plot: by network, of its three panels each family's [across, up]."""
    found = {}
    for name, streams in read(results).items():
        mean = clips(streams)
        panels = (
            (streams.get("val", {}), "compute", "miou"),
            (mean, "compute", "agreement"),
            (flat(mean), "slowest", "agreement"),
        )
        found[name] = [
            {family: [[row[across], row[up]] for row in points] for family, points in families(rows).items()}
            for rows, across, up in panels
        ]
    return found


TITLES = ("mIoU %, CamVid val", "agreement with HR %, road clips", "agreement with HR %, road clips")


def draw(results: Path, out: Path) -> None:
    """Quality against compute, by truth and by agreement, and against the slowest frame; a column for each network.

    The PNG carries its points in the text chunk `data`.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL.PngImagePlugin import PngInfo

    found = drawn(results)
    chunks = PngInfo()
    chunks.add_text("data", json.dumps(found), zip=True)
    style = {"font.size": 8.5, "axes.spines.top": False, "axes.spines.right": False}
    with pyplot.rc_context(style):
        size = 3.3 * len(found) + 0.4, 8.4
        figure, panels = pyplot.subplots(3, len(found), figsize=size, layout="constrained", squeeze=False)
        for column, (name, shown) in enumerate(found.items()):
            for row, lines in enumerate(shown):
                axes = panels[row, column]
                floor = lowest([y for points in lines.values() for _, y in points])
                for family, points in lines.items():
                    colour, marker = CURVES[family]
                    xs, ys = zip(*points, strict=True)
                    line = "-" if len(points) > 1 and family != "both sides and branch" else ""
                    axes.plot(xs, ys, line, color=colour, marker=marker, ms=5, lw=1.2, label=family)
                    for x, y in zip(xs, ys, strict=True):
                        if y < floor:  # below the axis: said at its edge
                            how = {"color": colour, "fontsize": 7, "ha": "center", "va": "bottom"}
                            axes.annotate(f"{y:.1f}\n\u2193", (x, floor), **how)
                axes.set_ylim(floor, None)
                axes.set_xscale("log")
                axes.set_xticks([1 / 12, 1 / 6, 1 / 4, 1 / 3, 1], ["1/12", "1/6", "1/4", "1/3", "1"], minor=False)
                axes.minorticks_off()
                axes.grid(alpha=0.25)
                axes.set_xlabel(f"compute of the {'slowest' if row == 2 else 'mean'} frame")
                if column == 0:
                    axes.set_ylabel(TITLES[row])
            panels[0, column].set_title(NETWORKS[name])
        handles = {label: h for axes in panels.flat for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=110, facecolor="white", pil_kwargs={"pnginfo": chunks})
        pyplot.close(figure)


def lowest(values: Iterable[float]) -> float:
    """The lower end of an axis: far below most points there is none, where the others would be pressed together."""
    ordered = np.sort(list(values))
    if len(ordered) == 0:
        return 0.0
    quarter = float(np.percentile(ordered, 25))
    return max(float(ordered[0]), quarter - 1.2 * (float(ordered[-1]) - quarter)) - 0.04 * float(ordered[-1] - quarter)


def table(results: Path) -> str:
    """For each network in Markdown: compute, truth on `val`, agreement on each clip, consistency on both."""
    parts = []
    for name, streams in read(results).items():
        others = [stream for stream in streams if stream != "val"]
        val, mean = streams.get("val", {}), clips(streams)
        parts.append(
            f"| {NETWORKS[name]} | compute | slowest | val mIoU | val agreement | {' | '.join(others)} | consistent, "
            "val · clips |"
        )
        parts.append("| --- " * (6 + len(others)) + "|")
        for policy, row in val.items():
            cells = [
                f"{row['compute']:.2f}",
                f"{row['slowest']:.2f}",
                f"{row['miou']:.2f}",
                f"{row['agreement']:.2f}",
                *(
                    f"{streams[stream][policy]['agreement']:.2f}" if policy in streams[stream] else ""
                    for stream in others
                ),
                f"{row['consistent']:.1f}" + (f" · {mean[policy]['consistent']:.1f}" if policy in mean else ""),
            ]
            parts.append(f"| {policy} | {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts)
