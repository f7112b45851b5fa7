"""Scores as tables, JSON and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from arseg.extras import needs
from arseg.files import StrPath, replacing, save_json
from arseg.labels import VOID
from arseg.segment.modes import NAMES, Mode

from .by_distance import Scores
from .metrics import ConfusionMatrix


def scores_table(scores: Mapping[Mode, Scores]) -> Table:
    """mIoU in percent: a column for each way of segmenting, a row for each distance, the mean first."""
    table = _table("distance", scores, "mIoU %")
    table.add_row("mean", *(shown(score.mean()) for score in scores.values()))
    table.add_row("lowest", *(shown(score.minimum()) for score in scores.values()), end_section=True)
    for distance, values in enumerate(zip(*(score.miou() for score in scores.values()), strict=True)):
        if not all(np.isnan(values)):
            table.add_row(str(distance), *map(shown, values))
    return table


def consistency_table(scores: Mapping[Mode, Scores]) -> Table | None:
    """Temporal consistency in percent, laid out as `scores_table`; None where no two frames in a row were scored."""
    found = {mode: score.consistency for mode, score in scores.items() if score.consistency is not None}
    if not found or all(np.isnan(one.mean()) for one in found.values()):
        return None
    table = _table("distance", scores, "temporal consistency %: labels that follow the vectors from the frame before")
    table.add_row("mean", *(shown(one.mean()) for one in found.values()), end_section=True)
    for distance, values in enumerate(zip(*(one.by_distance() for one in found.values()), strict=True)):
        if not all(np.isnan(values)):
            table.add_row(str(distance), *map(shown, values))
    return table


def class_table(scores: Mapping[Mode, Scores]) -> Table:
    """IoU of each class in percent, over all distances together."""
    table = _table("class", scores, "IoU %, all distances together")
    first = next(iter(scores.values()))
    columns = [score.class_iou() for score in scores.values()]
    for index, name in enumerate(first.classes):
        if index == first.void and not first.count_void:
            continue
        table.add_row(name, *(shown(column[index]) for column in columns))
    return table


def ignored_table(scores: Mapping[Mode, Scores]) -> Table | None:
    """`class_table` where a class that is predicted on ignored pixels counts as a fault; None where none are known."""
    first = next(iter(scores.values()))
    if first.void is None or first.count_void or not ConfusionMatrix.sum(first.by_distance).counts[first.void].any():
        return None
    table = _table("class", scores, "IoU %, faults on ignored pixels too")
    columns = [score.class_iou(ignored=True) for score in scores.values()]
    table.add_row("mean", *(shown(float(np.nanmean(column))) for column in columns), end_section=True)
    for index, name in enumerate(first.classes):
        if index != first.void:
            table.add_row(name, *(shown(column[index]) for column in columns))
    return table


def notes(scores: Mapping[Mode, Scores]) -> list[str]:
    """What a reader of the tables has to know: about Void, and classes that are left out."""
    first = next(iter(scores.values()))
    lines = []
    if first.void is not None and first.classes[first.void] == VOID:
        other = ", ".join(f"{NAMES[mode]} {shown(score.mean(not score.count_void))}" for mode, score in scores.items())
        lines.append(
            f"Void counts as a class; without it the means are: {other}"
            if first.count_void
            else f"Void is ignored; counted as a class, the means are: {other}"
        )
    absent = [name for name in first.absent() if all(name in score.absent() for score in scores.values())]
    if absent:
        lines.append(f"left out of the means, for neither labels nor predictions have them: {', '.join(absent)}")
    unseen = sorted({name for score in scores.values() for name in _predicted_only(score)})
    if unseen:
        lines.append(f"in no label, but predicted, and so 0 in the means: {', '.join(unseen)}")
    return lines


def _predicted_only(score: Scores) -> list[str]:
    counts = np.sum([matrix.counts for matrix in score.by_distance], axis=0)
    if score.void is not None and not score.count_void:
        counts[score.void] = 0
    return [
        name
        for i, name in enumerate(score.classes)
        if counts[i].sum() == 0 < counts[:, i].sum() and (i != score.void or score.count_void)
    ]


def _table(head: str, scores: Mapping[Mode, Scores], title: str) -> Table:
    table = Table(head, title=title, title_justify="left")
    for mode in scores:
        table.add_column(NAMES[mode], justify="right")
    return table


def shown(value: float) -> str:
    """Of a table: one digit after the point, a dash for NaN."""
    return "–" if np.isnan(value) else f"{value:.1f}"


def scores_record(scores: Mapping[Mode, Scores]) -> dict[str, Any]:
    """The figures in JSON's terms; NaN (a class that does not occur) becomes null."""
    record: dict[str, Any] = {}
    for mode, score in scores.items():
        entry: dict[str, Any] = {
            "mean": number(score.mean()),
            "by_distance": [number(value) for value in score.miou()],
            **({} if score.consistency is None else {"temporal_consistency": score.consistency.record()}),
            "class_iou": {
                name: number(value)
                for index, (name, value) in enumerate(zip(score.classes, score.class_iou(), strict=True))
                if index != score.void or score.count_void
            },
            "absent": score.absent(),
        }
        if score.void is not None and not score.count_void:
            entry["class_iou_ignored_too"] = {
                name: number(value)
                for index, (name, value) in enumerate(zip(score.classes, score.class_iou(ignored=True), strict=True))
                if index != score.void
            }
        if score.void is not None and score.classes[score.void] == VOID:
            entry["with_void"] = {
                "mean": number(score.mean(True)),
                "by_distance": [number(value) for value in score.miou(True)],
            }
            entry["without_void"] = {
                "mean": number(score.mean(False)),
                "by_distance": [number(value) for value in score.miou(False)],
            }
        record[mode] = entry
    return record


def save_scores(path: StrPath, scores: Mapping[Mode, Scores]) -> None:
    """`scores_record` as a file."""
    save_json(Path(path), scores_record(scores))


def number(value: float) -> float | None:
    """Of JSON: three digits after the point, null for NaN."""
    return None if np.isnan(value) else round(float(value), 3)


COLOURS: Mapping[str, str] = {"hr": "#1b1f24", "lr": "#c2410c", "ar": "#1d4ed8", "warp": "#15803d", "keep": "#9ca3af"}


def require_matplotlib() -> None:
    """Raises `ImportError`, with what to install, where matplotlib is missing."""
    with needs("plot", "--plot"):
        import matplotlib  # noqa: F401


def save_plot(path: StrPath, scores: Mapping[Mode, Scores], title: str = "") -> None:
    """mIoU over distance as lines, and IoU of each class as bars; the ending names the format (png, pdf, svg)."""
    require_matplotlib()
    from matplotlib.figure import Figure

    path = Path(path)

    first = next(iter(scores.values()))
    shown = [i for i in range(len(first.classes)) if i != first.void or first.count_void]
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(4, 6))
    _draw_distances(left, scores)
    _draw_classes(right, scores, shown)
    if title:
        figure.suptitle(title, fontsize=11)
    with replacing(path) as part:
        figure.savefig(part, format=path.suffix.lstrip(".") or "png", dpi=130)


def _draw_distances(axes: Any, scores: Mapping[Mode, Scores]) -> None:
    for mode, score in scores.items():
        values = np.array(score.miou())
        met = np.flatnonzero(np.isfinite(values))
        width = 2.4 if mode == "ar" else 1.6
        label = f"{NAMES[mode]}  {score.mean():.1f}"
        axes.plot(met, values[met], color=COLOURS[mode], lw=width, marker="o", ms=3.5, label=label)
    axes.set_xlabel("frames since the keyframe")
    axes.set_ylabel("mIoU %")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False, title="mean", title_fontsize=8, loc="best")
    _bare(axes)


def _draw_classes(axes: Any, scores: Mapping[Mode, Scores], shown: Sequence[int]) -> None:
    drawn = [mode for mode in ("hr", "lr", "ar") if mode in scores] or list(scores)
    first = scores[drawn[0]]  # type: ignore[index]
    width = 0.8 / len(drawn)
    for place, mode in enumerate(drawn):
        score = scores[mode]  # type: ignore[index]
        heights = np.nan_to_num(score.class_iou()[list(shown)])
        at = np.arange(len(shown)) + (place - (len(drawn) - 1) / 2) * width
        axes.bar(at, heights, width * 0.92, color=COLOURS[mode], label=NAMES[mode])  # type: ignore[index]
    absent = first.absent()
    names = [f"{first.classes[i]}\n(absent)" if first.classes[i] in absent else first.classes[i] for i in shown]
    axes.set_xticks(range(len(shown)), names, rotation=45, ha="right", fontsize=8)
    axes.set_ylabel("IoU %")
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.25, axis="y")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, frameon=False, ncols=len(drawn), loc="upper right")
    _bare(axes)


def _bare(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
