"""A run by a policy over a part of a video, or one that goes on where an earlier one was stopped.

The policy sees every frame, as in a whole run, so that keyframes are where they would be; the network sees those that
are wanted, and the keyframes around them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
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
    choose = selection.chooser(rate)
    chosen: set[int] = set()
    stored: deque[VideoFrame] = deque()
    group: FinishedGroup | None = None

    def to_the_last_keyframe() -> Iterator[VideoFrame]:
        for frame in clock.waiting_for(frames):
            which = choose(frame)
            if which and frame.index in done:
                stored.append(frame)
            elif which:
                chosen.add(frame.index)
            yield frame
            if which is None and (frame.keyframe or not chosen):  # frames before it may take from it
                return
            del frame

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
    results = segmenter.segment_all(
        to_the_last_keyframe(),
        *shown_as,
        live=live,
        policy=policy,
        clock=clock,
        wanted=lambda frame: frame.index in chosen,
        alone=journal is not None,
    )
    for result in results:
        yield from from_journal(result.index)
        if result.index not in chosen:  # where a keyframe's work is spread, all are segmented
            continue
        chosen.discard(result.index)
        if journal is not None:
            if finished and _key(finished[0]) != _key(result):
                journal.add(FinishedGroup.of(finished))
                finished = []
            finished.append(kept(result))
        yield result
        del result
    if journal is not None and finished:
        journal.add(FinishedGroup.of(finished))
    yield from from_journal(None)


def _key(result: SegmentedFrame) -> int:
    return result.index - result.distance
