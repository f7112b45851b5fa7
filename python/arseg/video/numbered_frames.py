"""A video's frames as a sequence: how many there are, and each by number or time."""

from __future__ import annotations

import operator
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from typing import Any

from arseg.errors import InputError

from .connection import Connection, Connector
from .field_builder import FieldBuilder
from .fields import PendingFrame
from .metadata import VideoMetadata
from .packet_table import Survey, survey
from .seeking import FrameIndexError, LengthError, Places
from .timeline import Timeline

# Seconds that a time may lack for the frame that begins there.
_ROUNDING = 1e-6


class NumberedFrames:
    """Frames by number or time; reads the packets once, when it is first asked.

    Args:
        connector: opens the video.
        begun: its first connection.
        metadata: what it told.
        builder: makes one, for a reading of its own.
        start: a pass from the start.
        once: why that cannot be had: "is live"; None: it can.
        asks: where groups start is asked frame by frame.
        untrusted: decoding goes on after damage, and only it tells which frames come.
        name: for messages.

    Attributes:
        stream: see `VideoFrame`; one for all, since which frame it is depends on nothing but its number.
    """

    def __init__(
        self,
        connector: Connector,
        begun: Connection,
        metadata: VideoMetadata,
        *,
        builder: Callable[[], FieldBuilder],
        start: Callable[[], Iterator[PendingFrame]],
        once: str | None,
        asks: bool,
        untrusted: bool,
        name: str,
    ) -> None:
        self._connector, self._metadata = connector, metadata
        self._first_packet = begun.first.coded.index
        self._builder, self._start = builder, start
        self._once, self._asks, self._untrusted = once, asks, untrusted
        self._name = name
        self.stream = uuid.uuid4().hex

    def counted(self) -> VideoMetadata:
        """The metadata with the number of frames. `LengthError` where it cannot be had."""
        if self._metadata.counted not in ("container", "packets"):
            try:
                self._count_packets()
            except InputError as error:
                raise LengthError(str(error)) from error
        return self._metadata

    @property
    def count(self) -> int:
        """Number of frames, of the packets where they are known: a container may count what cannot be decoded."""
        self._count_packets()
        return self._metadata.frame_count or 0

    @property
    def why_from_start(self) -> str | None:
        """Why decoding begins at the start for every frame; None: it need not."""
        return self._survey.why

    @property
    def entries(self) -> list[int]:
        """Numbers of the frames at which decoding may begin; 0 alone where each needs all before it."""
        table = self._survey.table
        return [0, *(() if table is None else (entry.index for entry in table.entries))]

    @property
    def times(self) -> list[float | None]:
        """Seconds at which each frame begins; None for those that have no time."""
        table = self._survey.table
        return self._decoded_times() if table is None else table.seconds

    def index(self, place: Any) -> int:
        """The number of a frame from a number or seconds."""
        if isinstance(place, float | Fraction) or (hasattr(place, "__float__") and not hasattr(place, "__index__")):
            return self._at(float(place))
        try:
            index = operator.index(place)
        except TypeError:
            raise InputError(f"expected the number of a frame, or seconds as a float, got {place!r}") from None
        if not -self.count <= index < self.count:
            raise FrameIndexError(f"{self._name}: expected a frame from 0 to {self.count - 1}, got {index}")
        return index % self.count

    def take(self, indices: Iterable[int]) -> Iterator[PendingFrame]:
        """The frames of these numbers, which rise."""
        return self._places.take(indices)

    def items(self, place: Any) -> Iterator[PendingFrame]:
        """The frames from a number or time on."""
        return self._places.items(self.index(place))

    def _count_packets(self) -> None:
        if self._survey.table is not None:
            count = self._survey.table.count
        elif self._metadata.counted == "container":
            return
        else:
            count = self._survey.packets
        self._metadata = replace(self._metadata, frame_count=count, counted="packets")

    @cached_property
    def _survey(self) -> Survey:
        if self._once is not None:
            raise InputError(
                f"{self._name} {self._once}: its frames come one after the other; save it to a file to count them, "
                "or to have them by number"
            )
        source = self._connector.open()
        try:
            codec, extradata = source.codec, source.stream.codec_context.extradata
            headers = None if codec.headers is None else codec.headers(extradata)
            found = survey(source, headers, self._first_packet, self._metadata.rate)
        finally:
            self._connector.disconnect(source)
        if self._connector.transcoding is not None:
            return replace(found, table=None, why="its vectors are found by encoding all frames before")
        if self._asks:
            return replace(found, table=None, why="starts= is asked about all frames before")
        if self._untrusted:
            return replace(found, table=None, why="what is lost (on_error='resync') shows in decoding alone")
        return found

    def close(self) -> None:
        """End what is under way."""
        if "_places" in self.__dict__:
            self._places.close()

    @cached_property
    def _places(self) -> Places:
        connector = self._connector
        return Places(connector.open, connector.disconnect, self._builder, self._start, self._survey.table, self._name)

    @cached_property
    def _times(self) -> list[float]:
        """Seconds at which each frame begins."""
        times = self.times
        known = [time for time in times if time is not None]
        if len(known) < len(times):
            raise InputError(f"{self._name}: its frames have no times (a raw stream); give their numbers")
        return known

    def _decoded_times(self) -> list[float | None]:
        connection = self._connector.connect(self._builder())
        try:
            timed = connection.source.stream.start_time is not None
            frames = Timeline(self._metadata.rate, lambda jump: None).follow(connection.decoded(), timed=timed)
            shown = (decoded for decoded in frames if not decoded.hidden)
            return [None if f.pts is None else float(f.pts * f.time_base) for f in shown]
        finally:
            self._connector.disconnect(connection.source)

    def _at(self, seconds: float) -> int:
        """The frame shown at a time: the last that begins by then; the first from 0 on."""
        times = self._times
        last = times[-1] - times[-2] if len(times) > 1 else 0.0
        start, end = min(times[0], 0.0), times[-1] + max(last, float(1 / self._metadata.rate))
        if not start <= seconds < end:
            raise FrameIndexError(f"{self._name}: expected seconds from {start:g} to {end:g}, got {seconds:g}")
        return max(0, bisect_right(times, seconds + _ROUNDING) - 1)
