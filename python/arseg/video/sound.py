"""A source's sound, copied packet by packet beside new pictures."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer

from arseg.files import StrPath

from .errors import NotAVideoError
from .given import GivenFile
from .joins import LONGEST
from .names import ffmpeg_name, shown
from .source import TIMEOUT

__all__ = ["Sound"]


JOIN = Fraction(1, 2)
"""Seconds that a packet lies before the last one, from which on timestamps started again; less is damage."""

_IN_TRANSPORT = frozenset({"aac", "mp2", "mp3", "ac3", "eac3", "dts", "opus"})  # FFmpeg does not tell


def _held(output: OutputContainer) -> Set[str]:
    """Codecs that a container can hold, by FFmpeg's names."""
    return _IN_TRANSPORT if output.format.name == "mpegts" else output.supported_codecs


class Sound:
    """Copies the audio streams of `path` into another file, in time with its pictures.

    The source is opened a second time, and read no further than the pictures are. Damaged sound ends early.

    Args:
        path: a file, URL or data that can be read again.
        timeout: seconds without data after which a URL fails; None: wait for ever.

    Attributes:
        streams: how many there are.
        remark: a sentence where sound was left out, else None.
    """

    def __init__(self, path: StrPath, timeout: float | None = TIMEOUT) -> None:
        self.remark: str | None = None
        self._name = shown(path)
        self._targets: dict[int, AudioStream] = {}
        self._last: dict[int, int] = {}
        self._ends: dict[int, tuple[int, int]] = {}  # of the last packet as it came: its time and its end
        self._moved: dict[int, int] = {}
        self._origin = Fraction(0)
        self._packets: Iterator[av.Packet] = iter(())
        self._held: av.Packet | None = None
        try:
            # What bytes and open files are called names nothing: another file may have the name.
            data: Any = path.opened() if isinstance(path, GivenFile) else ffmpeg_name(path)
            self._source = av.open(data, timeout=timeout)
        except (av.error.FFmpegError, OSError, UnicodeError):
            raise NotAVideoError(f"{self._name}: cannot be opened a second time, for its sound", path=path) from None
        self.streams = len(self._source.streams.audio)

    @property
    def lacks_headers(self) -> bool:
        """Whether FFmpeg has to make the headers of a stream while it writes, as for AAC out of a transport stream."""
        contexts = [stream.codec_context for stream in self._source.streams.audio]
        return any(context is not None and context.name == "aac" and not context.extradata for context in contexts)

    def add_to(self, output: OutputContainer, origin: Fraction) -> None:
        """Add the streams that the container can hold, before its first packet.

        Args:
            origin: the time in the source, in seconds, that is 0 in the output.
        """
        self._origin = origin
        left_out = []
        for stream in self._source.streams.audio:
            codec = stream.codec_context
            try:
                if codec is None or codec.codec.canonical_name not in _held(output):
                    raise ValueError
                self._targets[stream.index] = output.add_stream_from_template(stream)
            except (ValueError, av.error.FFmpegError):
                left_out.append("an unknown codec" if codec is None else codec.codec.canonical_name)
        if left_out:
            names = ", ".join(sorted(set(left_out)))
            self.remark = f"{self._name}: its sound ({names}) is left out, which {output.format.name} cannot hold"
        if self._targets:
            streams = [stream for stream in self._source.streams.audio if stream.index in self._targets]
            self._packets = filter(self._follows, self._source.demux(streams))
        self._output = output

    def copy(self, until: Fraction) -> None:
        """Mux what begins before `until`, seconds in the source."""
        if not self._targets:
            return
        held, self._held = self._held, None
        with suppress(av.error.FFmpegError, OSError):  # of the source; the output's own are told by its pictures
            for packet in chain([held] if held is not None else [], self._packets):
                assert packet.pts is not None and packet.time_base is not None  # `_follows` asked
                if packet.pts * packet.time_base >= until:
                    self._held = packet
                    return
                self._mux(packet)

    def close(self) -> None:
        self._source.close()

    def _follows(self, packet: av.Packet) -> bool:
        """Whether it has a time; and puts it behind those before it where times start again or jump, as pictures are.

        Where sound and pictures end apart before a join, they are so much apart after it.
        """
        if packet.pts is None or packet.dts is None or packet.time_base is None:
            return False
        number = packet.stream_index
        moved = self._moved.get(number, 0)
        last, end = self._ends.get(number, (packet.dts + moved, packet.dts + moved))
        back, ahead = last - (packet.dts + moved), packet.dts + moved - end
        if back * packet.time_base > JOIN or ahead * packet.time_base > LONGEST:
            moved = self._moved[number] = end - packet.dts
        packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
        self._ends[number] = packet.dts, packet.dts + (packet.duration or 0)
        return True

    def _mux(self, packet: av.Packet) -> None:
        assert packet.pts is not None and packet.dts is not None and packet.time_base is not None
        number = packet.stream_index
        shift = round(self._origin / packet.time_base)
        pts, dts = packet.pts - shift, packet.dts - shift
        if pts < 0 or dts <= self._last.get(number, -1):
            return  # before the first picture, or out of order, which no container takes
        self._last[number] = dts
        packet.pts, packet.dts = pts, dts
        packet.stream = self._targets[number]
        self._output.mux(packet)
