"""The MPEG family: FFmpeg exports the vectors; they point to the reference pictures ("anchors") next in decoding order,
one on each side."""

from __future__ import annotations

import re
from functools import partial

import av

from arseg.video.pictures import Coded

from .base import CODECS, Codec, Headers, new_extradata


class AnchorHeaders(Headers):
    """Of the MPEG family, where every packet is a picture and the decoder tells the rest.

    Args:
        sequence: finds the sequence header, in extradata and in keyframes; None: there is none.
        b_vectors: FFmpeg exports the vectors of B frames; where it does not, they are all zero.
    """

    def __init__(self, extradata: bytes | None, sequence: re.Pattern[bytes] | None = None, b_vectors: bool = False):
        self._b_vectors = b_vectors
        self._header = sequence
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

    def _find(self, data: av.Packet | bytes) -> bytes:
        """What decides over size and order in the sequence header, empty without one."""
        found = None if self._header is None else self._header.search(data)  # type: ignore[arg-type]
        return b"" if found is None else found[0]


# Width and height (13818-2, 6.2.2.1).
_MPEG12_SEQUENCE = re.compile(rb"\x00\x00\x01\xb3...", re.DOTALL)


def _register(name: str, label: str | None = None, sequence: re.Pattern[bytes] | None = None, b: bool = False) -> None:
    headers = partial(AnchorHeaders, sequence=sequence, b_vectors=b)
    CODECS.register(name, Codec(name, label or name, headers=headers, frame_threads=False, needs_successor=True))


_register("mpeg1video", "MPEG-1", _MPEG12_SEQUENCE, b=True)
_register("mpeg2video", "MPEG-2", _MPEG12_SEQUENCE, b=True)
for _name in ("h261", "h263", "h263p", "flv1", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "rv10", "rv20"):
    _register(_name)
