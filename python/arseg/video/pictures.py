"""A picture of a stream: what its headers tell before it is decoded, and what comes out of the decoder."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np


@dataclass(frozen=True)
class Coded:
    """One coded picture.

    Attributes:
        index: number of its packet, in decoding order.
        order: pictures sorted by this are in presentation order; None where the headers do not say.
        past, future: indices of the pictures in list 0 and list 1; None where the anchors are meant.
        reference: other pictures may be predicted from it.
        gap: number of reference pictures that are missing before it.
        interlaced: its vectors count in field lines.
        told: the vectors' records name the picture that each points to, by its place in `past` or `future`.
        b_vectors: the decoder tells the vectors of B frames.
        crop: pixels (left, top) cut off before the picture is delivered; vectors count from the uncut corner.
        hidden: an edit list does not show it.
        entry: decoding starts anew with it: nothing before it may be pointed to.
        afresh: starts a sequence that the decoder in use may not be fit for.
        repeated: the picture before is shown again in its place; the decoder gives none.
    """

    index: int
    order: tuple[int, int] | None = None
    past: tuple[int, ...] | None = None
    future: tuple[int, ...] | None = None
    reference: bool = True
    gap: int = 0
    interlaced: bool = False
    told: bool = False
    b_vectors: bool = True
    crop: tuple[int, int] = (0, 0)
    hidden: bool = False
    entry: bool = False
    afresh: bool = False
    repeated: bool = False


@dataclass(frozen=True)
class Decoded:
    """A decoded frame.

    Attributes:
        frame: as PyAV gives it; its pts is the packet's number, not a time.
        coded: of its headers.
        records: motion vectors, `[n]` of `RECORD`; None without any.
        pts, time_base: the container's timestamp.
        duration: how long it is shown, in units of `time_base`; 0 where the container does not say.
        damaged: parts of it did not arrive or could not be decoded, and were made up by the decoder.
        hidden: decoded because others are predicted from it; an edit list does not show it.
    """

    frame: av.VideoFrame
    coded: Coded
    records: np.ndarray | None
    pts: int | None
    time_base: Fraction
    duration: int = 0
    damaged: bool = False
    hidden: bool = False
