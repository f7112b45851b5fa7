"""mIoU by distance to the keyframe, on a labelled run of consecutive frames."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.table import Table

from arseg.data import camvid
from arseg.files import save_json
from arseg.models.arseg_net import ARSegNet
from arseg.modes import NAMES, Mode
from arseg.video import VideoReader, encode

from .metrics import ConfusionMatrix
from .segmenter import VideoSegmenter


@dataclass
class Scores:
    """One way of segmenting: a confusion matrix for each distance 0..gop-1."""

    by_distance: list[ConfusionMatrix] = field(default_factory=list)

    def miou(self) -> list[float]:
        """mIoU in percent at each distance."""
        return [matrix.miou() for matrix in self.by_distance]

    def mean(self) -> float:
        """Mean of the distances' mIoU, as the paper reports it."""
        return float(np.nanmean(self.miou()))

    def class_iou(self) -> np.ndarray:
        """float64 `[classes]`, percent, over all distances together; NaN for a class that does not occur."""
        total = ConfusionMatrix(self.by_distance[0].classes)
        total.counts = np.sum([matrix.counts for matrix in self.by_distance], axis=0)
        return total.iou() * 100


def evaluate(
    model: ARSegNet,
    frames: Sequence[tuple[np.ndarray, np.ndarray]],
    modes: Sequence[Mode],
    *,
    gop: int = 12,
    rate: float = 15,
    crf: float = 23,
    offsets: Sequence[int] | None = None,
    report: Callable[[str], None] = print,
) -> dict[Mode, Scores]:
    """Encodes the run once for each place of the first keyframe, and scores each frame at every distance.

    The first `gop - 1` frames cannot be met at every distance; they are encoded, but not scored, so that all distances
    are scored on the same frames.

    Args:
        frames: consecutive `(image, label)`: uint8 `[H, W, 3]` and uint8 `[H, W]`.
        modes: ways of segmenting, see `VideoSegmenter`.
        rate, crf: of the encoded video (H.264, one reference, no B frames).
        offsets: which first keyframes, 0..gop-1; None for all. With fewer, distances are scored on different frames.
    """
    classes = len(camvid.CLASSES)
    scores = {mode: Scores([ConfusionMatrix(classes) for _ in range(gop)]) for mode in modes}
    segmenters = {mode: VideoSegmenter(model, mode=mode, gop=gop) for mode in modes}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.mp4"
        starts = range(gop) if offsets is None else offsets
        for number, offset in enumerate(starts, 1):
            encode((image for image, _ in frames[offset:]), path, rate=rate, gop=gop, crf=crf)
            with VideoReader(path, gop=gop) as reader:
                for frame in reader:
                    index = offset + frame.index
                    for mode, segmenter in segmenters.items():
                        labels = segmenter.segment(frame)
                        if offsets is not None or index >= gop - 1:
                            scores[mode].by_distance[frame.distance].add(frames[index][1], labels)
            report(f"keyframes at {offset} + {gop}n: {number} of {len(starts)} passes")
    return scores


def scores_table(scores: dict[Mode, Scores]) -> Table:
    """mIoU in percent: a column for each way of segmenting, a row for each distance, the mean first."""
    table = Table("distance", title="mIoU %", title_justify="left")
    for mode in scores:
        table.add_column(NAMES[mode], justify="right")
    table.add_row("mean", *(f"{score.mean():.1f}" for score in scores.values()), end_section=True)
    for distance, values in enumerate(zip(*(score.miou() for score in scores.values()), strict=True)):
        table.add_row(str(distance), *(f"{value:.1f}" for value in values))
    return table


def save_scores(path: Path, scores: dict[Mode, Scores]) -> None:
    """The table's figures and each class's IoU as JSON; NaN (a class that does not occur) becomes null."""
    record = {
        mode: {
            "mean": _number(score.mean()),
            "by_distance": [_number(value) for value in score.miou()],
            "class_iou": {name: _number(value) for name, value in zip(camvid.CLASSES, score.class_iou(), strict=True)},
        }
        for mode, score in scores.items()
    }
    save_json(path, record)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 3)
