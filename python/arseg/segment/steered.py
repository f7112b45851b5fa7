"""Frames by a policy: what is made of each, and the frames between two keyframes once both are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .batches import HELD, Batches, Done, Work, gathered, windows
from .engine import Keyframe
from .fetched import Labels
from .modes import TWO_SIDED, Way
from .policies import Policy

if TYPE_CHECKING:
    from arseg.video import BlockField, VideoFrame

OWN_WEIGHTS = (0.0, 0.03, 0.1)
"""What a frame's own result may count beside a keyframe one frame away; the group's own keyframes say which."""

UNTESTED = 1
"""Place of the weight where there is no later keyframe to test it by."""


@dataclass
class Steered(Batches):
    """Runs an engine on the frames of one stream as its policy says.

    Attributes:
        policy: of this stream alone, begun.
        wanted: whether a frame is to be segmented; others are passed over, and cost no network. All are to be given.
    """

    policy: Policy | None = None
    wanted: Callable[[VideoFrame], bool] = lambda frame: True
    _passed: VideoFrame | None = field(default=None, init=False)  # the last keyframe, where the network has not seen it

    def _done(self, frames: Iterable[VideoFrame]) -> Iterator[Done]:
        assert self.policy is not None
        if self.policy.ways.isdisjoint(TWO_SIDED):
            for window in windows(frames, self.most, self.keyframes):
                yield from self._wanted_groups(window)
            return
        for window, ended in until_keyframes(frames):
            yield from self._between(window, ended)

    def _way(self, frame: VideoFrame) -> Way:
        assert self.policy is not None
        way = self.policy.way(frame)
        return "warp" if way == "bidirectional" else way  # where there is no later keyframe

    def _see_keyframes(self, frames: Sequence[VideoFrame]) -> tuple[Labels, list[Keyframe]]:
        assert self.policy is not None
        return self.engine.keyframes(frames, self.policy.ways)

    def _work(self, key: Keyframe, way: Way) -> Work[Labels]:
        if way == "ensemble":
            return partial(self.engine.beside, key=key, own_weight=key.key_logits.new_tensor(OWN_WEIGHTS[UNTESTED]))
        return super()._work(key, way)

    def _between(self, window: list[VideoFrame], ended: bool) -> Iterator[Done]:
        """Frames after a keyframe, and at their end mostly the next one; `ended`: they are the last."""
        assert self.policy is not None
        *frames, last = window
        if ended and not last.keyframe and last.motion is not None and self.policy.closes(last):
            last = replace(last, keyframe=True, distance=0, motion=None, link=last.motion)
        if frames and last.keyframe:
            from arseg.video.across import joined

            last = joined(frames[-1], last)
        if not frames or last.link is None:
            yield from self._wanted_groups([*frames, last])
            return
        all_frames, frames = frames, list(filter(self.wanted, frames))
        if not frames:
            yield from self._wanted_groups([last])
            return
        self._see_passed()
        before = self.group.key_of(frames[0])
        (labels, key) = self._keyframes([last], 0)[0]
        length = last.index - (frames[0].index - frames[0].distance)
        onward = dict(zip((frame.index for frame in all_frames), onward_fields(all_frames, last), strict=True))
        own = self._own_weight(last, before, key, length) if "ensemble" in self.engine.ways else None
        for way, run in groupby(frames, self.policy.way):
            alike = list(run)
            if way not in TWO_SIDED:
                yield from self._groups(alike)
                continue
            for each in alike:
                self.group.key_of(each)  # refused where it is of another group
            for _, same in groupby(alike, _shape):
                yield from self._in_batches(
                    list(same),
                    lambda batch, way=way: self.engine.between(  # type: ignore[misc]
                        batch,
                        [onward[frame.index] for frame in batch],
                        before,
                        key,
                        length,
                        own if way == "ensemble" else None,
                    ),
                )
        self.group.start(last, key)
        if self.wanted(last):
            yield [last], labels

    def _wanted_groups(self, window: list[VideoFrame]) -> Iterator[Done]:
        """`_groups` of the frames that are wanted, with the keyframes that these need."""
        run: list[VideoFrame] = []
        for frame in window:
            wanted = self.wanted(frame)
            if run and frame.keyframe and not wanted:
                yield from self._groups(run)
                run = []
            if frame.keyframe:
                self._passed = None if wanted else frame
            if wanted:
                self._see_passed()
                run.append(frame)
        if run:
            yield from self._groups(run)

    def _see_passed(self) -> None:
        if self._passed is not None:
            ((_, key),) = self._keyframes([self._passed], 0).values()
            self.group.start(self._passed, key)
            self._passed = None

    def _own_weight(self, last: VideoFrame, before: Keyframe, key: Keyframe, length: int) -> Tensor | None:
        """What frames' own results count: as would have told the later keyframe best; None: nothing.

        Of two keyframes alone: so it is the same wherever in the stream a run begins. A GPU is waited for here, once
        for each keyframe: where they count nothing, no frame has its own result made.
        """
        weights = torch.tensor(OWN_WEIGHTS, device=key.key_logits.device)
        shares = self._tried(lambda one: self.engine.own_agreement(one[0], before, key, length, weights), [last])
        assert shares is not None  # it raises where one frame fails
        best = int(shares.argmax())
        return weights[best] if OWN_WEIGHTS[best] else None


def _shape(frame: VideoFrame) -> tuple[int, ...]:
    assert frame.motion is not None
    return (frame.motion.block, *frame.motion.vectors.shape)


def until_keyframes(frames: Iterable[VideoFrame], held: int = HELD) -> Iterator[tuple[list[VideoFrame], bool]]:
    """Frames in lists, each up to a keyframe with it, and whether they are the last; shorter where `held` bytes are.

    An error of `frames` comes after the frames before it.
    """
    return gathered(frames, lambda *_: False, lambda window, size: window[-1].keyframe or size > held)


def onward_fields(frames: Sequence[VideoFrame], last: VideoFrame) -> list[np.ndarray]:
    """Vectors from each frame of a group to the keyframe after it, int16 `[Hb, Wb, 2]`.

    Where each frame has its field to the frame before, those are turned round, and chained. What was not in the picture
    at the keyframe before is known then, too. Else the way is through that keyframe.
    """
    from arseg.video.hops import hop, inverted
    from arseg.video.motion import CELL, chain

    link = last.link
    assert link is not None
    steps = [frame.previous for frame in (*frames[1:], last)]
    if link.block != CELL or any(step is None for step in steps):
        return [hop(_field(frame), link)[0] for frame in frames]
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for step in reversed(steps):
        assert step is not None
        back = inverted(step)
        found.append(chain(*back, *found[-1]) if found else back)
    return [vectors for vectors, _ in reversed(found)]


def _field(frame: VideoFrame) -> BlockField:
    assert frame.motion is not None
    return frame.motion
