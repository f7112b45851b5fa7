"""What the packets of a stream tell before they are decoded: how many frames there are, where, and where to begin.

A frame may be decoded from a packet on that nothing later points behind. Headers say which these are; frame numbers and
times are those of a pass from the start, made by the same code.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast
from zlib import crc32

import av

from .codecs import Headers, new_extradata
from .diagnosis import without_urls
from .errors import Discontinuity
from .joins import Pieces, with_true_marks
from .pictures import Coded, Decoded
from .source import Source
from .timeline import Timeline

__all__ = ["Entry", "PacketTable", "Survey", "survey"]

# No codec shows a picture farther than this from where it was coded.
_REORDER = 64
# Frames whose references the headers do not tell may point to the pictures kept: so many back at most.
_UNTOLD = 48


@dataclass(frozen=True)
class Entry:
    """A place where decoding may begin.

    Attributes:
        packet: number of its packet.
        index: of the first frame that is shown from there on.
        check: CRC-32 of the packet, which finds it again.
        dts: its decoding time, by which demuxers seek; None: not known.
    """

    packet: int
    index: int
    check: int
    dts: int | None


@dataclass(frozen=True)
class PacketTable:
    """Every packet of a stream whose order and references are known.

    Attributes:
        coded: what its headers told, by packet number.
        sizes, stamps: bytes and timestamp of each packet.
        places: in presentation order, by packet number; -1 for one that gives no frame.
        indices: number among the frames that are shown, by place; of a hidden one, that of the next.
        times: timestamp of each frame on one time axis, by place.
        time_base: its unit in seconds.
        entries: where decoding may begin, in order.
        count: number of frames shown.
        hidden: which are not, by place.
    """

    coded: Sequence[Coded | None]
    sizes: Sequence[int]
    stamps: Sequence[int | None]
    places: Sequence[int]
    indices: Sequence[int]
    times: Sequence[int | None]
    time_base: Fraction
    entries: Sequence[Entry]
    count: int
    hidden: Sequence[bool]

    @property
    def seconds(self) -> list[float | None]:
        """Of the frames that are shown."""
        return [
            None if time is None else float(time * self.time_base)
            for time, hidden in zip(self.times, self.hidden, strict=True)
            if not hidden
        ]

    def entry(self, index: int) -> Entry | None:
        """The last entry before frame `index`; None: the start."""
        found = bisect_right(self.entries, index, key=lambda entry: entry.index)
        return self.entries[found - 1] if found else None


@dataclass(frozen=True)
class Survey:
    """Attributes:
    packets: number of packets that hold a picture that is shown.
    table: None where the packets alone do not tell enough.
    why: the reason for that.
    """

    packets: int
    table: PacketTable | None
    why: str | None


class _NotEnough(Exception):
    """The reason."""


def survey(source: Source, headers: Headers | None, first: int, rate: Fraction) -> Survey:
    """Read all packets of a source, and decode none.

    Args:
        source: newly opened; left at its end.
        headers: reads its packets; None: they are counted alone.
        first: number of the packet whose frame a pass from the start gives first.
        rate: as for `Timeline`.
    """
    packets = _Packets(source, headers)
    packets.read()
    if packets.problem is not None:
        return Survey(packets.shown, None, packets.problem)
    try:
        return Survey(packets.shown, _table(packets, first, rate), None)
    except _NotEnough as why:
        return Survey(packets.shown, None, str(why))


class _Packets:
    """What is noted of each packet."""

    def __init__(self, source: Source, headers: Headers | None) -> None:
        self.source, self._headers = source, headers
        self.coded: list[Coded | None] = []
        self.sizes: list[int] = []
        self.stamps: list[int | None] = []
        self.durations: list[int] = []
        self.hidden: list[bool] = []
        self.keys: dict[int, tuple[int, int | None]] = {}  # keyframes' checksums and decoding times
        self.shown = 0
        self.problem: str | None = None if headers is not None else "its packets do not tell how frames are predicted"

    def read(self) -> None:
        position: int | None = None
        pieces = Pieces(self.source.container, self.source.stream)
        vp8 = self.source.codec.name == "vp8"
        for packet in with_true_marks(self._raw(), pieces):
            if isinstance(packet, Exception):
                self._doubt("the file breaks off or is damaged")
                return
            if not packet.size:
                continue
            back = packet.pos is not None and position is not None and packet.pos <= position
            position = packet.pos
            if back and packet.is_keyframe and self.source.counted:
                self._doubt("its edit list goes back in the file")
            if packet.is_corrupt:
                self._doubt("it is damaged")
            if new_extradata(packet) and self.sizes:
                self._doubt("it has several sets of parameters")
            coded = None if self._headers is None else self._headers.push(packet, len(self.sizes))
            if coded is not None and coded.repeated:  # no picture comes of it
                coded = None
            if coded is not None and (coded.gap or coded.interlaced):
                self._doubt("it is interlaced" if coded.interlaced else "frames are missing")
            if packet.is_keyframe:
                self.keys[len(self.sizes)] = crc32(cast("Any", packet)), packet.dts
            invisible = vp8 and not bytes(packet)[0] & 0x10
            there = self._headers is None or coded is not None
            self.shown += there and not packet.is_discard and not invisible
            self.coded.append(coded)
            self.sizes.append(packet.size)
            self.stamps.append(packet.pts)
            self.durations.append(packet.duration or 0)
            self.hidden.append(packet.is_discard)

    def _raw(self) -> Any:
        try:
            yield from self.source.packets()
        except (av.error.FFmpegError, OSError) as error:
            yield without_urls(error) or error

    def _doubt(self, why: str) -> None:
        self.problem = self.problem or why


def _table(packets: _Packets, first: int, rate: Fraction) -> PacketTable:
    order = _presentation(packets)
    if first not in order:
        raise _NotEnough("its first frame is none of its packets'")
    order = order[order.index(first) :]  # those before cannot be decoded
    places = [-1] * len(packets.sizes)
    for place, packet in enumerate(order):
        places[packet] = place
    indices, shown = [], 0
    for packet in order:
        indices.append(shown)
        shown += not packets.hidden[packet]
    time_base = Fraction(packets.source.stream.time_base or Fraction(1, 25))
    times = _times(packets, order, time_base, rate)
    return PacketTable(
        packets.coded,
        packets.sizes,
        packets.stamps,
        places,
        indices,
        times,
        time_base,
        _entries(packets, places, indices, first),
        shown,
        [packets.hidden[packet] for packet in order],
    )


def _presentation(packets: _Packets) -> list[int]:
    """The numbers of the packets with pictures, in presentation order."""
    there = [number for number, coded in enumerate(packets.coded) if coded is not None]
    keys: list[Any] = [cast("Coded", packets.coded[number]).order for number in there]
    stamps = [packets.stamps[number] for number in there]
    if None in keys:
        if any(key is not None for key in keys) or None in stamps:
            raise _NotEnough("its packets do not tell the order of its frames")
        keys = stamps
    elif keys != sorted(keys) and None not in stamps and stamps == sorted(cast("list[int]", stamps)):
        raise _NotEnough("its timestamps are in decoding order")
    if len(set(keys)) < len(keys):
        raise _NotEnough("several of its packets have one place in the order")
    found = [number for _, number in sorted(zip(keys, there, strict=True))]
    if any(abs(number - there[place]) > _REORDER for place, number in enumerate(found)):
        raise _NotEnough("its timestamps start again in the middle")
    return found


def _times(packets: _Packets, order: list[int], time_base: Fraction, rate: Fraction) -> list[int | None]:
    """As a pass from the start has them."""
    jumps: list[Discontinuity] = []
    stamped = (
        Decoded(
            cast("Any", None),
            cast("Coded", packets.coded[packet]),
            None,
            packets.stamps[packet],
            time_base,
            duration=packets.durations[packet],
            hidden=packets.hidden[packet],
        )
        for packet in order
    )
    timed = packets.source.stream.start_time is not None
    return [decoded.pts for decoded in Timeline(rate, jumps.append).follow(stamped, timed=timed)]


def _entries(packets: _Packets, places: list[int], indices: list[int], first: int) -> list[Entry]:
    """The keyframes that no frame shown after them, nor what these are predicted from, points behind."""
    count = len(packets.sizes)
    oldest = [_oldest(packets, number) for number in range(count)]
    later = [count] * (count + 1)  # the oldest picture that any from here on points to
    for number in range(count - 1, -1, -1):
        later[number] = min(later[number + 1], oldest[number])
    found = []
    for number, (check, dts) in packets.keys.items():
        place = places[number]
        if number <= first or place < 0 or oldest[number] < number:
            continue
        near = range(number + 1, min(number + 1 + _REORDER, count))
        leading = {other for other in near if 0 <= places[other] < place}
        bound = max(leading, default=number - 1)
        follows = (other for other in near if other not in leading)
        if later[near.stop] > bound and all(_stays(packets, other, number, leading) for other in follows):
            found.append(Entry(number, indices[place], check, dts))
    return found


def _stays(packets: _Packets, number: int, entry: int, leading: set[int]) -> bool:
    coded = packets.coded[number]
    if _oldest(packets, number) < entry:
        return False
    return coded is None or leading.isdisjoint((*(coded.past or ()), *(coded.future or ())))


def _oldest(packets: _Packets, number: int) -> int:
    """The first picture that this one may be predicted from, or it itself; beyond what a keyframe cuts off, untold."""
    coded = packets.coded[number]
    if coded is None or coded.past is None or coded.future is None:
        return number  # anchors: never behind the keyframe, but for frames shown before it
    if not coded.past and not coded.future:
        return number if number in packets.keys else number - _UNTOLD
    return min((*coded.past, *coded.future, number))
