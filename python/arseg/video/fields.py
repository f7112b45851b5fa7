"""From frames in decoding order to groups, and to the field of each frame to its keyframe."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import av
import numpy as np

from arseg import _motion

from .grouping import Candidate, Chain, Starts, small_luma
from .motion import CELL, RECORD, BlockField, Origin
from .pictures import Decoded
from .problems import Problem

# A decoded picture buffer holds 16 frames at most (H.264, A.3.1). Where headers do not say which pictures are
# references, others lie between them.
_KEPT = 16
_KEPT_UNSURE = 32


References = list["PendingFrame | None"]
"""Frames that vectors may point to; None for one that is not there."""


@dataclass(eq=False)
class PendingFrame:
    """A frame on its way through.

    Attributes:
        decoded: the frame.
        number: its place in presentation order, hidden frames counted.
        index: its place among those that are shown; of a hidden one, that of the next.
        kind: "I", "P" or "B".
        keyframe, distance, motion: the result.
        previous: field to the frame shown before, where it was asked for and the codec predicts from that.
        link: of a keyframe that is predicted from others, the field to the keyframe before.
        references: number of frames its vectors may point to.
        references_kept: these frames, list 0 and list 1, where they were asked for; whoever asked lets go of them.
        holes: share of its cells without a vector.
        chains: from this frame to keyframes, by their number, and whether each link of the chain is certain.
        done: worked on.
        dropped: not to be handed out.
        luma: its picture, small, where it was asked for.
        held: not to be handed out yet: whether it starts a group depends on the anchor that follows.
    """

    decoded: Decoded
    number: int
    index: int
    kind: str
    keyframe: bool = False
    distance: int = 0
    motion: BlockField | None = None
    link: BlockField | None = None
    previous: BlockField | None = None
    references: int = 0
    references_kept: tuple[References, References] | None = field(default=None, repr=False)
    holes: float = 1.0
    chains: dict[int, tuple[Chain, bool]] = field(default_factory=dict)
    done: bool = False
    dropped: bool = False
    held: bool = False
    luma: np.ndarray | None = None


class Fields:
    """Gives each frame its field, or makes it the keyframe of a new group; keeps what later frames may refer to.

    Args:
        block: pixels a cell of the fields handed out.
        gop: longest group.
        starts: asked whether a frame that is predicted from the past alone starts a group before that.
        previous: whether to find the fields to the frame before, too.

    Attributes:
        keeps_references: whether frames keep what they are predicted from; may be set until the first frame.
        dense: whether fields are made; else frames are grouped alone. As that.
    """

    def __init__(self, block: int, gop: int, starts: Starts | None = None, *, previous: bool = False) -> None:
        self._block = block
        self._gop = gop
        self._starts = starts
        self._previous = previous
        self.keeps_references = False
        self.dense = True
        self._pictures: OrderedDict[int, PendingFrame] = OrderedDict()
        self._anchors: list[PendingFrame] = []
        self._keys: dict[int, PendingFrame] = {}  # keyframes by number, the last few
        self._groups = 0
        self._step = 1  # frames from anchor to anchor, the most since the last I frame
        self._held: PendingFrame | None = None
        self._size: tuple[int, int] | None = None

    def add(self, item: PendingFrame, *, transcoded: bool) -> None:
        """Work on the next frame in decoding order.

        Args:
            transcoded: its vectors come from a stream made for them.

        Raises:
            Problem: it is interlaced, or of another size than the frames that it is predicted from.
            ValueError: a vector that no decoder writes.
        """
        frame, coded = item.decoded.frame, item.decoded.coded
        if not transcoded and (coded.interlaced or frame.interlaced_frame):
            raise Problem("interlaced", item.index)
        size = (frame.width, frame.height)
        if self._size is not None and size != self._size:
            if item.kind != "I":
                raise Problem("size", item.index, old=self._size, new=size)
            self._pictures.clear()
            self._anchors.clear()
            self._keys.clear()
        self._size = size
        if item.kind != "B":
            self.release(item)
            if item.kind == "I":
                self._step = 1  # what comes after an I frame depends on nothing before: reading may begin there
            elif self._anchors:
                self._step = max(self._step, item.number - self._anchors[-1].number)
        key = max((number for number in self._keys if number <= item.number), default=None)
        if item.kind == "I":
            self._start_group(item)
        elif key is not None and not self._keys[key].decoded.hidden:
            self._field(item, key, transcoded)
        elif not item.decoded.hidden:
            self._start_group(item)  # the first that is shown of a group whose start is not
        self._remember(item)

    def release(self, anchor: PendingFrame | None) -> None:
        """Decide on the anchor that is held, now that the next one is known: the B frames between need a near one."""
        held, self._held = self._held, None
        if held is None:
            return
        held.held = False
        if anchor is not None and anchor.index - (held.index - held.distance) > self._gop:
            self._start_group(held)

    def _start_group(self, item: PendingFrame) -> None:
        item.keyframe, item.distance, item.link, item.motion = True, 0, item.motion, None
        item.chains[item.number] = (True, True)
        self._groups += 1
        self._keys[item.number] = item
        while len(self._keys) > 3:
            del self._keys[min(self._keys)]

    def _field(self, item: PendingFrame, key: int, transcoded: bool) -> None:
        past, future = self._references(item)
        others = [other for other in (*past, *future) if other is not None]
        if any(o.decoded.hidden for o in others) and not any(key in o.chains for o in others):
            if not item.decoded.hidden:
                self._start_group(item)  # predicted only from what is not shown
            return
        item.references = len(past) + len(future)
        records = item.decoded.records
        if not self.dense:
            item.chains[key] = ((_NO_FIELD, _NO_FIELD), False)
            self._group(item, key, _NO_FIELD, _NO_FIELD)
            return
        if item.kind == "B" and (records is None or not item.decoded.coded.b_vectors):
            between = _between(item, [*past, *future], key)
        else:
            between = None
        if between is None and self.keeps_references:
            item.references_kept = past, future
        if between is None and self._previous:
            item.previous = self._one_back(item, past, future, transcoded)
        vectors, valid, exact = between or self._step_field(item, past, future, key)
        item.chains[key] = ((vectors, valid), exact)
        origin: Origin = "transcoded" if transcoded else "exact" if exact else "inferred"
        item.motion = handed_out(vectors, valid, self._block, origin)
        self._group(item, key, vectors, valid)

    def _group(self, item: PendingFrame, key: int, vectors: np.ndarray, valid: np.ndarray) -> None:
        """Whether the frame starts a group; how far it is from its start."""
        item.distance = item.index - self._keys[key].index
        # A B frame beyond the longest group stands alone: the anchor that follows starts a group, too.
        if item.kind == "B":
            if item.distance >= self._gop:
                item.keyframe, item.distance, item.link, item.motion = True, 0, item.motion, None
                self._groups += 1
        elif item.distance >= self._gop or self._asked(item, key, vectors, valid):
            self._start_group(item)
        elif self._step > 1 and item.distance + self._step > self._gop:
            item.held, self._held = True, item

    def _asked(self, item: PendingFrame, key: int, vectors: np.ndarray, valid: np.ndarray) -> bool:
        """Whether the reader's user wants a group to start here."""
        if self._starts is None:
            return False
        last = self._keys[key]
        if last.luma is None:
            last.luma = small_luma(last.decoded.frame)
        item.luma = small_luma(item.decoded.frame)
        seen = Candidate(item.index, item.distance, self._groups, item.kind, item.luma, last.luma, vectors, valid)
        return bool(self._starts(seen))

    def _references(self, item: PendingFrame) -> tuple[References, References]:
        """The frames that the vectors of `item` may point to: list 0, list 1; None for one that is not there."""
        coded = item.decoded.coded
        if coded.past is None or coded.future is None:
            last: References = [*self._anchors[-2:]]
            return (last[:1], last[1:]) if item.kind == "B" and len(last) == 2 else (last[-1:], [])
        if not coded.past and not coded.future:  # headers that could not be read
            latest = list(self._pictures.values())[:-4:-1]
            return [other for other in latest if other.number < item.number], []
        past, future = ([self._pictures.get(index) for index in indices] for indices in (coded.past, coded.future))
        if coded.told:  # by place: keep the places
            return past, future
        return [other for other in past if other], [other for other in future if other]

    def _step_field(
        self, item: PendingFrame, past: References, future: References, key: int
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        """Vectors and mask at 4x4 cells, and whether every link of the chain is certain."""
        ways = {other.number: other.chains[key] for other in (*past, *future) if other and key in other.chains}
        vectors, valid, holes = step(item, past, future, {at: way for at, (way, _) in ways.items()}, self._keys[key])
        frame = item.decoded.frame
        item.holes = holes / (-(-frame.width // 8) * -(-frame.height // 8))
        exact = sure(item, past, future) and bool(ways) and all(certain for _, certain in ways.values())
        return vectors, valid, exact

    def _one_back(
        self,
        item: PendingFrame,
        past: References,
        future: References,
        transcoded: bool,
    ) -> BlockField | None:
        """The field to the frame shown before, None where nothing is predicted from it; other vectors are holes."""
        before = next((o for o in (*past, *future) if o is not None and o.number == item.number - 1), None)
        if before is None or before.decoded.hidden:
            return None
        vectors, valid, _ = step(item, past, future, {before.number: True}, before)
        origin: Origin = "transcoded" if transcoded else "exact" if sure(item, past, future) else "inferred"
        return handed_out(vectors, valid, self._block, origin)

    def _remember(self, item: PendingFrame) -> None:
        """Keep what later frames may refer to."""
        if item.kind != "B":
            self._anchors = [*self._anchors[-1:], item]
        if item.decoded.coded.reference:
            self._pictures[item.decoded.coded.index] = item
            while len(self._pictures) > (_KEPT_UNSURE if item.decoded.coded.told else _KEPT):
                self._pictures.popitem(last=False)


def handed_out(vectors: np.ndarray, valid: np.ndarray, block: int, origin: Origin) -> BlockField:
    """Vectors and mask at 4x4 cells, which later frames may be made of, as a field for users."""
    if block != CELL:
        vectors, valid = _motion.pool(vectors, valid, block // CELL)
    vectors.setflags(write=False)
    valid.setflags(write=False)
    return BlockField(vectors, valid, block, origin)


def step(
    item: PendingFrame,
    past: References,
    future: References,
    ways: dict[int, Chain],
    goal: PendingFrame,
) -> tuple[np.ndarray, np.ndarray, int]:
    """From a frame along its vectors to `goal`: vectors and mask at 4x4 cells, and the number of holes at 8x8.

    `ways`: from its references on, by their number.
    """
    frame, choice = item.decoded.frame, len(past) + len(future) > 1  # pixels decide

    def given(other: PendingFrame | None) -> tuple[Chain, Any, int]:
        if other is None:
            return None, None, -1
        luma = _luma(other.decoded.frame) if choice else None
        return ways.get(other.number), luma, other.number - item.number or -1

    records = item.decoded.records
    return _motion.step(
        _NO_RECORDS if records is None else records,
        frame.width,
        frame.height,
        *item.decoded.coded.crop,
        _luma(frame) if choice else None,
        _luma(goal.decoded.frame) if choice else None,
        [given(other) for other in past],
        [given(other) for other in future],
    )


def sure(item: PendingFrame, past: References, future: References) -> bool:
    """Whether it is certain which frame each vector points to."""
    coded = item.decoded.coded
    here = [other for other in (*past, *future) if other is not None]
    complete = coded.past is None or len(past) == len(coded.past)
    return coded.told or (item.kind != "B" and complete and len(here) == 1 and not future)


def _between(
    item: PendingFrame, others: list[PendingFrame | None], key: int
) -> tuple[np.ndarray, np.ndarray, bool] | None:
    """A field for a frame without vectors, from those of the frames on its two sides; None without them."""
    there = [other for other in others if other is not None and key in other.chains]
    before = max((o for o in there if o.number < item.number), key=lambda o: o.number, default=None)
    after = min((o for o in there if o.number > item.number), key=lambda o: o.number, default=None)
    if before is None or after is None or after.chains[key][0] is True:
        return None
    later: np.ndarray = after.chains[key][0][0]
    earlier = np.zeros_like(later) if before.chains[key][0] is True else before.chains[key][0][0]
    share = (item.number - before.number) / (after.number - before.number)
    vectors = np.rint(earlier + (later.astype(np.float32) - earlier) * share).astype(np.int16)
    return vectors, np.zeros(vectors.shape[:2], np.bool_), False


_NO_RECORDS = np.empty(0, RECORD)
_NO_FIELD = np.empty(0)


def _luma(frame: av.VideoFrame) -> tuple[Any, int, int] | None:
    """The first plane as `_motion` takes it; None where it is not brightness alone."""
    sample_bytes = _luma_bytes(frame.format.name)
    if sample_bytes == 0:
        return None
    plane = frame.planes[0]
    return plane, plane.line_size, sample_bytes


@lru_cache
def _luma_bytes(name: str) -> int:
    """Bytes a sample of the first plane, 0 where samples of other components lie between."""
    pixels = av.VideoFormat(name)
    if not (pixels.is_planar or len(pixels.components) == 1):
        return 0
    return 1 if pixels.components[0].bits <= 8 else 2
