"""Frames by number: decoded from the last place before them where that may begin, and equal to those of a pass.

What is decoded is held to the table of packets on the way. Where anything is otherwise than it says, the pass from the
start is taken, which is always right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, cast
from zlib import crc32

import av

from arseg.errors import InputError

from .codecs import Headers
from .decoding import Decoding
from .errors import VideoError
from .field_builder import FieldBuilder
from .fields import PendingFrame
from .packet_table import Entry, PacketTable
from .passes import with_fields
from .pictures import Coded, Decoded
from .source import Source

# Packets that are looked through for an entry after a seek.
_LOOK = 2000
# Seconds before it that are sought, one after the other.
_EARLIER = (0, 2)


class FrameIndexError(InputError, IndexError):
    """There is no frame of that number."""


class LengthError(InputError, TypeError):
    """The number of frames cannot be had before they are read. (`list` takes a TypeError of `len` for "no hint".)"""


class _Elsewhere(Exception):
    """A packet or a frame is not the one that the table says."""


class Places:
    """Frames of one video by number.

    Args:
        source: opens the video, ready to decode.
        disconnect: closes what `source` opened.
        builder: makes one, for a reading of its own.
        start: the pass from the start.
        table: of its packets; None: always from the start.
        name: for messages.
    """

    def __init__(
        self,
        source: Callable[[], Source],
        disconnect: Callable[[Source], None],
        builder: Callable[[], FieldBuilder],
        start: Callable[[], Iterator[PendingFrame]],
        table: PacketTable | None,
        name: str,
    ) -> None:
        self._source, self._disconnect, self._builder, self._start = source, disconnect, builder, start
        self._table = table
        self._name = name
        self._under_way: Iterator[PendingFrame] | None = None
        self._next = 0

    def close(self) -> None:
        """End what is under way."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.close()  # type: ignore[attr-defined]

    def take(self, indices: Iterable[int]) -> Iterator[PendingFrame]:
        """The frames of these numbers, which rise; decoding goes on from one to the next where none is nearer."""
        for index in indices:
            entry = None if self._table is None else self._table.entry(index)
            nearer = entry is not None and entry.index > self._next
            if self._under_way is None or index < self._next or nearer:
                self.close()
                self._under_way = self.items(index)
            item = self._reached(self._under_way, index)
            if item.index > index:
                self.close()
                raise FrameIndexError(f"{self._name}: frame {index} was lost, the next is {item.index}")
            yield item

    def _reached(self, items: Iterator[PendingFrame], index: int) -> PendingFrame:
        """The first frame from `index` on; after an error nothing is under way."""
        self._under_way, last = None, -1
        for item in items:
            last = item.index
            if last >= index:
                self._under_way, self._next = items, last + 1
                return item
        raise FrameIndexError(f"{self._name}: expected a frame from 0 to {max(last, self._next - 1)}, got {index}")

    def items(self, index: int) -> Iterator[PendingFrame]:
        """The frames from number `index` on."""
        entry = None if self._table is None else self._table.entry(index)
        if self._table is not None and entry is not None:
            try:
                for item in self._from(self._table, entry):
                    if item.index >= index:
                        yield item
                        index = item.index + 1
                return
            except _Elsewhere:
                self._table = None
            except VideoError:
                pass  # the pass from the start tells it in its own words
        for item in self._start():
            if item.index >= index:
                yield item

    def _from(self, table: PacketTable, entry: Entry) -> Iterator[PendingFrame]:
        source = self._placed(table, entry)
        try:
            builder = self._builder()
            builder.count = entry.index
            first = table.places[entry.packet]

            def announce(coded: Coded) -> None:
                if table.places[coded.index] >= first:
                    builder.announce(coded)

            decoding = Decoding(source, _Told(table), announce=announce, first=entry.packet)
            for item in with_fields(_checked(decoding.frames(), table, first), builder, self._name, None):
                yield item
                if source.opened.closed:  # the reader was: what it had open may not be touched
                    return
        finally:
            self._disconnect(source.opened)

    def _placed(self, table: PacketTable, entry: Entry) -> _FromEntry:
        """The video opened, its next packet that of `entry`."""
        source = self._source()
        packets = source.packets()
        ready = None if entry.dts is None else _sought(source, table, entry)
        if ready is None and entry.dts is not None:  # the demuxer leads elsewhere: go there packet by packet
            self._disconnect(source)
            source = self._source()
            packets = source.packets()
        try:
            if ready is None:
                numbered = (packet for packet in packets if packet.size)
                ready = next(islice(numbered, entry.packet, None), None)
            if ready is None or not _is(ready, table, entry):
                raise _Elsewhere
        except BaseException:
            self._disconnect(source)
            raise
        placed = _FromEntry(**{name: getattr(source, name) for name in source.__dataclass_fields__})
        placed.first, placed.following, placed.table, placed.opened = ready, packets, table, source
        placed.number = entry.packet
        return placed


def _sought(source: Source, table: PacketTable, entry: Entry) -> av.Packet | None:
    """The packet of an entry, after a seek; None where none that is tried leads there."""
    assert entry.dts is not None
    for earlier in _EARLIER:
        target = entry.dts - round(earlier / table.time_base)
        try:
            source.container.seek(target, stream=source.stream, backward=True)
            found = next((p for p in islice(source.packets(), _LOOK) if _is(p, table, entry)), None)
        except (av.error.FFmpegError, OSError):
            return None
        if found is not None:
            return found
    return None


def _is(packet: av.Packet, table: PacketTable, entry: Entry) -> bool:
    number = entry.packet
    same = packet.size == table.sizes[number] and packet.pts == table.stamps[number]
    return same and crc32(cast("Any", packet)) == entry.check


def _checked(frames: Iterator[Decoded], table: PacketTable, first: int) -> Iterator[Decoded]:
    """The frames from place `first` on, with the times that they have in a pass; none may be missing."""
    index = table.indices[first]
    for decoded in frames:
        number = decoded.coded.index
        place = table.places[number] if number < len(table.places) else -1
        if 0 <= place < first:
            continue  # shown before the entry, and predicted from what comes before it
        if place < 0 or table.indices[place] != index:
            raise _Elsewhere
        index += not decoded.hidden
        yield replace(decoded, pts=table.times[place])
    if index != table.count:
        raise _Elsewhere


class _Told(Headers):
    """What the headers told in the pass over the packets."""

    def __init__(self, table: PacketTable) -> None:
        self._coded = table.coded

    def push(self, packet: av.Packet, index: int) -> Coded | None:
        if index >= len(self._coded):
            raise _Elsewhere
        return self._coded[index]


@dataclass(eq=False)
class _FromEntry(Source):
    """A source that is read from an entry on; every packet is held to the table."""

    first: Any = None
    following: Any = None
    table: Any = None
    opened: Any = None
    number: int = 0

    def packets(self) -> Iterator[av.Packet]:
        number = self.number
        yield self.first
        for packet in self.following:
            if packet.size:
                number += 1
                if number >= len(self.table.sizes) or packet.size != self.table.sizes[number]:
                    raise _Elsewhere
                if packet.pts != self.table.stamps[number]:
                    raise _Elsewhere
            yield packet

    @property
    def counted_packets(self) -> int | None:
        count = super().counted_packets
        return None if count is None else count - self.number
