"""Streams with new parameter sets, times or counters in the middle, put together from others byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av

_VIDEO_TAG, _SEQUENCE_HEADER, _END = 9, 0, 2


@dataclass(frozen=True)
class Part:
    """A video track: its sample description (the box in `stsd`), and its samples with dts, pts and whether key."""

    description: bytes
    samples: list[tuple[bytes, int, int, bool]]
    time_base: int


# FLV -----------------------------------------------------------------------------------------------------------------


def flv(path: Path, *sources: Path, gap: int = 40) -> Path:
    """The video tags of FLV files one after the other, as an encoder leaves them that starts anew.

    Times go on `gap` ms after the last tag; each part brings its sequence header.
    """
    out = [sources[0].read_bytes()[:13]]
    end = 0
    for source in sources:
        tags = [tag for tag in _flv_tags(source.read_bytes()) if tag[0] == _VIDEO_TAG and tag[2][1] != _END]
        out += [_flv_tag(kind, end + time, body) for kind, time, body in tags]
        end += max(time for _, time, _ in tags) + gap
    path.write_bytes(b"".join(out))
    return path


def flv_sequence_header(data: bytes, change: dict[int, bytes]) -> bytes:
    """An FLV with its sequence headers replaced, by their number."""
    out, number = [data[:13]], 0
    for kind, time, body in _flv_tags(data):
        if kind == _VIDEO_TAG and body[1] == _SEQUENCE_HEADER:
            body = body[:5] + change.get(number, body[5:])
            number += 1
        out.append(_flv_tag(kind, time, body))
    return b"".join(out)


def _flv_tags(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 13
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        time = int.from_bytes(data[at + 4 : at + 7], "big") | data[at + 7] << 24
        yield data[at], time, data[at + 11 : at + 11 + size]
        at += 11 + size + 4


def _flv_tag(kind: int, time: int, body: bytes) -> bytes:
    header = bytes([kind]) + len(body).to_bytes(3, "big") + (time & 0xFFFFFF).to_bytes(3, "big") + bytes([time >> 24])
    return header + bytes(3) + body + (len(body) + 11).to_bytes(4, "big")


# MP4 -----------------------------------------------------------------------------------------------------------------


def boxes(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of the content of each box between `at` and `end`."""
    end = len(data) if end is None else end
    while at + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, at)
        yield name, at + 8, at + size
        at += size


def find(data: bytes, *names: bytes) -> bytes:
    """The content of the first box along `names`."""
    for name in names:
        begin, end = next((b, e) for found, b, e in boxes(data) if found == name)
        data = data[begin:end]
    return data


def part(source: Path) -> Part:
    """The video of an MP4 file."""
    with av.open(str(source), options={"ignore_editlist": "1"}) as container:
        stream = container.streams.video[0]
        time_base = stream.time_base  # gone once the file is closed
        assert time_base is not None and time_base.numerator == 1
        samples = [
            (bytes(packet), packet.dts or 0, packet.pts or 0, packet.is_keyframe)
            for packet in container.demux(stream)
            if packet.size
        ]
    stsd = find(source.read_bytes(), b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    return Part(stsd[8:], samples, time_base.denominator)


def short_lengths(whole: Part) -> Part:
    """H.264 with NAL lengths of two bytes in place of four."""
    description = bytearray(whole.description)
    description[description.index(b"avcC") + 8] &= 0xFD
    samples = []
    for data, dts, pts, key in whole.samples:
        units, at = b"", 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 4], "big")
            units += size.to_bytes(2, "big") + data[at + 4 : at + 4 + size]
            at += 4 + size
        samples.append((units, dts, pts, key))
    return Part(bytes(description), samples, whole.time_base)


def mp4(path: Path, *parts: Part) -> Path:
    """One track with a sample description for each part, times going on from part to part."""
    scale = parts[0].time_base
    assert all(each.time_base == scale for each in parts)
    sizes: list[int] = []
    keys: list[int] = []
    shifts: list[int] = []
    durations: list[int] = []
    chunks: list[bytes] = []
    for each in parts:
        times = [dts for _, dts, _, _ in each.samples]
        step = times[1] - times[0]
        durations += [b - a for a, b in pairwise(times)] + [step]
        first = min(pts - dts for _, dts, pts, _ in each.samples)
        shifts += [pts - dts - min(first, 0) for _, dts, pts, _ in each.samples]
        keys += [len(sizes) + i + 1 for i, sample in enumerate(each.samples) if sample[3]]
        sizes += [len(sample[0]) for sample in each.samples]
        chunks.append(b"".join(sample[0] for sample in each.samples))
    total = sum(durations)
    count = len(sizes)

    def box(name: bytes, *content: bytes) -> bytes:
        body = b"".join(content)
        return struct.pack(">I4s", len(body) + 8, name) + body

    def table(name: bytes, *rows: tuple[int, ...]) -> bytes:
        body = b"".join(struct.pack(f">{len(row)}I", *row) for row in rows)
        return box(name, struct.pack(">II", 0, len(rows)), body)

    def moov(offsets: list[int]) -> bytes:
        matrix = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
        stbl = box(
            b"stbl",
            box(b"stsd", struct.pack(">II", 0, len(parts)), *(each.description for each in parts)),
            table(b"stts", *((1, duration) for duration in durations)),
            table(b"ctts", *((1, shift) for shift in shifts)),
            table(b"stss", *((key,) for key in keys)),
            table(b"stsc", *((i + 1, len(each.samples), i + 1) for i, each in enumerate(parts))),
            box(b"stsz", struct.pack(">III", 0, 0, count), struct.pack(f">{count}I", *sizes)),
            table(b"stco", *((offset,) for offset in offsets)),
        )
        dref = box(b"dref", struct.pack(">II", 0, 1), box(b"url ", struct.pack(">I", 1)))
        minf = box(b"minf", box(b"vmhd", struct.pack(">IQ", 1, 0)), box(b"dinf", dref), stbl)
        mdhd = box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, scale, total, 0x55C4, 0))
        hdlr = box(b"hdlr", struct.pack(">II4s12x", 0, 0, b"vide"), b"video\0")
        width, height = struct.unpack_from(">HH", parts[0].description, 32)
        tkhd = box(
            b"tkhd",
            struct.pack(">IIIIII8xHHHH", 3, 0, 0, 1, 0, total, 0, 0, 0, 0),
            matrix,
            struct.pack(">II", width << 16, height << 16),
        )
        mvhd = box(
            b"mvhd", struct.pack(">IIIIIIH10x", 0, 0, 0, scale, total, 1 << 16, 1 << 8), matrix, bytes(24), b"\0\0\0\2"
        )
        return box(b"moov", mvhd, box(b"trak", tkhd, box(b"mdia", mdhd, hdlr, minf)))

    ftyp = box(b"ftyp", b"isom\0\0\2\0isomavc1")
    offsets, at = [], len(ftyp) + len(moov([0] * len(parts))) + 8
    for chunk in chunks:
        offsets.append(at)
        at += len(chunk)
    path.write_bytes(ftyp + moov(offsets) + box(b"mdat", *chunks))
    return path


# MPEG-TS -------------------------------------------------------------------------------------------------------------


def ts_packets(data: bytes) -> list[bytes]:
    return [data[at : at + 188] for at in range(0, len(data), 188)]


def pid(packet: bytes) -> int:
    return (packet[1] & 31) << 8 | packet[2]


def begins_frame(packet: bytes) -> bool:
    return bool(packet[1] & 0x40)
