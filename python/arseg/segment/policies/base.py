"""What a policy is: it says, frame by frame and from what costs no network, what a stream's compute is spent on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from arseg.registry import Registry
from arseg.segment.modes import Way

from .amounts import Costs

if TYPE_CHECKING:
    from arseg.video import Candidate, VideoFrame


class Policy(Protocol):
    """The policy of one stream; the next stream has a new one.

    Attributes:
        longest: frames of a group at most.
        spread: frames that the work of a keyframe is spread over. 1: it is done at the keyframe, whose result is the
            network's own. More: the last keyframe that is finished is moved meanwhile, and groups are as long at least.
    """

    longest: int
    spread: int

    def starts(self, seen: Candidate) -> bool:
        """Whether a group starts at a frame; asked once of each, in decoding order, but for I and B frames."""

    def way(self, frame: VideoFrame) -> Way:
        """What is made of a frame that is no keyframe."""


POLICIES: Registry[Callable[..., Policy]] = Registry("policy")
"""By name: what makes the policy of a stream, of `costs` (a `Costs`) and `budget` (in their unit, a frame; or None)."""

__all__ = ["POLICIES", "Costs", "Policy"]
