"""Keyframes whose work is spread over several frames: no frame waits for one, each costs a share of it.

A keyframe's network runs beside the stream. Its result is used from a set number of frames on, whatever the processor
does, so that results are the same on every machine; meanwhile the last finished keyframe is moved. Where there is none
(the first frame, an I frame of the codec, a cut) the frame's own result at low resolution stands in for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .batches import Done
from .engine import Keyframe, Labels
from .steered import Steered

if TYPE_CHECKING:
    from arseg.video import BlockField, VideoFrame


@dataclass
class _Source:
    """What frames are made of.

    Attributes:
        key: a keyframe, or what stands in for it.
        index: of its frame.
        finished: whether it is a keyframe.
        link: from the latest keyframe to it; None where it is that itself.
    """

    key: Keyframe
    index: int
    finished: bool
    link: BlockField | None = None


@dataclass
class _Coming:
    """A keyframe that is worked on."""

    frame: VideoFrame
    result: Future[tuple[Labels, list[Keyframe]]]
    ready: int


@dataclass
class Spread(Steered):
    """Runs an engine frame by frame; needs a policy whose `spread` is above 1."""

    def _done(self, frames: Iterable[VideoFrame]) -> Iterator[Done]:
        source: _Source | None = None
        coming: _Coming | None = None
        with ThreadPoolExecutor(1, "keyframe") as beside:
            for frame in frames:
                if coming is not None and frame.index >= coming.ready:
                    _, (key,) = coming.result.result()
                    source, coming = _Source(key, coming.frame.index, True), None
                if frame.keyframe:
                    if coming is not None:  # another scene before it was finished
                        coming.result.cancel()
                    new = self._anew(frame, source)
                    if new is None:
                        labels, key = self.engine.low_keyframe(frame)
                        source = _Source(key, frame.index, False)
                    else:
                        assert source is not None
                        labels = self._moved(new, source)
                        source.link = frame.link if source.link is None else joined(frame.link, source.link)
                    coming = self._begun(frame, beside)
                else:
                    assert source is not None
                    field = frame.motion if source.link is None else joined(frame.motion, source.link)
                    labels = self._moved(replace(frame, motion=field, distance=frame.index - source.index), source)
                yield [frame], labels

    def _anew(self, frame: VideoFrame, source: _Source | None) -> VideoFrame | None:
        """A keyframe as a frame after the last finished one; None where it is not like that."""
        assert self.policy is not None
        if source is None or frame.link is None or self.policy.cut_at(frame.index):
            return None
        field = frame.link if source.link is None else joined(frame.link, source.link)
        return replace(frame, keyframe=False, motion=field, distance=frame.index - source.index)

    def _begun(self, frame: VideoFrame, beside: ThreadPoolExecutor) -> _Coming:
        assert self.policy is not None
        result: Future[tuple[Labels, list[Keyframe]]]
        if self.engine.on_cuda:  # the device does it beside the rest anyway, and recordings are made by one thread
            result = Future()
            result.set_result(self.engine.keyframes([frame]))
        else:
            result = beside.submit(self.engine.keyframes, [frame])
        return _Coming(frame, result, frame.index + self.policy.spread)

    def _moved(self, frame: VideoFrame, source: _Source) -> Labels:
        return self.engine.after([frame], source.key, self._way(frame) if source.finished else "warp")


def joined(step: BlockField | None, rest: BlockField) -> BlockField:
    """A field to a keyframe, and one from there on, as one: sums, at cells of 4x4."""
    from arseg.video.motion import BlockField, chain

    assert step is not None
    vectors, valid = chain(step.vectors, step.valid, rest.vectors, rest.valid)
    return BlockField(vectors, valid, step.block, step.origin)
