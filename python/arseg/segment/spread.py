"""Keyframes whose work is spread over several frames: no frame waits for one, each costs a share of it.

A keyframe's network runs beside the stream. Its result is used from a set number of frames on, whatever the processor
does, so that results are the same on every machine; meanwhile the last finished keyframe is moved. Where there is none
(the first frame, an I frame of the codec, a cut) the frame's own result at low resolution stands in for it, and the
network begins with it a frame later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torch import Tensor

from arseg.errors import InputError
from arseg.memory import is_out_of_memory

from .batches import Done, Group, Result, Work, too_large
from .engine import Engine, Keyframe
from .fetched import Labels
from .graphs import Tensors
from .modes import Way
from .policies.worth import OWN_WEIGHTS, Worth
from .steered import Steered

if TYPE_CHECKING:
    from arseg.video import BlockField, VideoFrame


@dataclass
class _Place:
    """A frame that others are made of.

    Attributes:
        frame: it.
        link: from the latest keyframe of the reader to it; None where it is that itself.
    """

    frame: VideoFrame
    link: BlockField | None = None

    def from_keyframe(self, step: BlockField) -> BlockField:
        """`step` leads to the latest keyframe; from there on."""
        return step if self.link is None else joined(step, self.link)

    def passed(self, keyframe: VideoFrame) -> None:
        """There is a new latest keyframe."""
        assert keyframe.link is not None
        self.link = self.from_keyframe(keyframe.link)


@dataclass
class _Source(_Place):
    """`key`: a keyframe, if it is `finished`; else what stands in for it."""

    key: Keyframe | None = None
    finished: bool = False


class _Coming(_Place):
    """A keyframe that the network is at, or waits for its turn with; used from frame `ready` on.

    `parts`: what its frame was made of, where it had its own result (`Engine.told`).
    """

    parts: Tensors | None = None

    def __init__(self, frame: VideoFrame, spread: int, delay: int) -> None:
        super().__init__(frame)
        self.begins, self.ready = frame.index + delay, frame.index + delay + spread
        self._result: Future[tuple[Labels, list[Keyframe]]] | None = None

    def begin(self, engine: Engine, beside: ThreadPoolExecutor) -> None:
        if self._result is not None:
            return
        if engine.on_cuda:  # recordings are made by one thread; the device queues it
            self._result = Future()
            try:
                self._result.set_result(engine.keyframes([self.frame]))
            except Exception as error:  # told where the result is used
                self._result.set_exception(error)
        else:
            self._result = beside.submit(engine.keyframes, [self.frame])

    def finish(self, engine: Engine) -> Keyframe:
        assert self._result is not None
        try:
            return self._result.result()[1][0]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise too_large(self.frame, engine) from error

    def drop(self) -> None:
        """It is not needed any more; waits for a network that has begun, which no other call may meet."""
        if self._result is not None and not self._result.cancel():
            self._result.exception()


@dataclass
class Spread(Steered):
    """Runs an engine frame by frame; needs a policy whose `spread` is above 1."""

    _weights: dict[float, Tensor] = field(default_factory=dict, init=False)

    def _done(self, frames: Iterable[VideoFrame]) -> Iterator[Done]:
        assert self.policy is not None
        source: _Source | None = None
        coming: _Coming | None = None
        with ThreadPoolExecutor(1, "keyframe") as beside:
            for frame in frames:
                if coming is not None and frame.index >= coming.ready:
                    coming.begin(self.engine, beside)  # frames may have been lost
                    source = _Source(coming.frame, coming.link, coming.finish(self.engine), True)
                    self._learn(coming, source)
                    coming = None
                if frame.keyframe and (source is None or frame.link is None or self.policy.cut_at(frame.index)):
                    if coming is not None:
                        coming.drop()
                    stand_in = self._stand_in(frame)
                    source = _Source(frame, key=stand_in[1])
                    # Until it is there frames have no results of their own.
                    coming = _Coming(frame, getattr(self.policy, "least_spread", self.policy.spread), 1)
                    yield [frame], stand_in[0]
                    continue
                if source is None:
                    Group().key_of(frame)  # raises
                assert source is not None
                if coming is not None and frame.index >= coming.begins:
                    coming.begin(self.engine, beside)
                step = frame.link if frame.keyframe else frame.motion
                assert step is not None
                way_back, distance = source.from_keyframe(step), frame.index - source.frame.index
                begins = frame.keyframe and coming is None  # one at a time: others are moved like any frame
                moved = replace(frame, keyframe=begins, motion=way_back, distance=distance)
                way = self._way(moved) if source.finished else "warp"
                labels, parts = self._moved(moved, source, way)
                if frame.keyframe:
                    source.passed(frame)
                    if coming is not None:
                        coming.passed(frame)
                if begins:
                    # A frame that has its own result while others have none has no share of the keyframe's work.
                    worth = self._worth()
                    tried = parts is not None and worth is not None and not worth.used
                    coming = _Coming(frame, self.policy.spread, int(tried))
                    coming.parts = parts
                    if not tried:
                        coming.begin(self.engine, beside)
                yield [frame], labels

    def _stand_in(self, frame: VideoFrame) -> tuple[Labels, Keyframe]:
        return self._made(lambda one: self.engine.low_keyframe(one[0]), frame)

    def _moved(self, moved: VideoFrame, source: _Source, way: Way) -> tuple[Labels, Tensors | None]:
        """Labels; and what they were made of where a keyframe begins at the frame, which will tell what was right."""
        key, begins = source.key, moved.keyframe
        assert key is not None
        frame = replace(moved, keyframe=False)
        if way != "ensemble":
            return self._made(lambda one: (self.engine.after(one, key, way), None), frame)
        weight = self._weight(key)
        if begins:
            return self._made(lambda one: self.engine.beside_and_parts(one[0], key, weight), frame)
        return self._made(lambda one: (self.engine.beside(one, key, weight), None), frame)

    def _weight(self, key: Keyframe) -> Tensor:
        weight = (self._worth() or Worth()).weight
        if weight not in self._weights:  # of a number a GPU is waited for
            self._weights[weight] = key.key_logits.new_tensor(weight)
        return self._weights[weight]

    def _made(self, work: Work[Result], frame: VideoFrame) -> Result:
        found = self._tried(work, [frame])
        assert found is not None  # it raises where one frame fails
        return found

    def _learn(self, finished: _Coming, source: _Source) -> None:
        learn = getattr(self.policy, "learn", None)
        if learn is None:
            return
        assert source.key is not None
        weights = source.key.key_logits.new_tensor(OWN_WEIGHTS)
        parts = finished.parts
        learn([] if parts is None else self.engine.told(parts, source.key, weights).tolist())

    def _worth(self) -> Worth | None:
        return getattr(self.policy, "worth", None)


def joined(step: BlockField, rest: BlockField) -> BlockField:
    """A field to a keyframe, and one from there on, as one; raises `InputError` where their cells are not of 4x4."""
    from arseg.video.motion import CELL, BlockField, chain

    if step.block != CELL:
        raise InputError(
            f"block: expected {CELL}, of which keyframes are spread over several frames, got {step.block}; read the "
            "frames so"
        )
    vectors, valid = chain(step.vectors, step.valid, rest.vectors, rest.valid)
    return BlockField(vectors, valid, step.block, step.origin)
