"""Exact vectors of HEVC, where the package was built with libde265 (docs/hevc.md)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import av

from ._coded import Coded, new_extradata
from ._decoding import Decoded, Decoding
from .errors import VideoError


def available() -> bool:
    """Whether this build reads HEVC."""
    return _module() is not None


def _module() -> Any:
    try:
        from arseg import _hevc  # type: ignore[attr-defined]
    except ImportError:
        return None
    return _hevc


class HevcDecoding(Decoding):
    """Frames from FFmpeg, and for each the vectors that libde265 finds in the same packet."""

    def __init__(self, source: Any, **options: Any) -> None:
        super().__init__(source, _Pushed(source.stream.codec_context.extradata), **options)

    def frames(self) -> Iterator[Decoded]:
        vectors = self._headers
        assert isinstance(vectors, _Pushed)
        waiting: list[Decoded] = []
        ended: VideoError | None = None
        try:
            for decoded in super().frames():
                waiting.append(decoded)
                while waiting and vectors.known(waiting[0].coded.index):
                    yield vectors.joined(waiting.pop(0))
        except VideoError as error:
            ended = error
        vectors.flush()
        for decoded in waiting:
            yield vectors.joined(decoded)
        if ended is not None:
            raise ended


class _Pushed:
    """libde265 beside FFmpeg's decoder, as headers that are known a little later."""

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
        """Whether the vectors of picture `index` are there, or are so late that they will not come."""
        return index in self._pictures or index < self._last - 64

    def joined(self, decoded: Decoded) -> Decoded:
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
