"""Whether frames' own results at low resolution earn what they cost a stream that cannot wait.

Without them a keyframe is finished after fewer frames, so that what is moved is younger. A keyframe that is finished
tells what was right at its frame, and so what its own result had taken away of the errors there, beside the keyframe
before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

OWN_WEIGHTS = (0.0, 0.03, 0.1, 0.3)
"""What a frame's own result may count beside a keyframe one frame away, with which it is tried."""

BEGUN, STAYS = 0.85, 0.8
"""Share of the errors that own results may leave: of those of a keyframe as young as it is without them, to be begun
with; and of those of one as old as it is beside them, to be made any further. So many fewer a younger keyframe has."""

AGAIN, MOST = 8, 64
"""Keyframes from one trial to the next while they are not made; after each in vain twice as many, at most `MOST`."""

KEPT = 0.7
"""What earlier keyframes count beside the last one."""


@dataclass
class Worth:
    """What they are worth in one stream.

    Attributes:
        used: whether frames have their own results made.
        tried: whether the next keyframe's frame is to have its own, although others have none.
        weight: of `OWN_WEIGHTS`, of those above 0 that which was best.
    """

    used: bool = False
    tried: bool = True
    weight: float = OWN_WEIGHTS[1]
    _errors: Sequence[float] = field(default=(0.0,) * len(OWN_WEIGHTS), repr=False)
    _left: int = 0
    _wait: int = AGAIN // 2

    def learn(self, shares: Sequence[float]) -> None:
        """A keyframe is finished; `shares` of its pixels were told by `OWN_WEIGHTS`, or none of them was tried."""
        if not shares:
            self._left -= 1
            if self._left <= 0:  # or they were used for long with nothing that would tell of them
                self.used, self.tried = False, True
            return
        kept = KEPT if self.used else 0.0
        errors = self._errors = [kept * old + 1 - new for old, new in zip(self._errors, shares, strict=True)]
        least, self.weight = min(zip(errors[1:], OWN_WEIGHTS[1:], strict=True))
        self.used = least < (STAYS if self.used else BEGUN) * errors[0]
        self.tried = False
        self._wait = AGAIN // 2 if self.used else min(2 * self._wait, MOST)
        self._left = AGAIN if self.used else self._wait
