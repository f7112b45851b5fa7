"""Fields to the keyframe, frame by frame.

Frames come in presentation order, but a B frame needs the frame after it: they are worked on in decoding order and
handed out in presentation order.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType

from arseg import _motion

from ._pictures import Coded, Decoded
from ._problems import Problem
from .errors import Loss
from .motion import CELL, RECORD, BlockField, Origin

# A decoded picture buffer holds 16 frames at most (H.264, A.3.1). Where headers do not say which pictures are
# references, others lie between them.
_KEPT = 16
_KEPT_UNSURE = 32

# No codec shows a picture later than this many after it was coded.
_PATIENCE = 64

_INTRA = (PictureType.I, PictureType.SI)
_BIDIRECTIONAL = (PictureType.B, PictureType.BI)

# A way from a frame to a keyframe: True for the keyframe itself, or vectors and mask at 4x4 cells.
Way = Any


@dataclass(eq=False)
class Item:
    """A frame on its way through.

    Attributes:
        decoded: the frame.
        number: its place in presentation order, hidden frames counted.
        index: its place among those that are shown; of a hidden one, that of the next.
        kind: "I", "P" or "B".
        keyframe, distance, motion: the result.
        references: number of frames its vectors may point to.
        holes: share of its cells without a vector.
        ways: from this frame to keyframes, by their number, and whether each link of the way is certain.
        done: worked on.
        dropped: not to be handed out.
        held: not to be handed out yet: whether it starts a group depends on the anchor that follows.
    """

    decoded: Decoded
    number: int
    index: int
    kind: str
    keyframe: bool = False
    distance: int = 0
    motion: BlockField | None = None
    references: int = 0
    holes: float = 1.0
    ways: dict[int, tuple[Way, bool]] = field(default_factory=dict)
    done: bool = False
    dropped: bool = False
    held: bool = False


class FieldBuilder:
    """Takes frames in presentation order, returns them with their fields in presentation order.

    Args:
        block: pixels a cell of the fields handed out.
        gop: longest group.
        resync: drop frames after a loss up to the next I frame; else the loss is a `Problem`.
        report: called with each loss.

    Attributes:
        count: number of frames taken that are shown.
        problem: why nothing more comes, None while all is well.
        transcoded: the vectors come from a stream made for them; may be set until the first frame.
    """

    def __init__(
        self,
        block: int,
        gop: int,
        *,
        resync: bool = False,
        report: Callable[[Loss], None],
    ) -> None:
        self._block = block
        self._gop = gop
        self._resync = resync
        self.transcoded = False
        self._report = report
        self.count = 0
        self._number = 0
        self.problem: Problem | None = None
        self.restart()

    def restart(self) -> None:
        """The next frame starts a new stream: nothing before it may be pointed to."""
        self._expected: dict[int, Coded] = {}
        self._lost: list[Coded] = []
        self._waiting: dict[int, Item] = {}
        self._line: deque[Item] = deque()
        self._pictures: OrderedDict[int, Item] = OrderedDict()
        self._anchors: list[Item] = []
        self._keys: dict[int, Item] = {}  # keyframes by number, the last few
        self._step = 1  # frames from anchor to anchor, the most so far
        self._held: Item | None = None
        self._size: tuple[int, int] | None = None
        self._started = False
        self._entry: tuple[int, int] | None = None  # order of the picture that decoding started at
        self._gone: tuple[int, str] | None = None  # dropping from this frame on, and why
        self._missing = 0
        self._resumed = -1

    def announce(self, coded: Coded) -> None:
        """A coded picture on its way through the decoder."""
        self._expected[coded.index] = coded

    def add(self, decoded: Decoded) -> list[Item]:
        """Take the next frame; returns those that are finished."""
        kind = PictureType(decoded.frame.pict_type)
        item = Item(
            decoded, self._number, self.count, "I" if kind in _INTRA else "B" if kind in _BIDIRECTIONAL else "P"
        )
        self._number += 1
        self.count += not decoded.hidden
        self._line.append(item)
        self._waiting[decoded.coded.index] = item
        self._expected.pop(decoded.coded.index, None)
        self._give_up_before(item)
        return self._work()

    def flush(self, *, cut: bool = False) -> list[Item]:
        """No more frames come; returns the rest.

        Args:
            cut: something else is wrong that the caller tells: pictures missing at the end are part of it.
        """
        self._lost += self._expected.values()
        self._expected = {}
        finished = self._work()
        self._release(None)
        finished += self._work()
        if self._gone is not None:
            self._missing += len(self._lost)
            self._close_loss()
        elif self._lost and self._started and self.problem is None and not cut:
            missing = sum(other.reference and not self._leads(other) for other in self._lost)
            if missing and not self._resync:
                self.problem = Problem("end", self.count, missing=missing)
            else:
                self._report(Loss(self.count, len(self._lost), "not decodable"))
        self._lost = []
        return finished

    def _give_up_before(self, item: Item) -> None:
        """Pictures that should have been shown before `item` will not come any more."""
        coded = item.decoded.coded
        for other in list(self._expected.values()):
            if coded.order is not None and other.order is not None:
                late = other.order < coded.order
            else:
                late = other.index < coded.index and item.kind != "B"
            if late or other.index < coded.index - _PATIENCE:
                self._lost.append(self._expected.pop(other.index))

    def _work(self) -> list[Item]:
        """Work on the frames whose turn has come in decoding order."""
        while self._waiting and self.problem is None:
            index = min(self._waiting)
            if self._expected and next(iter(self._expected)) < index:
                break
            item = self._waiting.pop(index)
            try:
                self._count_losses(item)
                self._process(item)
            except Problem as problem:
                self.problem = problem
                self._release(None)
                break
            item.done = True
        finished = []
        while self._line and self._line[0].done and not self._line[0].held:
            item = self._line.popleft()
            if not (item.dropped or item.decoded.hidden):
                finished.append(item)
        return finished

    def _count_losses(self, item: Item) -> None:
        """What is missing before `item` in decoding order."""
        coded = item.decoded.coded
        lost = [other for other in self._lost if other.index < coded.index]
        self._lost = [other for other in self._lost if other.index >= coded.index]
        entry = coded if not self._started else next((other for other in (*lost, coded) if other.entry), None)
        if entry is not None:
            self._entry = entry.order
            # What is not shown may be there for the decoder to recover by (gradual refresh): it gives no frames then.
            lost = [other for other in lost if not other.hidden]
        if not self._started:
            self._started = True
            if lost:
                self._broken(item, "start", len(lost))
            return
        gap = 0 if entry is not None else coded.gap
        missing = gap + sum(other.reference and not self._leads(other) for other in lost)
        if missing and self._gone is None and item.kind != "I":
            self._broken(item, "gap", missing)
        elif lost:
            self._report(Loss(item.index, len(lost), "not decodable"))

    def _leads(self, coded: Coded) -> bool:
        """Shown before the picture that decoding started at: nothing shown after that one is predicted from it."""
        return self._entry is not None and coded.order is not None and coded.order < self._entry

    def _broken(self, item: Item, kind: str, missing: int) -> None:
        if not self._resync:
            raise Problem(kind, item.index, missing=missing)
        if item.kind == "I" or kind == "start":  # decoding starts here, nothing to drop
            self._report(Loss(item.index, missing, "before the first keyframe" if kind == "start" else "missing"))
        else:
            self._gone = (item.index, "after missing reference frames")
            self._missing = missing

    def _close_loss(self) -> None:
        assert self._gone is not None
        self._report(Loss(self._gone[0], self._missing, self._gone[1]))
        self._gone = None
        self._missing = 0

    def _process(self, item: Item) -> None:
        frame, coded = item.decoded.frame, item.decoded.coded
        damaged = item.decoded.damaged
        if damaged and self._gone is None:
            if not self._resync:
                raise Problem("damaged", item.index)
            if item.kind == "B" and not (coded.reference and coded.past is not None):  # nothing is predicted from it
                item.dropped = True
                self._report(Loss(item.index, 1, "damaged"))
                return
            self._gone = (item.index, "damaged, or predicted from what is")
        if self._gone is not None:
            if item.kind != "I" or damaged:
                self._missing += not item.decoded.hidden
                self._gone = (min(item.index, self._gone[0]), self._gone[1])
                item.dropped = True
                return
            self._close_loss()
            self._resumed = item.number
        elif item.kind == "B" and item.number < self._resumed:
            item.dropped = True  # shown before the keyframe that reading resumed at, predicted from what was lost
            self._report(Loss(item.index, 1, "after missing reference frames"))
            return
        if not self.transcoded and (coded.interlaced or frame.interlaced_frame):
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
            self._release(item)
            if self._anchors:
                self._step = max(self._step, item.number - self._anchors[-1].number)
        key = max((number for number in self._keys if number <= item.number), default=None)
        if item.kind == "I":
            self._start_group(item)
        elif key is not None and not self._keys[key].decoded.hidden:
            self._field(item, key)
        elif not item.decoded.hidden:
            self._start_group(item)  # the first that is shown of a group whose start is not
        self._remember(item)

    def _start_group(self, item: Item) -> None:
        item.keyframe, item.distance, item.motion = True, 0, None
        item.ways[item.number] = (True, True)
        self._keys[item.number] = item
        while len(self._keys) > 3:
            del self._keys[min(self._keys)]

    def _release(self, anchor: Item | None) -> None:
        """Decide on the anchor that is held, now that the next one is known: the B frames between need a near one."""
        held, self._held = self._held, None
        if held is None:
            return
        held.held = False
        if anchor is not None and anchor.index - (held.index - held.distance) > self._gop:
            self._start_group(held)

    def _field(self, item: Item, key: int) -> None:
        past, future = self._references(item)
        others = [other for other in (*past, *future) if other is not None]
        if any(o.decoded.hidden for o in others) and not any(key in o.ways for o in others):
            if not item.decoded.hidden:
                self._start_group(item)  # predicted only from what is not shown
            return
        records = item.decoded.records
        if item.kind == "B" and (records is None or not item.decoded.coded.b_vectors):
            between = _between(item, [*past, *future], key)
        else:
            between = None
        vectors, valid, exact = between or self._step_field(item, past, future, key)
        item.ways[key] = ((vectors, valid), exact)
        item.references = len(past) + len(future)
        item.distance = item.index - self._keys[key].index
        # A B frame beyond the longest group stands alone: the anchor that follows starts a group, too.
        if item.kind == "B":
            item.keyframe = item.distance >= self._gop
        elif item.distance >= self._gop:
            self._start_group(item)
        elif self._step > 1 and item.distance + self._step > self._gop:
            item.held, self._held = True, item
        if item.keyframe:
            item.distance, item.motion = 0, None
            return
        origin: Origin = "transcoded" if self.transcoded else "exact" if exact else "inferred"
        if self._block != CELL:
            vectors, valid = _motion.pool(vectors, valid, self._block // CELL)
        # The arrays handed out at block 4 are read for the frames after this one.
        vectors.setflags(write=False)
        valid.setflags(write=False)
        item.motion = BlockField(vectors, valid, self._block, origin)

    def _references(self, item: Item) -> tuple[list[Item | None], list[Item | None]]:
        """The frames that the vectors of `item` may point to: list 0, list 1; None for one that is not there."""
        coded = item.decoded.coded
        if coded.past is None or coded.future is None:
            last: list[Item | None] = [*self._anchors[-2:]]
            return (last[:1], last[1:]) if item.kind == "B" and len(last) == 2 else (last[-1:], [])
        if not coded.past and not coded.future:  # headers that could not be read
            latest = list(self._pictures.values())[:-4:-1]
            return [other for other in latest if other.number < item.number], []
        past, future = ([self._pictures.get(index) for index in indices] for indices in (coded.past, coded.future))
        if coded.told:  # by place: keep the places
            return past, future
        return [other for other in past if other], [other for other in future if other]

    def _step_field(
        self, item: Item, past: list[Item | None], future: list[Item | None], key: int
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        """Vectors and mask at 4x4 cells, and whether every link of the way is certain."""
        coded, frame = item.decoded.coded, item.decoded.frame
        choice = len(past) + len(future) > 1  # pixels decide

        def given(other: Item | None) -> tuple[Way, Any, int]:
            if other is None:
                return None, None, -1
            way = other.ways.get(key)
            return (
                None if way is None else way[0],
                _luma(other.decoded.frame) if choice else None,
                other.number - item.number or -1,
            )

        records = item.decoded.records
        vectors, valid, holes = _motion.step(
            _NO_RECORDS if records is None else records,
            frame.width,
            frame.height,
            *coded.crop,
            _luma(frame) if choice else None,
            _luma(self._keys[key].decoded.frame) if choice else None,
            [given(other) for other in past],
            [given(other) for other in future],
        )
        item.holes = holes / (-(-frame.width // 8) * -(-frame.height // 8))
        here = [other for other in (*past, *future) if other is not None]
        complete = coded.past is None or len(past) == len(coded.past)
        sure = coded.told or (item.kind != "B" and complete and len(here) == 1 and not future)
        ways = [other.ways[key] for other in here if key in other.ways]
        exact = sure and bool(ways) and all(certain for _, certain in ways)
        return vectors, valid, exact

    def _remember(self, item: Item) -> None:
        """Keep what later frames may refer to."""
        if item.kind != "B":
            self._anchors = [*self._anchors[-1:], item]
        if item.decoded.coded.reference:
            self._pictures[item.decoded.coded.index] = item
            while len(self._pictures) > (_KEPT_UNSURE if item.decoded.coded.told else _KEPT):
                self._pictures.popitem(last=False)


def _between(item: Item, others: list[Item | None], key: int) -> tuple[np.ndarray, np.ndarray, bool] | None:
    """A field for a frame without vectors, from those of the frames on its two sides; None without them."""
    there = [other for other in others if other is not None and key in other.ways]
    before = max((o for o in there if o.number < item.number), key=lambda o: o.number, default=None)
    after = min((o for o in there if o.number > item.number), key=lambda o: o.number, default=None)
    if before is None or after is None or after.ways[key][0] is True:
        return None
    later: np.ndarray = after.ways[key][0][0]
    earlier = np.zeros_like(later) if before.ways[key][0] is True else before.ways[key][0][0]
    share = (item.number - before.number) / (after.number - before.number)
    vectors = np.rint(earlier + (later.astype(np.float32) - earlier) * share).astype(np.int16)
    return vectors, np.zeros(vectors.shape[:2], np.bool_), False


_NO_RECORDS = np.empty(0, RECORD)


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
