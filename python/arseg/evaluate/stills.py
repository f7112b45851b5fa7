"""IoU by class of labelled stills, each seen by itself: at full and at low resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch
from rich.table import Table

from arseg.data.datasets import LabelledFrames
from arseg.data.stills import Still
from arseg.errors import InputError
from arseg.networks.arseg_net import ARSegNet
from arseg.segment.compared import side_by_side
from arseg.segment.modes import NAMES, Mode
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import VideoFrame

from .report import number, shown

STILL_MODES: tuple[Mode, ...] = ("hr", "lr")
"""Ways to see a still: the others take from a keyframe before it."""


@dataclass(frozen=True)
class StillScores:
    """Counts of one way to see stills, over all of them.

    Attributes:
        classes: names of the classes.
        counts: int64 `[classes + 1, classes + 1]`, (true, predicted) pixels; the last row is pixels whose label is
            ignored, the last column what is predicted past the classes (Void).
    """

    classes: tuple[str, ...]
    counts: np.ndarray

    def iou(self, *, ignored: bool = False) -> np.ndarray:
        """float64 `[classes]`, percent; NaN of a class that is in neither labels nor predictions.

        `ignored`: a class that is predicted where the label is ignored counts as a fault; else these pixels are left
        out, as is usual.
        """
        kept = self.counts if ignored else self.counts[:-1]
        hits = np.diag(self.counts)[:-1]
        union = kept.sum(0)[:-1] + self.counts[:-1].sum(1) - hits
        with np.errstate(invalid="ignore"):
            return np.where(union > 0, 100 * hits / union, np.nan)

    def mean(self, *, ignored: bool = False) -> float:
        """Mean of `iou` over the classes that occur; NaN where none does."""
        iou = self.iou(ignored=ignored)
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")

    def accuracy(self) -> float:
        """Share of the labelled pixels with the right class, percent."""
        return 100 * float(np.trace(self.counts[:-1, :-1])) / max(1, int(self.counts[:-1].sum()))


def score_stills(
    model: ARSegNet,
    stills: Sequence[Still] | LabelledFrames,
    modes: Sequence[Mode] = STILL_MODES,
    *,
    device: str | torch.device = "cpu",
    precision: Literal["float32", "bfloat16"] | None = None,
    batch: int | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> dict[Mode, StillScores]:
    """Segments each still at the height that the network's weights say, and counts at the still's own size.

    Args:
        stills: `(image, label)`, uint8 `[H, W, 3]` RGB and uint8 `[H, W]`; ids past the network's classes are ignored.
        modes: some of `STILL_MODES`.
        device, precision, batch: where and how the network runs, see `VideoSegmenter`; stills of one size are a batch.
        progress: called with the number of stills that are done, and of all.

    Raises `InputError` for another mode, and where no pixel has a class.
    """
    wrong = [mode for mode in modes if mode not in STILL_MODES]
    if wrong or not modes:
        raise InputError(f"modes: stills are seen at {' or '.join(STILL_MODES)}, got {', '.join(wrong) or 'none'}")
    how: dict[str, Any] = {"device": device, "precision": precision, "batch": batch}
    ways = {mode: VideoSegmenter(model, mode=mode, **how) for mode in modes}
    label_set = model.known_labels()
    classes = tuple(name for index, name in enumerate(label_set.classes) if index != label_set.void)
    if label_set.void not in (None, len(classes)):
        raise InputError(f"model: expected Void to be the last of its classes, got {label_set.classes}")
    count = len(classes)
    found = {mode: np.zeros((count + 1) ** 2, np.int64) for mode in modes}
    truth: dict[int, np.ndarray] = {}

    def pictures() -> Iterator[VideoFrame]:
        for place in range(len(stills)):
            image, truth[place] = stills[place]
            yield VideoFrame(place, image, "I", True, 0, None, None, Fraction(1), None)

    for seen in side_by_side(pictures(), ways):
        for at, frame in enumerate(seen.frames):
            rows = np.minimum(truth.pop(frame.index), count).astype(np.int64) * (count + 1)
            for mode, labels in seen.labels.items():
                pairs = rows + np.minimum(labels[at], count)
                found[mode] += np.bincount(pairs.ravel(), minlength=(count + 1) ** 2)
            progress(frame.index + 1, len(stills))
    scores = {mode: StillScores(classes, counts.reshape(count + 1, count + 1)) for mode, counts in found.items()}
    if not any(score.counts[:-1].any() for score in scores.values()):
        raise InputError("labels: no pixel has a class that counts; are these the labels of this network's classes?")
    return scores


def stills_table(scores: dict[Mode, StillScores]) -> Table:
    """IoU of each class and the mean; columns for ignored pixels left out, and for predictions there as faults."""
    table = Table("class", title="IoU %; right: classes on ignored pixels are faults", title_justify="left")
    for ignored in ("", ", ignored too"):
        for mode in scores:
            table.add_column(f"{mode.upper()}{ignored}", justify="right")
    columns = [score.iou(ignored=ignored) for ignored in (False, True) for score in scores.values()]
    means = [score.mean(ignored=ignored) for ignored in (False, True) for score in scores.values()]
    table.add_row("mean", *map(shown, means), end_section=True)
    for index, name in enumerate(next(iter(scores.values())).classes):
        table.add_row(name, *(shown(column[index]) for column in columns))
    return table


def stills_notes(scores: dict[Mode, StillScores]) -> list[str]:
    """What a reader of the table has to know."""
    right = (f"{NAMES[mode]}: {score.accuracy():.1f} % of the pixels right" for mode, score in scores.items())
    lines = [", ".join(right)]
    first = next(iter(scores.values()))
    for mode, score in scores.items():
        absent = [name for name, value in zip(score.classes, score.iou(), strict=True) if np.isnan(value)]
        if absent:
            lines.append(f"{mode}: not in the mean, for neither labels nor predictions have them: {', '.join(absent)}")
    unseen = [name for name, count in zip(first.classes, first.counts.sum(1), strict=False) if not count]
    if unseen:
        lines.append(f"in no label: {', '.join(unseen)}; where they are predicted they are 0 in the mean")
    return lines


def stills_record(scores: dict[Mode, StillScores]) -> dict[str, Any]:
    """The figures in JSON's terms; NaN (a class that does not occur) becomes null."""
    return {
        mode: {
            "mean": number(score.mean()),
            "mean_ignored_too": number(score.mean(ignored=True)),
            "pixel_accuracy": number(score.accuracy()),
            "class_iou": _by_class(score, False),
            "class_iou_ignored_too": _by_class(score, True),
        }
        for mode, score in scores.items()
    }


def _by_class(score: StillScores, ignored: bool) -> dict[str, float | None]:
    return {name: number(value) for name, value in zip(score.classes, score.iou(ignored=ignored), strict=True)}
