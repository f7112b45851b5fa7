"""What the headers of a coded picture tell before it is decoded: above all, which frames its vectors may point to.

FFmpeg's vectors name a direction, not a frame. H.264 says more in its headers (`csrc/motion/h264_*`); the MPEG family
has one frame on each side, the reference pictures ("anchors") next in decoding order.
"""

from __future__ import annotations

import re
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
        afresh: starts a sequence that the decoder in use may not be fit for.
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


class Headers(Protocol):
    """Reads packets in decoding order."""

    def push(self, packet: av.Packet, index: int) -> Coded | None:
        """What `packet` holds; None where it holds no picture."""

    def restart(self) -> None:
        """The next packet is no continuation of the last."""


def new_extradata(packet: av.Packet) -> bytes:
    """Parameter sets that the container brings with `packet`, in place of those before; empty without any.

    Encoders that start anew send them so in FLV and RTMP, and an MP4 with several sample descriptions has them.
    """
    return bytes(packet.get_sidedata("new_extradata")) if packet.has_sidedata("new_extradata") else b""


class H264Headers:
    """Of an H.264 stream: `extradata` is the container's `avcC` box, Annex-B parameter sets, or nothing."""

    def __init__(self, extradata: bytes | None) -> None:
        self._extradata = extradata or b""
        self._headers = _motion.H264Headers(self._extradata)
        self._first: int | None = None
        self._sequences = self._later = 0
        self._unsure = False  # the parameter sets in use may be others than the encoder's

    def push(self, packet: av.Packet, index: int) -> Coded | None:
        if extradata := new_extradata(packet):
            self._extradata = extradata
            self._headers.set_extradata(extradata)
            self._unsure = bool(self._headers.extradata_error)
        picture = self._headers.push(packet)
        first = self._first is None
        if self._first is None:
            self._first = index - picture.index
        if not picture.kind:
            # Slices without parameter sets: the stream was joined in the middle of a group.
            return Coded(index) if picture.slices and not picture.started else None
        self._sequences = self._later + picture.sequence
        # Where frames are put in order, threads that decode several at once hand out vectors before they are there. How
        # a decoder works is settled before its first packet, by what FFmpeg saw of the stream until then: B frames that
        # come later it does not know of, and those at the start it may have missed.
        afresh = picture.reorders and (first or (picture.idr and picture.changed))
        if self._unsure or picture.error:  # what they say of references may be wrong
            return Coded(
                index,
                past=(),
                future=(),
                interlaced=picture.interlaced,
                crop=picture.crop[:2],
                afresh=afresh,
            )
        return Coded(
            index=index,
            order=(self._sequences, picture.poc),
            past=tuple(i + self._first for i in picture.past),
            future=tuple(i + self._first for i in picture.future),
            reference=picture.reference,
            gap=picture.gap,
            interlaced=picture.interlaced,
            crop=picture.crop[:2],
            afresh=afresh,
        )

    def restart(self) -> None:
        self._headers = _motion.H264Headers(self._extradata)
        self._first = None
        self._later = self._sequences + 1


class AnchorHeaders:
    """Of the MPEG family, where every packet is a picture and the decoder tells the rest."""

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        # The vectors that FFmpeg exports for B frames of the other codecs are all zero.
        self._b_vectors = codec in ("mpeg1video", "mpeg2video")
        self._header = _SEQUENCE_HEADERS.get(codec)
        self._sequence = self._find(extradata or b"")

    def push(self, packet: av.Packet, index: int) -> Coded | None:
        if not packet.size:
            return None
        before = self._sequence
        if extradata := new_extradata(packet):
            self._sequence = self._find(extradata) or before
        if packet.is_keyframe:
            self._sequence = self._find(packet) or self._sequence
        # FFmpeg's decoders lose the last picture where the size changes, and MPEG-4's takes no new extradata.
        return Coded(index, b_vectors=self._b_vectors, afresh=bool(before) and self._sequence != before)

    def restart(self) -> None:
        pass

    def _find(self, data: av.Packet | bytes) -> bytes:
        """What decides over size and order in the sequence header, empty without one."""
        found = None if self._header is None else self._header.search(data)  # type: ignore[arg-type]
        return b"" if found is None else found[0]


# MPEG-1 and 2: width and height (13818-2, 6.2.2.1). MPEG-4: the video object layer (14496-2, 6.2.3).
_MPEG12_SEQUENCE = re.compile(rb"\x00\x00\x01\xb3...", re.DOTALL)
_SEQUENCE_HEADERS = {
    "mpeg1video": _MPEG12_SEQUENCE,
    "mpeg2video": _MPEG12_SEQUENCE,
    "mpeg4": re.compile(rb"\x00\x00\x01[\x20-\x2f].*?(?=\x00\x00\x01|\Z)", re.DOTALL),
}


def headers_of(codec: str, extradata: bytes | None) -> Headers | None:
    """For a codec by FFmpeg's name; None for those of which nothing is read."""
    if codec == "h264":
        return H264Headers(extradata)
    return AnchorHeaders(codec, extradata) if codec in ANCHOR_CODECS else None
