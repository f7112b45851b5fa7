"""Keyframes at regular distances, as many as the budget pays for; what lies between takes from them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from arseg.errors import InputError
from arseg.segment.modes import TWO_SIDED, Way

from .amounts import Amount, Costs

if TYPE_CHECKING:
    from arseg.video import Candidate, VideoFrame

LONGEST = 250
"""Frames of a group at most: as x264 has it."""

OVER = 0.05
"""By what share of a budget, or by one keyframe, a stream's last frames may go beyond it; and by what share of the
distance between keyframes one may come early."""

WHOLE = 0.0125
"""By what share a budget may miss one whose keyframes are regular to get these: 33% is every third frame."""

LOST = 16
"""Frames between groups, more than there were groups, from which on some were lost; B frames are not seen either."""

CUT_LEVELS, CUT_TIMES = 12.0, 6.0
"""A cut is where the error of the warp jumps by so many levels of luma, and by so many times the usual step."""


class Cuts:
    """Where the picture becomes another: the error of the warp jumps there, whatever it was before.

    Args:
        sure: a cut is told a frame late, where the picture is another still: a single frame of lightning or of a
            photographer's flash is none. It costs nothing where frames take from the next keyframe, too.

    Attributes:
        doubted: whether the last frame looked at may be the first of another scene.
    """

    def __init__(self, *, sure: bool = False) -> None:
        self._sure = sure
        self.doubted = False
        self._last = (0, 0.0)  # distance and error
        self._usual: float | None = None

    def here(self, seen: Candidate) -> bool:
        """Whether there is a cut between a frame and the one looked at before it."""
        distance, error = self._last
        follows = seen.distance > distance
        before = error if follows else 0.0
        jump = seen.error - before
        usual, size = self._usual, abs(jump)
        cut = usual is not None and jump > max(CUT_LEVELS, CUT_TIMES * usual)
        if cut and self._sure and not (self.doubted and follows):
            self.doubted, self._last = True, (seen.distance, before)
            return False
        self.doubted = False
        if not cut:
            self._usual = size if usual is None else 0.9 * usual + 0.1 * size
        self._last = (0, 0.0) if cut else (seen.distance, seen.error)
        return cut


class Spaced:
    """A keyframe every so many frames, at I frames of the codec and at cuts.

    With a budget these count, too, and the next one is the later for them. Distances that follow the error of the warp
    (its sum since the keyframe, its jumps, holes) were tried in place of regular ones: at equal compute they lose as
    often as they gain (docs/notes/frontier.md).

    Args:
        budget: for the mean frame; None: as `begin` says.
        slowest: for the slowest frame: a keyframe's work is spread over as many as it needs, and without a budget
            there are as many keyframes as that allows. None: no bound.
        ahead: what is made of the frames between, where the next keyframe may be waited for.
        at_once: the same where it may not.

    Attributes:
        least_spread: frames that a keyframe's work is spread over while the others are moved alone, see `Policy`.
        late: frames after the last keyframe that its work, where that is spread, begins: 1 where it had its own result
            at low resolution, which stands in for it, or is tried.
    """

    def __init__(
        self,
        budget: Amount | None = None,
        slowest: Amount | None = None,
        *,
        ahead: Way = "bidirectional",
        at_once: Way = "warp",
    ):
        self._budget, self._slowest = budget, slowest
        self._ahead, self._at_once = ahead, at_once
        self.longest, self.spread, self.least_spread = LONGEST, 1, 1
        self.ways: frozenset[Way] = frozenset([ahead, at_once] if slowest is None else [at_once, "warp", "lr"])
        self.every = 1.0
        self._times = 1
        self._between: Way = at_once
        self._cuts = Cuts()
        self._cut: set[int] = set()
        # Where the count of frames and of groups begins, what was seen last, the last keyframe that was asked for, and
        # how far from it the last frame was.
        self._start = (0, 0)
        self._last = (0, 1)
        self._asked, self._distance = -1, 0
        self.late = 1

    @property
    def restarts(self) -> bool:
        """A budget counts all frames and keyframes before; so may a class made of this one, which has to say."""
        return self._budget is None and self._slowest is None and type(self) is Spaced

    def begin(self, costs: Costs, *, gop: int, live: bool) -> None:
        self.every = gop
        self._between = self._at_once if live or self._slowest is not None else self._ahead
        self.ways &= {self._between, "lr"} if self._slowest is None else {self._between, "warp", "lr"}
        self._cuts = self._new_cuts()
        if self._budget is None and self._slowest is None:
            return
        self.spread, self.every = self._pace(costs, self._between)
        if self._slowest is not None:
            self.least_spread = self._spread_over(costs, "warp")

    def _pace(self, costs: Costs, between: Way) -> tuple[int, float]:
        """Frames that a keyframe's work is spread over, and from one to the next, where others are made so."""
        whole, each = costs.key, costs.of(between)
        if self._slowest is None:
            assert self._budget is not None
            # What a frame's own result is worth is tested at keyframes.
            return 1, _every(whole + (each if between == "ensemble" else 0.0), each, self._budget)
        # Of a keyframe that is spread, the frame costs what others do, besides.
        every = 1.0 if self._budget is None else _every(whole + each, each, self._budget)
        others = ("warp", "lr", "ensemble")  # the latter two stand in for a keyframe
        least = max(each, *map(costs.of, others))
        if self._slowest.value <= least:
            raise InputError(
                f"slowest: expected more than {self._slowest.of(least)}, as frames without a keyframe "
                f"cost, got {self._slowest}"
            )
        spread = self._spread_over(costs, between)
        return spread, max(every, spread)

    def _spread_over(self, costs: Costs, between: Way) -> int:
        """Frames that a keyframe's work takes beside others that are made so."""
        assert self._slowest is not None
        return math.ceil(costs.key / (self._slowest.value - costs.of(between)))

    def starts(self, seen: Candidate) -> bool:
        step = min(seen.index - self._last[0], seen.distance)  # more than 1 among B frames
        frames, groups = self._counted(seen)
        keyframe = seen.index - seen.distance
        if keyframe != self._asked or seen.distance <= self._distance:  # an I frame of the codec, or read again
            self._cuts, self._asked, self.late = self._new_cuts(), keyframe, 1
        self._distance = seen.distance
        starts = cut = self._cuts.here(seen)
        late = self.late if self.spread > 1 else 0
        if starts:
            self._cut = {index for index in self._cut if index > seen.index - LONGEST} | {seen.index}
        elif self._budget is None:
            starts = seen.distance + (step - 1) / 2 >= self.every * self._times + late  # the nearest one
        else:
            # A little early rather than a frame late. It does not add up, as groups count.
            starts = seen.distance >= self.spread + late and frames >= self.every * self._times * (groups - OVER)
        if starts:
            self._asked, self._distance, self.late = seen.index, 0, int(cut)
        return starts

    def _new_cuts(self) -> Cuts:
        return Cuts(sure=self._between in TWO_SIDED)

    def stretch(self, times: int) -> None:
        """Keyframes come so many times as far apart from here on, but at cuts and I frames."""
        self._times = times
        self._count_anew()

    def _count_anew(self) -> None:
        """The distance of keyframes is another from here on; a budget says nothing of what was before."""
        index, groups = self._last  # before that frame, which may have started one
        self._start = (index, groups if self._asked == index else groups - 1)

    def _counted(self, seen: Candidate) -> tuple[int, int]:
        """Frames and groups up to here; what was lost between, or a source that began anew, is not made up for."""
        index, groups = self._last
        lost = seen.index - seen.distance - index - (seen.groups - groups)
        if seen.groups < groups:
            self._start = (seen.index - seen.distance, seen.groups - 1)
        elif seen.groups > groups and lost > LOST:
            self._start = (self._start[0] + lost, self._start[1])
        self._last = (seen.index, seen.groups)
        return seen.index - self._start[0], seen.groups - self._start[1]

    def cut_at(self, index: int) -> bool:
        return index in self._cut

    def way(self, frame: VideoFrame) -> Way:
        return self._between

    def closes(self, frame: VideoFrame) -> bool:
        if self._cuts.doubted:
            return True  # it may be of another scene
        if self._budget is None:
            return frame.distance >= self.every / 2
        frames, groups = (last - start for last, start in zip(self._last, self._start, strict=True))
        paid = (frames + 1) / self.every  # keyframes
        return groups + 1 <= max(paid + 1, (1 + OVER) * paid)


def _every(key: float, between: float, budget: Amount) -> float:
    """Frames from keyframe to keyframe so that the mean frame costs the budget; at least 1.

    A whole number where the budget then is missed by no more than `WHOLE`.
    """
    if budget.value >= key:
        return 1.0
    if budget.value <= between:
        raise InputError(
            f"budget: expected more than {budget.of(between)}, which each frame between keyframes costs, got {budget}; "
            "choose another policy or a larger budget"
        )
    exact = (key - between) / (budget.value - between)
    whole = round(exact)
    return float(whole) if abs(between + (key - between) / whole - budget.value) <= WHOLE * budget.value else exact
