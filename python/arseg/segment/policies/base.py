"""What a policy is: it says, frame by frame and of what costs no network, what a stream's compute is spent on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from arseg.registry import Registry
from arseg.segment.modes import Way

from .amounts import Amount, Costs

if TYPE_CHECKING:
    from arseg.video import Candidate, VideoFrame


class Policy(Protocol):
    """The policy of one stream; the next stream has a new one.

    Attributes:
        ways: all that `way` may give; `begin` may narrow them.
        longest: frames of a group at most.
        spread: frames that the work of a keyframe is spread over. 1: it is done at the keyframe. More: no frame waits
            for it, the last keyframe that is finished is moved meanwhile, and groups are as long at least.

    A policy may have `stretch(times: int)`, too: a live stream has fallen behind, or caught up, and from now on
    keyframes are to come so many times as far apart as else. And `restarts: bool`: whether it goes on from each I frame
    as from the first frame of a video; parts of a video that begin at these can then be shared by several processes,
    each with a policy of its own.

    Where work is spread, "ensemble" is the last finished keyframe, moved, and the frame's own result. A policy may have
    `worth: Worth` (`arseg.segment.policies.worth`), whose weight that counts, and `learn(shares)`: of each finished
    keyframe it is told what share of the pixels own results had told, none if `way` made none there. While `worth.used`
    is false, work begins a frame later at a frame with an own result, for that costs, too. `least_spread: int` is the
    spread of a keyframe before which nothing is finished, after which frames have no own results.
    """

    ways: frozenset[Way]
    longest: int
    spread: int

    def begin(self, costs: Costs, *, gop: int, live: bool) -> None:
        """Before the first frame: what frames cost, and whether the next one is not to be waited for.

        `gop`: frames of a group at most where no budget says another number.
        """

    def starts(self, seen: Candidate) -> bool:
        """Whether a group starts at a frame; asked once of each, in decoding order, but for I and B frames."""

    def cut_at(self, index: int) -> bool:
        """Whether a group starts at a frame because it is like none before; asked where the work is spread."""

    def way(self, frame: VideoFrame) -> Way:
        """What is made of a frame that is no keyframe.

        Where work is spread, its field and distance lead to the last finished keyframe, and `frame.keyframe` says
        whether the work of another begins at it.
        """

    def closes(self, frame: VideoFrame) -> bool:
        """Whether the last frame of a stream is made a keyframe, for those before it; it is none yet."""


POLICIES: Registry[Callable[[Amount | None, Amount | None], Policy]] = Registry("policy")
"""By name: what makes the policy of a stream, of a budget (the mean of a frame) and a bound on the slowest frame."""
