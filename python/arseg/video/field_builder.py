"""Frames in and out in presentation order, worked on in decoding order; what is missing between them.

A B frame needs the frame after it, so a frame waits until all that were coded before it have been worked on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from av.video.frame import PictureType

from .errors import Loss
from .fields import Fields, PendingFrame, handed_out
from .grouping import Starts
from .motion import Origin
from .one_back import by_keyframe
from .pictures import Coded, Decoded
from .problems import Problem

# No codec shows a picture later than this many after it was coded.
_PATIENCE = 64

_INTRA = (PictureType.I, PictureType.SI)
_BIDIRECTIONAL = (PictureType.B, PictureType.BI)


class FieldBuilder:
    """Takes frames in presentation order, returns them with their fields in presentation order.

    Args:
        block: pixels a cell of the fields handed out.
        gop: longest group.
        starts: asked where groups start besides (see `grouping`).
        previous: whether to find fields to the frame before, too.
        resync: drop frames after a loss up to the next I frame; else the loss is a `Problem`.
        report: called with each loss.

    Attributes:
        count: number of frames taken that are shown.
        problem: why nothing more comes, None while all is well.
        transcoded: the vectors come from a stream made for them; may be set until the first frame.
        keeps_references, dense: as those of `Fields`; may be set until the first frame.
    """

    def __init__(
        self,
        block: int,
        gop: int,
        *,
        starts: Starts | None = None,
        previous: bool = False,
        resync: bool = False,
        report: Callable[[Loss], None],
    ) -> None:
        self._block = block
        self._gop = gop
        self._starts = starts
        self._previous = previous
        self._resync = resync
        self.transcoded = False
        self.keeps_references = False
        self.dense = True
        self._report = report
        self.count = 0
        self._number = 0
        self.problem: Problem | None = None
        self.restart()

    def restart(self) -> None:
        """The next frame starts a new stream: nothing before it may be pointed to."""
        self._fields = Fields(self._block, self._gop, self._starts, previous=self._previous)
        self._keyframe: PendingFrame | None = None  # the last that was handed out
        self._expected: dict[int, Coded] = {}
        self._lost: list[Coded] = []
        self._waiting: dict[int, PendingFrame] = {}
        self._line: deque[PendingFrame] = deque()
        self._started = False
        self._entry: tuple[int, int] | None = None  # order of the picture that decoding started at
        self._gone: tuple[int, str] | None = None  # dropping from this frame on, and why
        self._missing = 0
        self._resumed = -1

    def announce(self, coded: Coded) -> None:
        """A coded picture on its way through the decoder."""
        self._expected[coded.index] = coded

    def add(self, decoded: Decoded) -> list[PendingFrame]:
        """Take the next frame; returns those that are finished."""
        self._fields.keeps_references, self._fields.dense = self.keeps_references, self.dense
        kind = PictureType(decoded.frame.pict_type)
        item = PendingFrame(
            decoded, self._number, self.count, "I" if kind in _INTRA else "B" if kind in _BIDIRECTIONAL else "P"
        )
        self._number += 1
        self.count += not decoded.hidden
        self._line.append(item)
        self._waiting[decoded.coded.index] = item
        self._expected.pop(decoded.coded.index, None)
        self._give_up_before(item)
        return self._work()

    def flush(self, *, cut: bool = False) -> list[PendingFrame]:
        """No more frames come; returns the rest.

        Args:
            cut: something else is wrong that the caller tells: pictures missing at the end are part of it.
        """
        self._lost += [other for other in self._expected.values() if not other.repeated]
        self._expected = {}
        finished = self._work()
        self._fields.release(None)
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

    def _give_up_before(self, item: PendingFrame) -> None:
        """Pictures that should have been shown before `item` will not come any more."""
        coded = item.decoded.coded
        for other in list(self._expected.values()):
            if coded.order is not None and other.order is not None:
                late = other.order < coded.order
            else:
                late = other.index < coded.index and item.kind != "B"
            if late or other.index < coded.index - _PATIENCE:
                del self._expected[other.index]
                if not other.repeated:
                    self._lost.append(other)

    def _work(self) -> list[PendingFrame]:
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
                self._fields.release(None)
                break
            item.done = True
        finished = []
        while self._line and self._line[0].done and not self._line[0].held:
            item = self._line.popleft()
            if item.dropped or item.decoded.hidden:
                item.references_kept = None
            else:
                self._link(item)
                finished.append(item)
        return finished

    def _link(self, item: PendingFrame) -> None:
        """Make a keyframe's link lead to the last one shown: B frames that are keyframes came after it was made."""
        if not item.keyframe:
            return
        before, self._keyframe = self._keyframe, item
        if item.link is None or before is None:
            return
        way = by_keyframe(item, before)
        origin: Origin = "transcoded" if self.transcoded else "inferred"
        if way is None:
            item.link = None
        elif before.number not in item.chains:
            item.link = handed_out(*way, self._block, origin)

    def _count_losses(self, item: PendingFrame) -> None:
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

    def _broken(self, item: PendingFrame, kind: str, missing: int) -> None:
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

    def _process(self, item: PendingFrame) -> None:
        coded, damaged = item.decoded.coded, item.decoded.damaged
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
        self._fields.add(item, transcoded=self.transcoded)
