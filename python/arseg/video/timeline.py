"""Times that go on from frame to frame, where recordings were joined or a clock was set anew.

A container's timestamps may start again in the middle: transport and program streams that were put one behind the
other, a camera that was switched off, a live source that came back. Players go on at once there, and so do these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from math import ceil

from .errors import Discontinuity
from .joins import LONGEST
from .pictures import Decoded

# Frames that are held back at most until one comes that has a timestamp.
_HELD = 16


class Timeline:
    """Puts frames on one time axis; from one connection to the next, for live sources.

    A frame without a timestamp follows the last by that one's duration. So does one whose timestamp lies before the
    last frame, or more than an hour after it, and all later ones are shifted with it; unless the frame after it fits,
    then it alone is out of place, and is put between its neighbours. All other times stay, gaps among them.

    Args:
        rate: frames per second, for frames whose duration the container does not say.
        report: called with each discontinuity.
    """

    def __init__(self, rate: Fraction, report: Callable[[Discontinuity], object]) -> None:
        self._rate = rate
        self._report = report
        self._count = 0
        self._time_base: Fraction | None = None
        # In units of the time base: time and duration of the last frame, and what is added to the container's times.
        self._last: int | None = None
        self._step = 1
        self._offset = 0
        self._anew = False  # the next frame is the first of a connection

    def follow(self, frames: Iterable[Decoded], *, timed: bool = True) -> Iterator[Decoded]:
        """The frames of a connection with their times; `pts` stays None up to the first frame that has one.

        Args:
            timed: the container has timestamps: at the start, frames without one wait for it, and count back from it.
        """
        waiting: deque[Decoded] = deque()
        self._anew = True
        for decoded in frames:
            waiting.append(decoded)
            yield from self._placed(waiting, timed, ended=False)
        yield from self._placed(waiting, timed, ended=True)

    def _placed(self, waiting: deque[Decoded], timed: bool, *, ended: bool) -> Iterator[Decoded]:
        while waiting:
            decoded = waiting[0]
            if decoded.hidden:  # not on the axis
                yield waiting.popleft()
                continue
            self._use(decoded.time_base)
            following = self._next(decoded, waiting)
            if following is None and not ended and len(waiting) <= _HELD and self._must_wait(decoded, timed):
                return
            time = self._place(decoded, following)
            waiting.popleft()
            if time is not None:
                self._last = time
                self._step = self._duration(decoded)
                self._anew = False
            self._count += 1
            yield decoded if time == decoded.pts else replace(decoded, pts=time)

    def _next(self, decoded: Decoded, waiting: deque[Decoded]) -> int | None:
        """Timestamp of the next frame; from that of a later one, where it has none itself."""
        shown = (other for other in islice(waiting, 1, None) if not other.hidden)
        for between, other in enumerate(shown):
            if other.pts is not None:
                return other.pts - between * self._duration(decoded)
        return None

    def _must_wait(self, decoded: Decoded, timed: bool) -> bool:
        """Whether the frame's place depends on the next timestamp."""
        if decoded.pts is None:
            return self._last is None and timed
        return not self._fits(decoded.pts + self._offset)

    def _place(self, decoded: Decoded, following: int | None) -> int | None:
        """The frame's time, given the timestamp of the next."""
        if self._last is None:
            if decoded.pts is None and following is not None:
                return following - self._duration(decoded)
            return decoded.pts
        in_turn = self._last + self._step
        if decoded.pts is None:
            return in_turn
        own = decoded.pts + self._offset
        if self._fits(own):
            return own
        seconds = float((own - in_turn) * decoded.time_base)
        room = 0 if following is None or self._anew else following + self._offset - self._last
        if 2 * room >= max(self._step, 4) and self._is_alone(decoded, own, room):
            self._report(Discontinuity(self._count, seconds, lasting=False))
            return self._last + min(self._step, room // 2)
        self._report(Discontinuity(self._count, seconds))
        self._offset += in_turn - own
        return in_turn

    def _is_alone(self, decoded: Decoded, own: int, room: int) -> bool:
        """Whether the next frame, `room` after the last, goes on from that one and not from this one at `own`."""
        assert self._last is not None
        if not self._fits(self._last + room) or 0 < own - self._last <= room:
            return False
        duration = self._duration(decoded)
        between = self._last + room - own
        goes_on_from_this = 2 * abs(between - duration) <= duration
        return not goes_on_from_this or self._last - own < 2 * self._step

    def _fits(self, time: int) -> bool:
        assert self._time_base is not None
        return self._last is None or 0 < (time - self._last) * self._time_base <= LONGEST

    def _duration(self, decoded: Decoded) -> int:
        if 0 < decoded.duration * decoded.time_base <= LONGEST:
            return decoded.duration
        return max(1, round(1 / self._rate / decoded.time_base))

    def _use(self, time_base: Fraction) -> None:
        """Count in units of `time_base` from now on."""
        if self._time_base is not None and time_base != self._time_base:
            ratio = self._time_base / time_base
            self._step = max(1, round(self._step * ratio))
            self._offset = round(self._offset * ratio)
            self._last = None if self._last is None else ceil(self._last * ratio)
        self._time_base = time_base
