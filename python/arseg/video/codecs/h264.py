"""H.264: FFmpeg exports its vectors, and `csrc/motion/h264_*` reads in the headers which frames they may point to."""

from __future__ import annotations

from typing import Final

import av

from arseg import _motion
from arseg.video.pictures import Coded

from .base import CODECS, Codec, Headers, new_extradata


class H264Headers(Headers):
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


CODECS.register("h264", Codec("h264", "H.264", headers=H264Headers, follows_parameters=True))

ENCODER: Final = "libx264"
"""FFmpeg's encoder of all videos that are written, and of those that are transcoded for their vectors."""
