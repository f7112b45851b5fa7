"""Motion vectors by themselves: a video's records and block fields; pictures are made where they are asked for."""

from __future__ import annotations

import os
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from arseg.errors import InputError

from .colours import rgb
from .fields import PendingFrame
from .given import VideoSource
from .motion import RECORD, BlockField
from .one_back import one_back
from .reader import VideoReader

__all__ = ["WHAT", "FrameVectors", "What", "read_vectors", "vectors_of"]

What = Literal["records", "keyframe", "previous"]
WHAT: tuple[What, ...] = get_args(What)
"""The codec's records, the field to the keyframe, the field to the frame before."""


@dataclass(frozen=True)
class FrameVectors:
    """The vectors of one frame; what was not asked for is None.

    Attributes:
        index, frame_type, keyframe, distance, pts, time: as those of `VideoFrame`.
        width, height: of the frame in pixels, as coded.
        records: the codec's own, `[n]` of `arseg.video.motion.RECORD`; n = 0 for an I frame.
        to_keyframe: field to the keyframe of the group; None for the keyframe.
        to_previous: field to the frame shown before; None where no vectors lead there, as for an I frame. "exact"
            where that frame is the only reference; else vectors to others go on along theirs, and it is "inferred".
        image: uint8 `[H, W, 3]`, RGB.
    """

    index: int
    frame_type: str
    keyframe: bool
    distance: int
    pts: int | None
    time: float | None
    width: int
    height: int
    records: np.ndarray | None = field(default=None, repr=False)
    to_keyframe: BlockField | None = field(default=None, repr=False)
    to_previous: BlockField | None = field(default=None, repr=False)
    image: np.ndarray | None = field(default=None, repr=False)


def read_vectors(
    video: VideoSource, what: Collection[What] = WHAT, *, images: bool = False, **options: Any
) -> Iterator[FrameVectors]:
    """A video's vectors, frame by frame in presentation order.

    Args:
        video: what `VideoReader` takes.
        what: some of `WHAT`.
        images: whether to give the pictures, too.
        options: of `VideoReader`, such as `block` and `gop`.

    Raises:
        InputError: another `what`; and what `VideoReader` raises.
    """
    _check(what)
    with VideoReader(video, **options) as reader:
        yield from vectors_of(reader, what, images=images)


def vectors_of(
    reader: VideoReader, what: Collection[What] = WHAT, *, images: bool = False
) -> Generator[FrameVectors, None, None]:
    """`read_vectors` of an open reader."""
    _check(what)
    before: PendingFrame | None = None
    previous = "previous" in what
    for item in reader.pending(references=previous, dense=previous or "keyframe" in what):
        to_previous = None
        if before is not None and before.index == item.index - 1 and previous:
            to_previous = one_back(item, before, reader.block, transcoded=reader.transcoding is not None)
        if before is not None:
            before.references_kept = None  # else every frame would be kept
        decoded = item.decoded
        records = _NONE if decoded.records is None else decoded.records
        yield FrameVectors(
            index=item.index,
            frame_type=item.kind,
            keyframe=item.keyframe,
            distance=item.distance,
            pts=decoded.pts,
            time=None if decoded.pts is None else float(decoded.pts * decoded.time_base),
            width=decoded.frame.width,
            height=decoded.frame.height,
            records=records if "records" in what else None,
            to_keyframe=item.motion if "keyframe" in what else None,
            to_previous=to_previous,
            image=rgb(decoded.frame) if images else None,
        )
        before = item


def _check(what: Collection[What]) -> None:
    wrong = [name for name in what if name not in WHAT]
    if wrong or not what or isinstance(what, str | os.PathLike):
        raise InputError(f"what: expected some of {', '.join(WHAT)}, got {what!r}")


_NONE = np.empty(0, RECORD)
