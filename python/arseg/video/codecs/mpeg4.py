"""MPEG-4 part 2 (14496-2): what of its headers says that a picture is not coded, for the one before is shown again."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import av

from arseg.video.pictures import Coded

from .base import CODECS, Codec
from .mpeg import AnchorHeaders

_LAYER = re.compile(rb"\x00\x00\x01[\x20-\x2f].*?(?=\x00\x00\x01|\Z)", re.DOTALL)
"""The video object layer (6.2.3)."""

_PICTURE = b"\x00\x00\x01\xb6"
_VBV_BITS = 79


class Mpeg4Headers(AnchorHeaders):
    """Whose encoders leave a picture out that would repeat the last, with a header in its place.

    DivX has such a header, too, after a packet of two pictures: the second of them comes with it.
    """

    _owed = 0  # pictures that came in one packet with another

    def restart(self) -> None:
        self._owed = 0

    def push(self, packet: av.Packet, index: int) -> Coded | None:
        coded = super().push(packet, index)
        if coded is None or len(self._sequence) < 6:
            return coded
        data = bytes(packet)
        place = data.find(_PICTURE)
        if place < 0:
            return coded
        if _is_coded(_Bits(data[place + len(_PICTURE) :]), time_bits(self._sequence)):
            self._owed += data.count(_PICTURE) - 1
            return coded
        if self._owed:
            self._owed -= 1
            return replace(coded, reference=False)
        return replace(coded, reference=False, repeated=True)


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def take(self, count: int) -> int:
        """The next bits as a number; past the end they are 1."""
        found = 0
        for _ in range(count):
            byte, bit = divmod(self._place, 8)
            found = found << 1 | (self._data[byte] >> (7 - bit) & 1 if byte < len(self._data) else 1)
            self._place += 1
        return found


def time_bits(layer: bytes) -> int:
    """Of a picture's time within its second, by the header of the video object layer (6.2.3)."""
    bits = _Bits(layer[4:])
    bits.take(9)
    version = 1
    if bits.take(1):
        version = bits.take(4)
        bits.take(3)
    if bits.take(4) == 15:
        bits.take(16)
    if bits.take(1):
        bits.take(3)
        if bits.take(1):
            bits.take(_VBV_BITS)
    if bits.take(2) == 3 and version != 1:
        bits.take(4)
    bits.take(1)
    return max(1, (bits.take(16) - 1).bit_length())


def _is_coded(picture: _Bits, time_bits: int) -> bool:
    """`vop_coded` (6.2.5)."""
    picture.take(2)
    for _ in range(64):  # whole seconds, a bit each
        if not picture.take(1):
            break
    picture.take(1 + time_bits + 1)
    return bool(picture.take(1))


CODECS.register(
    "mpeg4",
    Codec(
        "mpeg4",
        "MPEG-4 part 2",
        headers=partial(Mpeg4Headers, sequence=_LAYER),
        frame_threads=False,
        needs_successor=True,
    ),
)
