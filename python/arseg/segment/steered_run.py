"""A run by a policy over a part of a video, or one that goes on where an earlier one was stopped.

The policy sees every frame, as in a whole run, so that keyframes are where they would be; the network sees those that
are wanted, and the keyframes around them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any

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
    waited = clock.waiting_for(frames)
    choose = selection.chooser(rate)
    shown_as = rotation, display_matrix
    if journal is None:
        how: dict[str, Any] = {"clock": clock, "live": live, "alone": False}
        yield from chosen_frames(segmenter, waited, policy, choose, shown_as, **how)
        return
    marked = ((frame, choose(frame)) for frame in waited)
    yield from _with_journal(segmenter, marked, policy, journal, shown_as, clock)


def _with_journal(
    segmenter: VideoSegmenter,
    marked: Iterator[tuple[VideoFrame, bool | None]],
    policy: Policy,
    journal: Journal,
    shown_as: tuple[int, tuple[int, ...] | None],
    clock: StageClock,
) -> Iterator[SegmentedFrame]:
    """Finished groups are answered frame by frame; the network runs over the stretches between them.

    A stretch begins with the keyframe of its first group and ends with that of the next finished one, from which frames
    before it may take.

    Args:
        marked: all frames, and whether each is chosen (`Selection.chooser`).
    """
    finished = frozenset(journal.groups)
    coming = next(marked, None)
    marks: deque[bool | None] = deque()
    group: FinishedGroup | None = None
    key: VideoFrame | None = None

    def stretch(first: Sequence[tuple[VideoFrame, bool | None]]) -> Iterator[VideoFrame]:
        nonlocal coming
        coming = None
        for place, (frame, mark) in enumerate(chain(first, marked)):
            ends = place >= len(first) and frame.keyframe and frame.index in finished
            marks.append(False if ends and mark else mark)
            yield frame
            if ends:
                coming = frame, mark
                return
            del frame

    while coming is not None and coming[1] is not None:
        frame, mark = coming
        key = frame if frame.keyframe else key
        if group_of(frame) in finished and (not mark or frame.index in journal.frames):
            if mark:
                if group is None or frame.index not in group.frames:
                    group = journal.group_with(frame.index)
                yield answered(group, frame, segmenter, *shown_as, clock)
            coming = next(marked, None)
            continue
        first = [(frame, mark)]
        if key is not None and key is not frame:  # the stream's last frame, which becomes a keyframe
            first.insert(0, (key, False))
        frames = stretch(first)
        del frame, first
        results = chosen_frames(segmenter, frames, policy, lambda _: marks.popleft(), shown_as, clock=clock)
        yield from _noted(results, journal)


def _noted(results: Iterable[SegmentedFrame], journal: Journal) -> Iterator[SegmentedFrame]:
    """The results; groups are the journal's as soon as they are whole."""
    done: list[SegmentedFrame] = []
    for result in results:
        if done and group_of(done[0]) != group_of(result):
            journal.add(FinishedGroup.of(done))
            done = []
        done.append(kept(result))
        yield result
        del result
    if done:
        journal.add(FinishedGroup.of(done))


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
        clock: that waits for the frames already; None: a new one.
        alone: whether the network sees keyframes one by one.
    """
    if clock is None:
        clock = StageClock()
        frames = clock.waiting_for(frames)
    chosen: set[int] = set()

    def to_the_last_keyframe() -> Iterator[VideoFrame]:
        for frame in frames:
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
