"""A finished group: what a run has found out about a keyframe and the frames after it, small enough to keep or send."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from arseg.errors import InputError
from arseg.labels import LabelSet
from arseg.video.orientation import Matrix

from .result import SegmentedFrame

__all__ = ["FinishedGroup"]

_NO_PTS = np.iinfo(np.int64).min
_TOLD = np.dtype(
    [
        ("frame", "i8"),
        ("type", "U1"),
        ("keyframe", "?"),
        ("distance", "i8"),
        ("intra", "f8"),
        ("pts", "i8"),
        ("over", "i8"),
        ("under", "i8"),
        ("time", "f8"),
        ("decode", "f8"),
        ("network", "f8"),
    ]
)


@dataclass(frozen=True)
class FinishedGroup:
    """Results of frames with one keyframe, in order, without pictures and fields.

    Attributes:
        told: what is known of each frame but its labels, see `SegmentedFrame`; `[n]`.
        labels: uint8 `[n, H, W]`.
        logits: float32 `[n, classes, h, w]`, or None.
    """

    told: np.ndarray
    labels: np.ndarray
    logits: np.ndarray | None = None

    @classmethod
    def of(cls, results: Sequence[SegmentedFrame]) -> FinishedGroup:
        told = np.array([_told(result) for result in results], _TOLD)
        logits = [result.logits for result in results if result.logits is not None]
        return cls(told, np.stack([result.labels for result in results]), np.stack(logits) if logits else None)

    @property
    def key(self) -> int:
        return int(self.told["frame"][0] - self.told["distance"][0])

    @property
    def frames(self) -> list[int]:
        """Numbers of its frames."""
        found: list[int] = self.told["frame"].tolist()
        return found

    def to_bytes(self) -> bytes:
        file = io.BytesIO()
        for array in (self.told, self.labels, np.array([]) if self.logits is None else self.logits):
            np.lib.format.write_array(file, array, allow_pickle=False)
        return zlib.compress(file.getvalue(), 1)

    @staticmethod
    def from_bytes(data: bytes) -> FinishedGroup:
        file = io.BytesIO(zlib.decompress(data))
        told, labels, logits = (np.lib.format.read_array(file, allow_pickle=False) for _ in range(3))
        return FinishedGroup(told, labels, logits if logits.ndim == 4 else None)

    def results(self, rotation: int, matrix: Matrix | None, label_set: LabelSet) -> Iterator[SegmentedFrame]:
        """The frames as they were, but for empty pictures and no fields."""
        for place, row in enumerate(self.told.tolist()):
            told = dict(zip(_TOLD.names or (), row, strict=True))
            yield SegmentedFrame(
                index=told["frame"],
                labels=self.labels[place],
                image=np.empty((0, 0, 3), np.uint8),
                frame_type=told["type"],
                keyframe=told["keyframe"],
                distance=told["distance"],
                pts=None if told["pts"] == _NO_PTS else told["pts"],
                time_base=Fraction(told["over"], told["under"]),
                time=None if np.isnan(told["time"]) else told["time"],
                rotation=rotation,
                display_matrix=matrix,
                intra=told["intra"],
                motion=None,
                label_set=label_set,
                times={"decode": told["decode"], "network": told["network"]},
                logits=None if self.logits is None else self.logits[place],
            )

    def place_of(self, frame: int) -> int:
        """Of a frame by number; raises `InputError` where it has none such."""
        places = np.flatnonzero(self.told["frame"] == frame)
        if not len(places):
            raise InputError(f"frame {frame}: the video is not the one that the run to resume was of; begin anew")
        return int(places[0])


def _told(result: SegmentedFrame) -> tuple[object, ...]:
    return (
        result.index,
        result.frame_type,
        result.keyframe,
        result.distance,
        result.intra,
        _NO_PTS if result.pts is None else result.pts,
        result.time_base.numerator,
        result.time_base.denominator,
        np.nan if result.time is None else result.time,
        result.times.get("decode", 0.0),
        result.times.get("network", 0.0),
    )
