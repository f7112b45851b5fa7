"""A live source that is read too slowly: its keyframes come further apart, before its buffers drop a frame."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arseg.video import Candidate, VideoFrame

_log = logging.getLogger(__name__)

BEHIND = 0.5
"""Seconds that the frame in hand may be older than the newest, from which on compute is lowered."""

CAUGHT_UP = 0.1
"""Seconds below which a stream counts as in time."""

HOLD = 2.0
"""Seconds from one step down to the next, and after the first frame: a network is slow at first."""

RECOVER = 10.0
"""Seconds in time after which compute is raised a step."""

MOST = 16
"""Times that keyframes come further apart at most; a group is no longer than the reader's longest, whatever this is."""

_REMEMBERED = 60.0  # seconds: clocks of cameras drift


class Pace:
    """Watches one live stream.

    How late a frame is taken is the time since the first one, less the same by the frames' own times; above the least
    of the last minute the stream is behind. Each step down doubles the distance of keyframes.

    Args:
        change: called with how many times keyframes are to come further apart.
        say: called once, with how many seconds it is behind.
        clock: seconds.
    """

    def __init__(
        self,
        change: Callable[[int], object],
        say: Callable[[float], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._change, self._say, self._clock = change, say, clock
        self.times = 1
        self._said = False
        self._restart()

    def _restart(self) -> None:
        self._first: tuple[float, float] | None = None
        self._least: deque[tuple[float, float]] = deque()  # rising: when, and how late
        self._since = self._in_time = 0.0

    def watched(self, frames: Iterable[VideoFrame], breaks: Callable[[], Iterable[Sized]]) -> Iterator[VideoFrame]:
        """The frames; `breaks`: lists that grow where the source was connected again, or its times jumped."""
        before = 0
        for frame in frames:
            now = sum(map(len, breaks()))
            if now != before:
                before = now
                self._restart()
            if frame.time is not None:
                self._taken(frame.time)
            yield frame
            del frame

    def _taken(self, at: float) -> None:
        now = self._clock()
        if self._first is None:
            self._first = now, at
            self._since = self._in_time = now
        late = (now - self._first[0]) - (at - self._first[1])
        while self._least and self._least[-1][1] >= late:
            self._least.pop()
        self._least.append((now, late))
        while self._least[0][0] < now - _REMEMBERED:
            self._least.popleft()
        behind = late - self._least[0][1]
        if behind > CAUGHT_UP:
            self._in_time = now
        if behind > BEHIND and now - self._since >= HOLD and self.times < MOST:
            self._step(2 * self.times, now)
            if not self._said:
                self._said = True
                self._say(behind)
        elif self.times > 1 and now - self._in_time >= RECOVER:
            self._step(self.times // 2, now)

    def _step(self, times: int, now: float) -> None:
        self.times, self._since, self._in_time = times, now, now
        _log.info("keyframes come %d times as far apart", times)
        self._change(times)


class EveryGroup:
    """Where groups start by `--gop` alone, `times` as far apart; a `Starts`.

    Among B frames, where not every frame is asked for, at the last one from which the next would be too far.
    """

    def __init__(self, gop: int) -> None:
        self._gop, self._times = gop, 1
        self._last = (0, 0)  # group, and distance in it

    def stretch(self, times: int) -> None:
        self._times = times

    def __call__(self, seen: Candidate) -> bool:
        groups, distance = self._last
        step = seen.distance - (distance if seen.groups == groups and seen.distance > distance else 0)
        self._last = (seen.groups, seen.distance)
        return seen.distance + step > self._gop * self._times
