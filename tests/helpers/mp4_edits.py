"""Edit lists of mp4 and mov files, written into the bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        yield kind, start, start + size
        start += size


def _find(data: bytes, *path: bytes) -> tuple[int, int] | None:
    """Where a box begins and ends."""
    place: tuple[int, int] | None = None
    start, end = 0, len(data)
    for wanted in path:
        place = next(((a, b) for kind, a, b in _boxes(data, start, end) if kind == wanted), None)
        if place is None:
            return None
        start, end = place[0] + 8, place[1]
    return place


def with_edits(source: Path, target: Path, edits: Sequence[tuple[int, int, float]]) -> Path:
    """A copy with this edit list in its first track.

    Args:
        source: an mp4 or mov whose index lies behind its frames, as FFmpeg writes it.
        edits: duration in milliseconds (the movie's unit, as FFmpeg writes it), first time shown in the track's own
            unit (-1: nothing is shown), speed.
    """
    data = bytearray(source.read_bytes())
    entries = struct.pack(">II", 0, len(edits)) + b"".join(
        struct.pack(">Iii", duration, time, round(speed * 65536)) for duration, time, speed in edits
    )
    box = struct.pack(">I4s", len(entries) + 8, b"elst") + entries
    box = struct.pack(">I4s", len(box) + 8, b"edts") + box if edits else b""
    moov, trak, header = _find(data, b"moov"), _find(data, b"moov", b"trak"), _find(data, b"moov", b"trak", b"tkhd")
    assert moov and trak and header and moov[0] > (_find(data, b"mdat") or moov)[0]
    start, end = _find(data, b"moov", b"trak", b"edts") or (header[1], header[1])
    data[start:end] = box
    for outer in (moov[0], trak[0]):
        (size,) = struct.unpack_from(">I", data, outer)
        struct.pack_into(">I", data, outer, size + len(box) - (end - start))
    target.write_bytes(data)
    return target
