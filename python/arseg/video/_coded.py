"""What the headers of a coded picture tell before it is decoded: above all, which frames its vectors may point to.

FFmpeg's vectors name a direction, not a frame. H.264 says more in its headers (`csrc/motion/h264_*`); the MPEG family
has one frame on each side, the reference pictures ("anchors") next in decoding order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import av

from arseg import _motion

# FFmpeg's names of the codecs whose vectors it exports and whose references are their anchors.
ANCHOR_CODECS = frozenset(
    {
        "mpeg1video",
        "mpeg2video",
        "mpeg4",
        "h261",
        "h263",
        "h263p",
        "flv1",
        "msmpeg4v1",
        "msmpeg4v2",
        "msmpeg4v3",
        "wmv1",
        "wmv2",
        "rv10",
        "rv20",
    }
)


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


class Headers(Protocol):
    """Reads packets in decoding order."""

    def push(self, packet: av.Packet, index: int) -> Coded | None:
        """What `packet` holds; None where it holds no picture."""

    def restart(self) -> None:
        """The next packet is no continuation of the last."""


class H264Headers:
    """Of an H.264 stream: `extradata` is the container's `avcC` box, Annex-B parameter sets, or nothing."""

    def __init__(self, extradata: bytes | None) -> None:
        self._extradata = extradata or b""
        self._headers = _motion.H264Headers(self._extradata)
        self._first: int | None = None
        self._sequences = self._later = 0

    def push(self, packet: av.Packet, index: int) -> Coded | None:
        picture = self._headers.push(packet)
        if self._first is None:
            self._first = index - picture.index
        if not picture.kind:
            # Slices without parameter sets: the stream was joined in the middle of a group.
            return Coded(index) if picture.slices and not picture.started else None
        self._sequences = self._later + picture.sequence
        return Coded(
            index=index,
            order=(self._sequences, picture.poc),
            past=tuple(i + self._first for i in picture.past),
            future=tuple(i + self._first for i in picture.future),
            reference=picture.reference,
            gap=picture.gap,
            interlaced=picture.interlaced,
            crop=picture.crop[:2],
        )

    def restart(self) -> None:
        self._headers = _motion.H264Headers(self._extradata)
        self._first = None
        self._later = self._sequences + 1


class AnchorHeaders:
    """Of the MPEG family, where every packet is a picture and the decoder tells the rest."""

    def __init__(self, codec: str) -> None:
        # The vectors that FFmpeg exports for B frames of the other codecs are all zero.
        self._b_vectors = codec in ("mpeg1video", "mpeg2video")

    def push(self, packet: av.Packet, index: int) -> Coded | None:
        return Coded(index, b_vectors=self._b_vectors) if packet.size else None

    def restart(self) -> None:
        pass
