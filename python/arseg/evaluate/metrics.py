"""Scores from one confusion matrix."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class ConfusionMatrix:
    """Counts of (true class, predicted class) over any number of frames.

    mIoU is taken from the one matrix of all frames, as is usual for CamVid and Cityscapes, not averaged over frames.
    """

    def __init__(self, classes: int):
        self.classes = classes
        self.counts = np.zeros((classes, classes), dtype=np.int64)

    @staticmethod
    def sum(matrices: Iterable[ConfusionMatrix]) -> ConfusionMatrix:
        """The matrix of all their frames together."""
        found = list(matrices)
        total = ConfusionMatrix(found[0].classes)
        total.counts = np.sum([matrix.counts for matrix in found], axis=0)
        return total

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Label maps of the same shape; pixels whose true label is `classes` or more are left out."""
        if truth.shape != predicted.shape:
            raise ValueError(f"predicted: expected the truth's shape {truth.shape}, got {predicted.shape}")
        if predicted.max(initial=0) >= self.classes:
            raise ValueError(f"predicted: expected ids below {self.classes}, got {predicted.max()}")
        valid = truth < self.classes
        pairs = truth[valid].astype(np.int64) * self.classes + predicted[valid]
        self.counts += np.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)

    def ignoring(self, label: int) -> ConfusionMatrix:
        """As if pixels whose true label is `label` had not been counted; predicting it elsewhere still is a fault."""
        out = ConfusionMatrix(self.classes)
        out.counts = self.counts.copy()
        out.counts[label] = 0
        return out

    def iou(self) -> np.ndarray:
        """float64 `[classes]`: intersection over union; NaN for a class that is in neither truth nor prediction."""
        hits = np.diag(self.counts)
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        with np.errstate(invalid="ignore"):
            return np.where(union > 0, hits / union, np.nan)

    def miou(self, without: int | None = None) -> float:
        """Mean IoU in percent over the classes that occur, but for `without`; NaN where none does."""
        iou = self.iou()
        if without is not None:
            iou = np.delete(iou, without)
        return float(np.nanmean(iou) * 100) if np.isfinite(iou).any() else float("nan")
