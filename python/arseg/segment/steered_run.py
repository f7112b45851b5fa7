"""A run by a policy over a part of a video, or one that goes on where an earlier one was stopped.

The policy sees every frame, as in a whole run, so that keyframes are where they would be; the network sees those that
are wanted, and the keyframes around them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from .clock import StageClock
from .finished import FinishedGroup
from .journal import Journal, answered, kept
from .policies import Policy
from .result import SegmentedFrame
from .selection import Selection

if TYPE_CHECKING:
    from arseg.video import VideoFrame

    from .segmenter import VideoSegmenter


def steered_run(
    segmenter: VideoSegmenter,
    frames: Iterable[VideoFrame],
    policy: Policy,
    selection: Selection,
    rate: Fraction,
    journal: Journal | None,
    rotation: int,
    display_matrix: tuple[int, ...] | None,
    *,
    live: bool = False,
) -> Iterator[SegmentedFrame]:
    """Results of the chosen frames, with the labels of a whole run; finished groups are the journal's.

    Args:
        frames: all of the video, read as the policy says.
        policy: begun.
        rate: frames a second, for frames without a time.
    """
    clock = StageClock()
    done: frozenset[int] = frozenset() if journal is None else frozenset(journal.frames)
    select = selection.chooser(rate)
    stored: deque[VideoFrame] = deque()
    group: FinishedGroup | None = None

    def choose(frame: VideoFrame) -> bool | None:
        which = select(frame)
        if which and frame.index in done:
            stored.append(frame)
            return False
        return which

    def from_journal(before: int | None) -> Iterator[SegmentedFrame]:
        nonlocal group
        while stored and journal is not None and (before is None or stored[0].index < before):
            frame = stored.popleft()
            if group is None or frame.index not in group.frames:
                group = journal.group_with(frame.index)
            yield answered(group, frame, segmenter, rotation, display_matrix, clock)
            del frame

    finished: list[SegmentedFrame] = []
    shown_as = rotation, display_matrix
    alone = journal is not None
    for result in chosen_frames(segmenter, frames, policy, choose, shown_as, clock=clock, live=live, alone=alone):
        yield from from_journal(result.index)
        if journal is not None:
            if finished and group_of(finished[0]) != group_of(result):
                journal.add(FinishedGroup.of(finished))
                finished = []
            finished.append(kept(result))
        yield result
        del result
    if journal is not None and finished:
        journal.add(FinishedGroup.of(finished))
    yield from from_journal(None)


def chosen_frames(
    segmenter: VideoSegmenter,
    frames: Iterable[VideoFrame],
    policy: Policy,
    choose: Callable[[VideoFrame], bool | None],
    shown_as: tuple[int, tuple[int, ...] | None] = (0, None),
    *,
    clock: StageClock | None = None,
    live: bool = False,
    alone: bool = True,
) -> Iterator[SegmentedFrame]:
    """Results of some frames of a video; it is read up to the first keyframe after them.

    Args:
        frames: all of it, or all from an I frame on where the policy `restarts`.
        policy: begun.
        choose: whether a frame is to be segmented, asked in order; None: neither it nor one after it.
        shown_as: rotation and display matrix of the results.
        clock: that waits for the frames; None: a new one.
        alone: whether the network sees keyframes one by one.
    """
    clock = clock or StageClock()
    chosen: set[int] = set()

    def to_the_last_keyframe() -> Iterator[VideoFrame]:
        for frame in clock.waiting_for(frames):
            which = choose(frame)
            if which:
                chosen.add(frame.index)
            yield frame
            if which is None and (frame.keyframe or not chosen):  # frames before it may take from it
                return
            del frame

    results = segmenter.segment_all(
        to_the_last_keyframe(),
        *shown_as,
        live=live,
        policy=policy,
        clock=clock,
        wanted=lambda frame: frame.index in chosen,
        alone=alone,
    )
    for result in results:
        if result.index in chosen:  # where a keyframe's work is spread, all are segmented
            chosen.discard(result.index)
            yield result
        del result


def group_of(frame: VideoFrame | SegmentedFrame) -> int:
    """Number of its keyframe."""
    return frame.index - frame.distance
