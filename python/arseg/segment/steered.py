"""Frames by a policy: what is made of each, and the frames between two keyframes once both are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .batches import HELD, Batches, Done, bytes_of, windows
from .engine import Keyframe
from .modes import TWO_SIDED, Way
from .policies import Policy

if TYPE_CHECKING:
    from arseg.video import BlockField, VideoFrame

OWN_WEIGHTS = (0.0, 0.03, 0.1, 0.3)
"""What a frame's own result may count beside a keyframe one frame away; the stream says which."""

REMEMBERED = 0.8
"""What the tests of earlier keyframes count at each new one."""


@dataclass
class Steered(Batches):
    """Runs an engine on the frames of one stream as its policy says.

    Attributes:
        policy: of this stream alone, begun.
    """

    policy: Policy | None = None
    _scores: Tensor | None = field(default=None, init=False)

    def _done(self, frames: Iterable[VideoFrame]) -> Iterator[Done]:
        assert self.policy is not None
        if self.policy.ways.isdisjoint(TWO_SIDED):
            for window in windows(frames, self.most, self.keyframes):
                yield from self._groups(window)
            return
        for window, ended in until_keyframes(frames):
            yield from self._between(window, ended)

    def _way(self, frame: VideoFrame) -> Way:
        assert self.policy is not None
        way = self.policy.way(frame)
        return "warp" if way in TWO_SIDED else way  # where there is no later keyframe

    def _between(self, window: list[VideoFrame], ended: bool) -> Iterator[Done]:
        """Frames after a keyframe, and at their end mostly the next one; `ended`: they are the last."""
        assert self.policy is not None
        *frames, last = window
        if ended and not last.keyframe and last.motion is not None and self.policy.closes(last):
            last = replace(last, keyframe=True, distance=0, motion=None, link=last.motion)
        if not frames or last.link is None:
            yield from self._groups([*frames, last])
            return
        before = self.group.key_of(frames[0])
        (labels, key) = self._keyframes([last], 0)[0]
        length = last.index - (frames[0].index - frames[0].distance)
        onward = dict(zip((frame.index for frame in frames), onward_fields(frames, last), strict=True))
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
        yield [last], labels

    def _own_weight(self, last: VideoFrame, before: Keyframe, key: Keyframe, length: int) -> Tensor:
        """What frames' own results count: as would have told the last keyframes best."""
        weights = torch.tensor(OWN_WEIGHTS, device=key.key_logits.device)
        found = self.engine.own_agreement(last, before, key, length, weights)
        self._scores = found if self._scores is None else REMEMBERED * self._scores + (1 - REMEMBERED) * found
        return weights[self._scores.argmax()]


def _shape(frame: VideoFrame) -> tuple[int, ...]:
    assert frame.motion is not None
    return (frame.motion.block, *frame.motion.vectors.shape)


def until_keyframes(frames: Iterable[VideoFrame], held: int = HELD) -> Iterator[tuple[list[VideoFrame], bool]]:
    """Frames in lists, each up to a keyframe with it, and whether they are the last; shorter where `held` bytes are.

    An error of `frames` comes after the frames before it.
    """
    window: list[VideoFrame] = []
    size = 0
    iterator = iter(frames)
    while True:
        try:
            frame = next(iterator, None)
        except Exception:
            if window:
                yield window, False
            raise
        if frame is None:
            break
        window.append(frame)
        size += bytes_of(frame)
        full = frame.keyframe or size > held
        del frame
        if full:
            yield window, False
            window, size = [], 0
    if window:
        yield window, True


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
