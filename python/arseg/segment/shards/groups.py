"""One video shared by several processes: its frames in shards that begin where decoding may, and their results."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby, pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arseg.errors import InputError
from arseg.segment.clock import StageClock
from arseg.segment.finished import FinishedGroup
from arseg.segment.journal import Journal, answered, kept
from arseg.segment.modes import FROM_KEYFRAME
from arseg.segment.result import SegmentedFrame
from arseg.segment.steered_run import chosen_frames, group_of
from arseg.video.names import shown

from .jobs import Runner, in_order

if TYPE_CHECKING:
    from arseg.segment.policies import Policy
    from arseg.segment.segmenter import VideoSegmenter
    from arseg.video import VideoFrame
    from arseg.video.orientation import Matrix

    from .worker import Worker

LEAST = 48
"""Frames of a shard at least, where there are so many: less is lost at its edges."""


@dataclass(frozen=True)
class Shard:
    """Frames of a video that one process segments.

    Attributes:
        video: what `VideoReader` takes; or its own files of pictures.
        first, last: it begins at the first, where decoding may, and ends before the last.
        wanted: those that are asked for; keyframes of them are segmented besides.
        options: of the reader.
        done: those of the wanted that are finished already.
    """

    video: str | tuple[Path, ...]
    first: int
    last: int
    wanted: range
    options: dict[str, Any]
    done: frozenset[int] = field(default=frozenset())

    @property
    def name(self) -> str:
        video = self.video if isinstance(self.video, str) else str(self.video[0])
        return f"{shown(video)}, frames {self.first} to {self.last - 1}"

    def run(self, worker: Worker, tell: Callable[[Any], None]) -> None:
        """Tells its groups one by one, as bytes."""
        segmenter, policy = worker.segmenter, None
        if isinstance(self.video, str):
            reader: Any
            reader, policy = worker.reader(self.video, self.options)
        else:
            from arseg.video.picture_reader import PictureReader

            from .worker import reachable

            reachable(str(self.video[0]))
            reader, segmenter = PictureReader(self.video, self.first), segmenter.plain()
        frames = reader.seek(self.first)
        if policy is not None:
            for _, group in groupby(chosen_frames(segmenter, frames, policy, self._choose), group_of):
                tell(FinishedGroup.of(list(map(kept, group))).to_bytes())
            return
        frames = takewhile(lambda frame: frame.index < self.last, frames)
        follows = segmenter.mode in FROM_KEYFRAME
        for _, members in groupby(self._needed(frames, follows), group_of):
            tell(FinishedGroup.of(list(segmenter.segment_all(members))).to_bytes())

    def _choose(self, frame: VideoFrame) -> bool | None:
        """Whether a frame is to be segmented; None: neither it nor one after it."""
        return None if frame.index >= self.last else frame.index in self.wanted and frame.index not in self.done

    def _needed(self, frames: Iterable[VideoFrame], follows: bool) -> Iterator[VideoFrame]:
        """Those that are wanted, and before them their keyframe."""
        waiting: VideoFrame | None = None
        for frame in frames:
            if frame.keyframe:
                waiting = frame
            if not self._choose(frame):
                continue
            if follows and waiting is not None and waiting is not frame:
                yield waiting
            waiting = None
            yield frame


def shards_of(
    video: str | tuple[Path, ...],
    entries: Sequence[int],
    count: int,
    wanted: range,
    options: dict[str, Any],
    done: Collection[int] = frozenset(),
) -> list[Shard]:
    """The shards of a video, in order; those without a wanted frame are left out.

    Args:
        entries: frames at which decoding may begin, the first of them 0.
        count: of all frames.
        wanted: the frames to segment.
        options: of the reader.
        done: frames that are finished.
    """
    edges = [0]
    for entry in [*entries[1:], count]:
        if entry - edges[-1] >= LEAST or entry == count:
            edges.append(entry)
    shards = []
    for first, last in pairwise(edges):
        mine = wanted[bisect_left(wanted, first) : bisect_left(wanted, last)]
        finished = frozenset(frame for frame in mine if frame in done)
        if len(mine) > len(finished):
            part = video if isinstance(video, str) else video[first:last]
            shards.append(Shard(part, first, last, mine, options, finished))
    return shards


def why_not(policy: Policy | None, reader: Any) -> str | None:
    """Why a video that can be read again is not shared by its groups; None: it may be."""
    if policy is not None and not getattr(policy, "restarts", False):
        return "where its keyframes are follows from all frames before (a budget, a bound or a policy that needs them)"
    why: str | None = reader.seeks_from_start
    return why


def with_pictures(
    groups: Iterator[FinishedGroup],
    frames: Iterable[VideoFrame],
    segmenter: VideoSegmenter,
    rotation: int,
    display_matrix: Matrix | None,
) -> Iterator[SegmentedFrame]:
    """The frames, decoded here, with what their groups say of them."""
    clock = StageClock()
    group: FinishedGroup | None = None
    for frame in clock.waiting_for(frames):
        while group is None or group.frames[-1] < frame.index:
            group = next(groups, None)
            if group is None:
                raise InputError(f"frame {frame.index}: no worker has seen it; try again with --workers 1")
        yield answered(group, frame, segmenter, rotation, display_matrix, clock)
        del frame
    for group in groups:  # to the end of all that was begun
        raise InputError(f"frame {group.key}: is not in the video any more; try again with --workers 1")


def groups_of(shards: Sequence[Shard], runner: Runner, journal: Journal | None) -> Iterator[FinishedGroup]:
    """The groups of all shards, and those of the journal, in order, each once; new ones go to the journal.

    Raises what failed, after the groups before it.
    """

    def found() -> Iterator[FinishedGroup]:
        last = -1
        for told in in_order(runner.run(shards)):
            if told.failed is not None:
                raise told.failed.error()
            if told.message is None:
                continue
            group = FinishedGroup.from_bytes(told.message)
            if group.key <= last:  # of a shard that was begun again
                continue
            last = group.key
            if journal is not None:
                journal.add(group)
            yield group

    kept = [] if journal is None else journal.groups
    stored = (group for key in kept if journal is not None and (group := journal.take(key)) is not None)
    yield from merge(stored, found(), key=lambda group: group.key)
