"""HEVC: exact vectors where the package was built with libde265 (docs/hevc.md), which FFmpeg does not export."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import av

from arseg.video.pictures import Coded, Decoded

from .base import CODECS, Codec, Headers, new_extradata

# No picture is shown later than this many after it was coded: its vectors will not come any more.
_LATEST = 64


def available() -> bool:
    """Whether this build reads HEVC."""
    return _module() is not None


def _module() -> Any:
    try:
        from arseg import _hevc  # type: ignore[attr-defined]
    except ImportError:
        return None
    return _hevc


class HevcVectors(Headers):
    """libde265 beside FFmpeg's decoder: vectors and references that are known a little later than the headers."""

    def __init__(self, extradata: bytes | None) -> None:
        self._extradata = extradata or b""
        self._vectors = _module().HevcVectors(self._extradata)
        self._pictures: dict[int, Any] = {}
        self._last = -1
        self._unsure = False  # the parameter sets in use may be others than the encoder's

    def push(self, packet: av.Packet, index: int) -> Coded:
        if extradata := new_extradata(packet):
            try:
                self._vectors.set_extradata(extradata)
                self._extradata, self._unsure = extradata, False
            except ValueError:
                self._unsure = True
        # A damaged packet has no vectors; whether it has a picture is for FFmpeg to say.
        if not self._unsure:
            with contextlib.suppress(ValueError):
                self._vectors.push(packet, index)
        self._last = index
        self._take()
        return Coded(index)

    def flush(self) -> None:
        with contextlib.suppress(ValueError):
            self._vectors.flush()
        self._take()

    def restart(self) -> None:
        self.flush()
        self._vectors = _module().HevcVectors(self._extradata)

    def known(self, index: int) -> bool:
        return index in self._pictures or index < self._last - _LATEST

    def completed(self, decoded: Decoded) -> Decoded:
        picture = self._pictures.pop(decoded.coded.index, None)
        if picture is None:
            return replace(decoded, coded=replace(decoded.coded, past=(), future=()))
        coded = replace(
            decoded.coded,
            past=tuple(picture.past),
            future=tuple(picture.future),
            crop=picture.crop[:2],
            told=True,
        )
        return replace(decoded, coded=coded, records=picture.records)

    def _take(self) -> None:
        for picture in self._vectors.pull():
            self._pictures[picture.index] = picture


CODECS.register("hevc", Codec("hevc", "HEVC (H.265)", library=HevcVectors, available=available))
