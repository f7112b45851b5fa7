"""The report of a run: `report.md`, `report.json`, and the picture of the worst frames."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arseg.labels import IGNORED, LabelSet
from arseg.preprocess import resized
from arseg.segment.draw import colour, contact_sheet
from arseg.train.log import duration

from .advice import Advice, below
from .score import WorstFrame

WAYS: Mapping[str, str] = {
    "hr": "HR",
    "lr": "LR",
    "warp": "warp",
    "ar": "AR",
    "ar before": "AR, before adapt",
    "ar after": "AR",
}
"""Headings, by the names in records."""

EXPLAINED = (
    "HR: every frame at full resolution. LR: every frame at low resolution. Warp: the keyframe's result, moved along "
    "the vectors. AR: the low-resolution frame, repaired from the keyframe."
)

WIDTH, HEIGHT = 320, 240
"""Of each picture, at most."""


def as_markdown(record: Mapping[str, Any]) -> str:
    """`report.json` as a page. Its keys are those that `run.report` writes."""
    lines = [f"# {record['title']}", "", *_summary(record)]
    lines += ["", "## By distance to the keyframe", "", f"mIoU in percent: {record['scored']}.", "", EXPLAINED, ""]
    lines += _curves(record["curves"])
    if record["classes"]:
        lines += ["", "## By class", "", "IoU in percent, all distances together.", "", *_classes(record["classes"])]
    if record["notes"]:
        lines += ["", *(f"- {note}" for note in record["notes"])]
    if record["worst"]:
        lines += ["", "## The worst frames", "", *_worst(record)]
    lines += ["", "## What to try next", "", *_next(record)]
    lines += ["", "## The run", "", *_run(record)]
    return "\n".join(lines) + "\n"


def worst_picture(frames: Sequence[WorstFrame], labels: LabelSet) -> np.ndarray:
    """uint8 `[H, W, 3]`: a row for each frame, of image, label, HR, AR and AR's faults; the classes they show below.

    Frames without labels have no such column.
    """
    size = _fitting(frames[0].image.shape[:2])
    labelled = frames[0].label is not None
    rows, shown = [], []
    for frame in frames:
        maps = [map_ for map_ in (frame.label, frame.hr, frame.ar) if map_ is not None]
        pictures = [frame.image, *(_shown(map_, labels) for map_ in maps), faults(frame, labels)]
        rows.append((f"{frame.miou:.0f} %\nd = {frame.distance}", [resized(picture, size) for picture in pictures]))
        shown += maps
    columns = ["image", *(["label"] if labelled else []), "HR", "AR", "AR's faults"]
    return contact_sheet(columns, rows, _seen(shown, labels))


def faults(frame: WorstFrame, labels: LabelSet) -> np.ndarray:
    """uint8 `[H, W, 3]`: AR's class where it is wrong; dark grey where it is right, black where ignored."""
    truth = frame.hr if frame.label is None else frame.label
    picture = colour(frame.ar, labels.palette)
    picture[frame.ar == truth] = 48
    picture[truth >= len(labels.classes)] = 0
    return picture


def _shown(map_: np.ndarray, labels: LabelSet) -> np.ndarray:
    picture = colour(map_, labels.palette)
    picture[map_ >= len(labels.classes)] = 0
    return picture


def _fitting(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, HEIGHT / size[0], WIDTH / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _seen(maps: Sequence[np.ndarray], labels: LabelSet, most: int = 12) -> LabelSet:
    """The classes that the maps show, at most so many: a legend of 150 could not be read."""
    counts = sum(np.bincount(map_.ravel(), minlength=IGNORED + 1) for map_ in maps)[: len(labels.classes)]  # type: ignore
    kept = sorted(int(c) for c in np.argsort(-counts)[:most] if counts[c])
    return LabelSet.of(
        len(kept), classes=[labels.classes[c] for c in kept], palette=[labels.palette[c].tolist() for c in kept]
    )


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; all columns but the first are figures."""
    lines = ["| " + " | ".join(headings) + " |", "| --- |" + " ---: |" * (len(headings) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _curves(curves: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [["mean", *(_figure(curve["mean"]) for curve in curves.values())]]
    length = max(len(curve["by_distance"]) for curve in curves.values())
    for distance in range(length):
        values = [curve["by_distance"][distance] for curve in curves.values()]
        if any(value is not None for value in values):
            rows.append([str(distance), *map(_figure, values)])
    return table(["distance", *(WAYS[name] for name in curves)], rows)


def _classes(classes: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    first = next(iter(classes.values()))
    rows = [[name, *(_figure(column[name]) for column in classes.values())] for name in first]
    return table(["class", *(WAYS[name] for name in classes)], rows)


def _summary(record: Mapping[str, Any]) -> list[str]:
    curves = record["curves"]
    ar = next((curves[name] for name in ("ar after", "ar") if name in curves), None)
    means = ", ".join(f"{WAYS[name]} {_figure(curve['mean'])}" for name, curve in curves.items())
    lines = [f"mIoU in the mean of all distances: {means}."] if curves else ["Nothing was scored."]
    if ar is not None and "warp" in curves:
        lost = below(ar["by_distance"], curves["warp"]["by_distance"])
        where = ", ".join(map(str, lost))
        lines.append(f"AR is below the warp at distance {where}." if lost else "AR is nowhere below the warp.")
    return lines


def _worst(record: Mapping[str, Any]) -> list[str]:
    worst = record["worst"]
    names = "; ".join(f"{frame['name']} ({frame['miou']:.1f})" for frame in worst["frames"])
    return [
        f"Far from their keyframes, those whose classes AR gets the fewest of; the worst first: {names}. AR's faults: "
        "the classes that it gives where it is wrong; dark where it is right, or nobody knows.",
        "",
        f"![The worst frames]({worst['picture']})",
    ]


def _next(record: Mapping[str, Any]) -> list[str]:
    if not record["advice"]:
        return ["Nothing by these scores: AR is nowhere below the warp."]
    lines = []
    for advice in record["advice"]:
        lines.append(f"- {advice['why']}")
        if advice["command"]:
            lines += ["", "  ```sh", f"  {advice['command']}", "  ```", ""]
    return lines


def _run(record: Mapping[str, Any]) -> list[str]:
    made = record["made"]
    rows = [[name, duration(seconds)] for name, seconds in record["seconds"].items()]
    facts = {
        "weights": record["weights"],
        "data": made.get("data"),
        "licence of the data": made.get("licence"),
        "seed": made.get("seed"),
        "versions": made.get("versions"),
        "commit": made.get("commit"),
        "command": made.get("command"),
    }
    lines = [f"- {name}: {_plain(value)}" for name, value in facts.items() if value not in (None, "", {})]
    return [*lines, "", *table(["phase", "time"], rows)]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return str(value)


def next_command(advice: Advice, config: str | None, output: str, keep: Mapping[str, Any]) -> str | None:
    """The command that tries it, beside this run and from its network; None where there is nothing to set.

    Args:
        config: the path of the run's config; None: it had none.
        keep: settings by dotted name that leave out what need not be done again.
    """
    if not advice.settings:
        return None
    settings = {"output": f"{output}-next", **keep, **advice.settings}
    words = ["arseg", "fit", *([config] if config else [])]
    for key, value in settings.items():
        words += ["--set", f"{key}={_toml(value)}"]
    return shlex.join(words)


def _toml(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)
