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
        worth: what they are worth.
        own_results: how many frames had one so far.
        one_sided: it takes nothing from the next keyframe, whatever "ensemble" means elsewhere.
    """

    one_sided = True

    def __init__(self, budget: Amount | None, slowest: Amount) -> None:
        super().__init__(budget, slowest)
        self.ways = frozenset(["warp", "ensemble", "lr"])
        self.worth = Worth()
        self.own_results = 0
        self._beside = False  # whether they are made now
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
            self.ways -= {"ensemble"}
        else:
            self._paces[True] = beside

    def way(self, frame: VideoFrame) -> Way:
        if not self._beside:
            if not (self.worth.tried and frame.keyframe and True in self._paces and self._times == 1):
                return "warp"
            self.late = 1  # a trial
        self.own_results += 1
        return "ensemble"

    def learn(self, shares: Sequence[float]) -> None:
        if True in self._paces:
            self.worth.learn(shares)
            self._make(self.worth.used and self._times == 1)

    def stretch(self, times: int) -> None:
        """Own results are the first to go; they come again with a keyframe, so that no frame pays for both."""
        super().stretch(times)
        if times > 1:
            self._make(False)

    def _make(self, beside: bool) -> None:
        if beside != self._beside:
            self._beside = beside
            self.spread, self.every = self._paces[beside]
            self._count_anew()
