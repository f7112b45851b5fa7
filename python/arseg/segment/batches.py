"""Which frames the network sees at once, and their label maps in order.

Frames between keyframes need nothing but their keyframe: those of a group are one batch, and the keyframes of the next
groups another. Both are read ahead within a bound, and a batch that fails is taken apart, so that all frames before the
one that it fails at come out first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from torch import Tensor

from arseg.errors import InputError, MemoryLimitError
from arseg.memory import is_out_of_memory
from arseg.networks.trust import KeyframeSignals
from arseg.preprocess import input_size

from .engine import Engine, Keyframe, block_of, frame_size
from .fetched import Labels
from .modes import FROM_KEYFRAME, Way

if TYPE_CHECKING:
    from arseg.video import VideoFrame

KEYFRAMES = 4
"""How many keyframes the network sees at once, where whole groups are read ahead."""

HELD = 512 * 2**20
"""Bytes of decoded frames, fields and vectors that are read ahead at most; a single frame may be larger."""

Done = tuple[Sequence["VideoFrame"], Labels]
Seen = tuple["VideoFrame", np.ndarray, np.ndarray | None]
"""A frame, its label map, and its logits or None."""

Result = TypeVar("Result")

Work = Callable[[Sequence["VideoFrame"]], Result]

_log = logging.getLogger(__name__)


@dataclass
class Group:
    """What a stream keeps from its keyframe for the frames after it; each stream has its own.

    Attributes:
        reference, key_logits: the keyframe's feature `[1, C, h, w]` and logits `[1, classes, h, w]`; None before the
            first.
        signals: what the network asks for besides, see `ARSegNet.keyframe_signals`.
        luma: see `Keyframe`.
        keyframe: which frame that was: the reading that it came from (`VideoFrame.stream`), and its index.
    """

    reference: Tensor | None = None
    key_logits: Tensor | None = None
    keyframe: tuple[object, int] | None = None
    signals: KeyframeSignals | None = None
    luma: Tensor | None = None

    def start(self, frame: VideoFrame, key: Keyframe) -> None:
        self.reference, self.key_logits, self.signals = key.reference, key.key_logits, key.signals
        self.luma = key.luma
        self.keyframe = (frame.stream, frame.index)

    def key_of(self, frame: VideoFrame) -> Keyframe:
        """What a frame that is not a keyframe takes from its own; raises `InputError` where that is not the last."""
        if self.reference is None or self.key_logits is None or frame.motion is None:
            raise InputError(f"frame {frame.index}: not a keyframe, and no keyframe came before it")
        if self.keyframe != (frame.stream, frame.index - frame.distance):
            raise InputError(
                f"frame {frame.index}: its keyframe is frame {frame.index - frame.distance} of its video, and the last "
                "one that came is another; give frames in order, and each video a Group of its own"
            )
        return Keyframe(self.reference, self.key_logits, self.signals, self.luma)


def windows(
    frames: Iterable[VideoFrame], most: int, keyframes: int | None, held: int = HELD
) -> Iterator[list[VideoFrame]]:
    """Frames in lists, as they are read ahead; an error of `frames` comes after the frames before it.

    Args:
        most: frames that a list has for each of `keyframes`, besides these; 1: each frame is a list.
        keyframes: how many of them a list has at most; None: they are frames like others.
        held: bytes that a list holds at most.
    """
    before = keyframes if keyframes != 1 else 0  # one group at a time begins with its keyframe

    def keys(window: list[VideoFrame]) -> int:
        return 0 if keyframes is None else sum(frame.keyframe for frame in window)

    def begins(window: list[VideoFrame], size: int, frame: VideoFrame) -> bool:
        return (keyframes is not None and frame.keyframe and keys(window) == before) or size > held

    def ends(window: list[VideoFrame], size: int) -> bool:
        return most == 1 or len(window) - keys(window) == most * (keyframes or 1)

    for window, _ in gathered(frames, begins, ends):
        yield window


def gathered(
    frames: Iterable[VideoFrame],
    begins: Callable[[list[VideoFrame], int, VideoFrame], bool],
    ends: Callable[[list[VideoFrame], int], bool],
) -> Iterator[tuple[list[VideoFrame], bool]]:
    """Frames in lists, and whether there are no more; an error of `frames` comes after the frames before it.

    Args:
        begins: whether a frame begins a new list, of the list before it and the bytes that both would hold.
        ends: whether a list is whole with its last frame, and the bytes that it holds.
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
        more = bytes_of(frame)
        if window and begins(window, size + more, frame):
            yield window, False
            window, size = [], 0
        window.append(frame)
        size += more
        del frame  # while it waits, this generator holds no more than the list
        if ends(window, size):
            yield window, False
            window, size = [], 0
    if window:
        yield window, True


def bytes_of(frame: VideoFrame) -> int:
    """Of what a decoded frame holds."""
    others = (getattr(frame, name, None) for name in ("link", "previous"))  # frames from elsewhere have none
    fields = sum(field.vectors.nbytes * 5 // 4 for field in (frame.motion, *others) if field is not None)  # and masks
    return fields + sum(array.nbytes for array in (frame.image, frame.records) if array is not None)


@dataclass
class Batches:
    """Runs an engine on the frames of one stream.

    Attributes:
        most: frames that the network sees at once; less once that was too much for the memory.
        keyframes: the same of keyframes.
        group: what the stream keeps from its keyframe.
        watch: called with the frames of a batch once their label maps are there.
    """

    engine: Engine
    most: int = 1
    keyframes: int = 1
    group: Group = field(default_factory=Group)
    watch: Callable[[Sequence[VideoFrame]], object] = lambda frames: None
    _full: bool = field(default=False, init=False)

    def run(self, frames: Iterable[VideoFrame]) -> Iterator[Seen]:
        """Each frame with its label map, uint8 `[H, W]`, and its logits where the engine keeps them, in order.

        Raises the errors of `frames` and of the network after the frames before; `MemoryLimitError` where one frame
        alone is too much for the memory, and `InputError` where its keyframe is not the last one that came.
        """
        done = self._done(frames)
        if self.engine.on_cuda and self.most > 1:
            done = one_behind(done)  # the device has its next batch before this one is waited for
        for batch, labels in done:
            maps, logits = labels(), labels.logits
            each = [None] * len(batch) if logits is None else logits()
            self.watch(batch)
            yield from zip(batch, maps, each, strict=True)
            del batch, labels, maps, logits, each

    def _done(self, frames: Iterable[VideoFrame]) -> Iterator[Done]:
        if self.engine.mode not in FROM_KEYFRAME:
            for window in windows(frames, self.most, None):
                yield from self._in_batches(window, self.engine.each)
            return
        for window in windows(frames, self.most, self.keyframes):
            yield from self._groups(window)

    def _groups(self, window: list[VideoFrame]) -> Iterator[Done]:
        """Keyframes and the frames after them; the keyframes of the whole window are seen at the first."""
        seen: dict[int, tuple[Labels, Keyframe]] = {}
        place = 0
        while place < len(window):
            frame = window[place]
            if frame.keyframe:
                if place not in seen:
                    seen |= self._keyframes(window, place)
                labels, key = seen.pop(place)
                self.group.start(frame, key)
                yield [frame], labels
                place += 1
                continue
            key, way = self.group.key_of(frame), self._way(frame)
            count = 1
            while place + count < len(window) and self._follows(window[place + count], frame, way):
                count += 1
            yield from self._in_batches(window[place : place + count], self._work(key, way))
            place += count

    def _way(self, frame: VideoFrame) -> Way:
        """What is made of a frame that is no keyframe."""
        return self.engine.mode

    def _work(self, key: Keyframe, way: Way) -> Work[Labels]:
        if way in FROM_KEYFRAME:
            return partial(self.engine.after, key=key, way=way)
        return partial(self.engine.each, way=way)

    def _follows(self, frame: VideoFrame, first: VideoFrame, way: Way) -> bool:
        """Whether a frame may be in one batch with an earlier one of the group."""
        if frame.keyframe or frame.motion is None or first.motion is None or self._way(frame) != way:
            return False
        same = block_of(frame) == block_of(first) and frame.motion.vectors.shape == first.motion.vectors.shape
        return same and self.group.keyframe == (frame.stream, frame.index - frame.distance)

    def _keyframes(self, window: Sequence[VideoFrame], place: int) -> dict[int, tuple[Labels, Keyframe]]:
        """By place in the window: label maps and features of the keyframe at `place`, and of some after it."""
        size = frame_size(window[place])
        places = [at for at in range(place, len(window)) if window[at].keyframe and frame_size(window[at]) == size]
        places = places[: self.keyframes]
        while (done := self._tried(self._see_keyframes, [window[at] for at in places])) is None:
            places = places[: self._fewer(len(places))]
            if self._full:
                self.keyframes = len(places)
        labels, keys = done
        return {at: (labels.one(index), keys[index]) for index, at in enumerate(places)}

    def _see_keyframes(self, frames: Sequence[VideoFrame]) -> tuple[Labels, list[Keyframe]]:
        return self.engine.keyframes(frames)

    def _in_batches(self, frames: Sequence[VideoFrame], work: Work[Labels]) -> Iterator[Done]:
        """Label maps of frames of which none needs another, in batches of one size each."""
        place = 0
        while place < len(frames):
            _, alike = next(groupby(frames[place : place + self.most], frame_size))
            batch = list(alike)
            while (labels := self._tried(work, batch)) is None:
                batch = batch[: self._fewer(len(batch))]
                if self._full:
                    self.most = len(batch)
            yield batch, labels
            place += len(batch)

    def _tried(self, work: Work[Result], frames: Sequence[VideoFrame]) -> Result | None:
        """What `work` makes of the frames; None where it fails at several, which are to be tried apart."""
        try:
            return work(frames)
        except Exception as error:
            self._full = is_out_of_memory(error)
            if len(frames) == 1 and not self._full:
                raise
            if len(frames) == 1:
                raise too_large(frames[0], self.engine) from error
        # Past the handler, which holds the tensors of the call that failed.
        if self._full:
            self.engine.release()
        return None

    def _fewer(self, count: int) -> int:
        """How many frames to try where so many failed; a batch that was too large is told."""
        if self._full:
            told = (self.engine.device, count, count // 2)
            _log.warning("not enough memory on %s for %d frames at once: trying %d", *told)
        return count // 2


def too_large(frame: VideoFrame, engine: Engine) -> MemoryLimitError:
    """The error for a frame that alone is too much for the memory."""
    height, width = input_size(frame_size(frame), engine.height)
    return MemoryLimitError(
        f"frame {frame.index}: not enough memory on {engine.device} for the network at {width}x{height} "
        "pixels; choose a smaller height (--height)"
    )


def one_behind(items: Iterable[Result]) -> Iterator[Result]:
    """The items, each once the one after it is there; an error comes after the items before it."""
    held: list[Result] = []
    iterator = iter(items)
    while True:
        try:
            held.append(next(iterator))
        except StopIteration:
            break
        except Exception:
            yield from held
            raise
        if len(held) > 1:
            yield held.pop(0)
    yield from held
