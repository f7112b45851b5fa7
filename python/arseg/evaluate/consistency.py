"""Temporal consistency: do labels follow the motion vectors from frame to frame?

The share of pixels whose label is that which the frame before has where their vector leads. No label of a person is
needed. A still result scores 100 as well, so it is read beside that of the network on every frame, which knows nothing
of vectors: what that lacks is what really changed, what vectors missed, and flicker.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from arseg.video.hops import hop
from arseg.video.motion import BlockField


def followed(
    labels: np.ndarray,
    before: np.ndarray,
    vectors: np.ndarray,
    known: np.ndarray,
    block: int,
    frame_size: tuple[int, int] | None = None,
) -> tuple[int, int]:
    """Of how many pixels the label is that of the frame before where their vector leads, and how many were looked at.

    Pixels without a known vector, and those that come from outside of the picture, are not looked at.

    Args:
        labels, before: of a frame and the one before, `[H, W]`.
        vectors, known: as `arseg.video.hops.hop` gives them.
        block: side of their cells in pixels of the video.
        frame_size: height and width of the video; None: that of the labels.
    """
    height, width = labels.shape
    y, x = np.arange(height) + 0.5, np.arange(width) + 0.5
    scale_y, scale_x = (1, 1) if frame_size is None else (height / frame_size[0], width / frame_size[1])
    cells = np.ix_((y / scale_y // block).astype(int), (x / scale_x // block).astype(int))
    shift = vectors[cells] / 4
    from_y = np.floor(y[:, None] + shift[..., 1] * scale_y).astype(int)
    from_x = np.floor(x + shift[..., 0] * scale_x).astype(int)
    seen = known[cells] & (from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width)
    return int((labels[seen] == before[from_y[seen], from_x[seen]]).sum()), int(seen.sum())


class Consistency:
    """Counts of one way to segment, over any number of streams, by distance to the keyframe.

    Keyframes are not looked at: no vectors lead from one to the frame before.

    Attributes:
        counts: int64 `[gop, 2]`, see `followed`.
    """

    def __init__(self, gop: int):
        self.counts = np.zeros((gop, 2), np.int64)
        self._last: tuple[int, np.ndarray, BlockField | None] | None = None

    def add(
        self,
        index: int,
        distance: int,
        labels: np.ndarray,
        field: BlockField | None,
        frame_size: tuple[int, int] | None = None,
    ) -> None:
        """The next frame of a stream; one whose frame before did not come is only remembered.

        Args:
            index, distance, field: those of `arseg.video.VideoFrame`; `field` is its `motion`.
            labels, frame_size: see `followed`.
        """
        last, self._last = self._last, (index, labels, field)
        if field is None or last is None or last[0] != index - 1 or (last[2] is None) != (distance == 1):
            return
        self.counts[distance] += followed(labels, last[1], *hop(field, last[2]), field.block, frame_size)

    def by_distance(self) -> list[float]:
        """Percent at each distance; NaN where no pixel was looked at, as at 0."""
        return [100 * float(same / seen) if seen else float("nan") for same, seen in self.counts]

    def mean(self) -> float:
        """Of the distances that were met; NaN where none was."""
        values = np.array(self.by_distance())
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    def record(self) -> dict[str, Any]:
        """For JSON: `mean` and `by_distance` in percent; null where no pixel was looked at."""
        mean, *values = (None if np.isnan(x) else round(x, 3) for x in (self.mean(), *self.by_distance()))
        return {"mean": mean, "by_distance": values}
