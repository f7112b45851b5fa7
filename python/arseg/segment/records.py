"""What is told of each frame: one record, which tables, reports and scripts share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from .result import SegmentedFrame

__all__ = ["STAGES", "FrameRecord", "FrameRecords"]

STAGES = ("decode", "network", "write")
"""Those of `SegmentedFrame.times`."""

_CELL = 4  # video pixels a side of the cells that the warp's error is measured in
_QUARTERS = 4 * _CELL  # units of a vector in such a cell


@dataclass(frozen=True)
class FrameRecord:
    """One row of the table.

    Attributes:
        frame: index of the frame.
        time: seconds from the stream's start of time; None where the stream has no timestamps.
        type: the codec's "I", "P" or "B".
        keyframe: whether it was segmented at full resolution; with a bound on the slowest frame, whether a group of
            the reader starts at it, for its own network then is done later.
        distance: frames since the keyframe.
        intra: share of its cells without a vector of the codec, 0..1.
        warp_error: mean absolute difference of luma, 0..255, between the frame and its keyframe moved along the
            vectors, in cells of 4x4 pixels; None for a keyframe, and where there is no field.
        milliseconds: by stage, see `SegmentedFrame.times`.
        shares: of the pixels by class name, 0..1; ids past the classes count in none.
    """

    frame: int
    time: float | None
    type: str
    keyframe: bool
    distance: int
    intra: float
    warp_error: float | None
    milliseconds: Mapping[str, float]
    shares: Mapping[str, float]

    def row(self) -> dict[str, Any]:
        """Flat: stages as `decode_ms`, …, shares as `share_CLASS`."""
        head = {name: getattr(self, name) for name in HEAD}
        head |= {f"{stage}_ms": self.milliseconds.get(stage) for stage in STAGES}
        return head | {f"share_{name}": value for name, value in self.shares.items()}


HEAD = ("frame", "time", "type", "keyframe", "distance", "intra", "warp_error")


class FrameRecords:
    """Makes the records of one video; its frames are to come in order.

    Args:
        classes: names, in the order of the ids.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self._keyframe: tuple[int, np.ndarray] | None = None

    def of(self, result: SegmentedFrame) -> FrameRecord:
        counts = np.bincount(result.labels.ravel(), minlength=len(self.classes))[: len(self.classes)]
        return FrameRecord(
            frame=result.index,
            time=result.time,
            type=result.frame_type,
            keyframe=result.keyframe,
            distance=result.distance,
            intra=result.intra,
            warp_error=self._warp_error(result),
            milliseconds=dict(result.times),
            shares=dict(zip(self.classes, (counts / result.labels.size).tolist(), strict=True)),
        )

    def columns(self) -> list[str]:
        """The keys of each `FrameRecord.row`."""
        return [*HEAD, *(f"{stage}_ms" for stage in STAGES), *(f"share_{name}" for name in self.classes)]

    def _warp_error(self, result: SegmentedFrame) -> float | None:
        if not result.keyframe and (result.motion is None or self._keyframe is None):
            return None
        luma = _small_luma(result.image)
        if result.keyframe:
            self._keyframe = result.index, luma
            return None
        assert self._keyframe is not None and result.motion is not None
        index, key = self._keyframe
        if index != result.index - result.distance or key.shape != luma.shape:
            return None
        step = result.motion.block // _CELL
        rows, columns = (np.arange(length) for length in luma.shape)
        vectors = result.motion.vectors[rows[:, None] // step, columns // step] / np.float32(_QUARTERS)
        return float(np.abs(luma - _read(key, columns + vectors[..., 0], rows[:, None] + vectors[..., 1])).mean())


def _small_luma(image: np.ndarray) -> np.ndarray:
    """Luma of a uint8 `[H, W, 3]` picture, averaged over cells: float32 `[ceil(H / 4), ceil(W / 4)]` in 0..255."""
    return np.asarray(Image.fromarray(image).reduce(_CELL).convert("L"), np.float32)


def _read(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`picture` `[H, W]`, read bilinearly at places that are clamped to it."""
    height, width = picture.shape
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = x.astype(np.intp), y.astype(np.intp)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = x - left, y - top
    upper = picture[top, left] * (1 - across) + picture[top, right] * across
    lower = picture[below, left] * (1 - across) + picture[below, right] * across
    read: np.ndarray = upper * (1 - down) + lower * down
    return read
