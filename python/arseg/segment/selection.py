"""Which frames of a video are segmented: from a time to a time, every so many, so many in all."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from arseg.errors import InputError

if TYPE_CHECKING:
    from arseg.video import VideoFrame

    from .result import SegmentedFrame

__all__ = ["Selection", "seconds"]


@dataclass
class Selection:
    """Chooses frames, and gives the keyframe that a chosen one needs before it.

    Attributes:
        start: seconds after the first frame, from which on frames are taken.
        end: seconds after the first frame, before which they are; None: to the end.
        every: one of so many is taken, from the first one on.
        limit: so many are taken at most; None: all.
    """

    start: float = 0.0
    end: float | None = None
    every: int = 1
    limit: int | None = None
    _extra: set[int] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        if not self.start >= 0:
            raise InputError(f"start: expected seconds from 0 on, got {self.start!r}")
        if self.end is not None and not self.end > self.start:
            raise InputError(f"end: expected seconds after the start at {self.start:g} s, got {self.end:g} s")
        for name, value in (("every", self.every), ("frames", self.limit)):
            if value is not None and value < 1:
                raise InputError(f"{name}: expected at least 1, got {value!r}")

    def frames(self, frames: Iterable[VideoFrame], rate: Fraction, *, keyframes: bool = True) -> Iterator[VideoFrame]:
        """Those that are chosen, and of each group with one of them its keyframe, where `keyframes` says so.

        Args:
            rate: frames a second, for frames without a time.
        """
        waiting: VideoFrame | None = None
        self._extra.clear()
        if self.limit == 0:
            return
        choose = self.chooser(rate)
        taken = 0
        for frame in frames:
            chosen = choose(frame)
            if chosen is None:
                return
            if frame.keyframe:
                waiting = frame
            if not chosen:
                continue
            if keyframes and waiting is not None and waiting is not frame:
                self._extra.add(waiting.index)
                yield waiting
            waiting = None
            yield frame
            taken += 1
            if taken == self.limit:
                return

    def chooser(self, rate: Fraction) -> Callable[[VideoFrame], bool | None]:
        """What says of each frame, asked in order, whether it is chosen; None: neither it nor one after it."""
        first: float | None = None
        seen = taken = 0

        def choose(frame: VideoFrame) -> bool | None:
            nonlocal first, seen, taken
            time = float(frame.index / rate) if frame.time is None else frame.time
            first = time if first is None else first
            if (self.end is not None and time - first >= self.end) or taken == self.limit:
                return None
            if time - first < self.start:
                return False
            chosen, seen = seen % self.every == 0, seen + 1
            taken += chosen
            return chosen

        return choose

    def indices(self, times: Sequence[float | None], rate: Fraction) -> range:
        """Numbers of those that `frames` takes, of a video whose frames have these times."""
        seconds = [float(index / rate) if time is None else time for index, time in enumerate(times)]
        if not seconds:
            return range(0)
        last = len(seconds) if self.end is None else bisect_left(seconds, self.end, key=lambda t: t - seconds[0])
        start = bisect_left(seconds, self.start, key=lambda t: t - seconds[0])
        return range(start, last, self.every)[: self.limit]

    def results(self, results: Iterable[SegmentedFrame]) -> Iterator[SegmentedFrame]:
        """Those of the frames that were chosen."""
        for result in results:
            if result.index in self._extra:
                self._extra.discard(result.index)
                continue
            yield result
            del result

    def count(self, frames: int | None, rate: Fraction) -> int | None:
        """How many will be taken of so many, about; None: not known."""
        if frames is not None:
            last = frames if self.end is None else min(frames, int(self.end * rate))
            frames = max(0, -(-(last - int(self.start * rate)) // self.every))
        return frames if self.limit is None or frames is None else min(frames, self.limit)


def seconds(text: str) -> float:
    """`90`, `1:30`, `0:01:30.5` as seconds; raises `InputError` for anything else."""
    match = re.fullmatch(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d*)?|\.\d+)", text.strip())
    if match is None or (match[2] is not None and float(match[3]) >= 60):
        raise InputError(f"expected seconds, or hours:minutes:seconds such as 1:30 or 0:01:30.5, got {text!r}")
    return int(match[1] or 0) * 3600 + int(match[2] or 0) * 60 + float(match[3])
