"""A bound on the slowest frame: the last finished keyframe, and frames' own results where these are worth it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from arseg.errors import InputError
from arseg.segment.modes import Way

from .amounts import Amount, Costs
from .spaced import Spaced
from .worth import Worth

if TYPE_CHECKING:
    from arseg.video import VideoFrame


class LiveEnsemble(Spaced):
    """The last finished keyframe, moved, and beside it each frame's own result at low resolution.

    Own results leave less of the bound to keyframes, which then come further apart. So they are made while they prove
    to be worth it (`Worth`), and where the budget pays for them.

    Attributes:
        own_results: how many frames had one so far.
    """

    def __init__(self, budget: Amount | None, slowest: Amount) -> None:
        super().__init__(budget, slowest)
        self.ways = frozenset(["warp", "ensemble", "lr"])
        self.worth = Worth()
        self.own_results = 0
        self._paces: dict[bool, tuple[int, float]] = {}

    def begin(self, costs: Costs, *, gop: int, live: bool) -> None:
        super().begin(costs, gop=gop, live=live)
        self.ways = frozenset(["warp", "ensemble", "lr"])
        self._paces = {False: (self.spread, self.every)}
        try:
            beside = self._pace(costs, "ensemble")
        except InputError:  # they alone cost more
            beside = None
        if beside is None or self.spread == 1:
            self.worth.tried = False
            self.ways -= {"ensemble"}
        else:
            self._paces[True] = beside

    def way(self, frame: VideoFrame) -> Way:
        tried = not self.worth.used and self.worth.tried and frame.keyframe
        if not (self.worth.used or tried):
            return "warp"
        if tried:
            self.late = 1
        self.own_results += 1
        return "ensemble"

    def learn(self, shares: Sequence[float]) -> None:
        if len(self._paces) == 1:
            return
        used = self.worth.used
        self.worth.learn(shares)
        if self.worth.used != used:
            self.spread, self.every = self._paces[self.worth.used]
            self._count_anew()
