"""H.264 as bytes: taken apart, put together again, cropped."""

from __future__ import annotations

from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

SLICE, IDR, SPS, PPS = 1, 5, 7, 8


def split(data: bytes) -> list[bytes]:
    """NAL units with their start codes; joined, they are `data` again (from its first start code on)."""
    starts = []
    at = data.find(b"\0\0\1")
    while at >= 0:
        starts.append(at - 1 if at > 0 and data[at - 1] == 0 else at)
        at = data.find(b"\0\0\1", at + 3)
    return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=False)]


def header(unit: bytes) -> int:
    """Where the header byte of a NAL unit lies."""
    return unit.index(b"\0\0\1") + 3


def kind(unit: bytes) -> int:
    """nal_unit_type."""
    at = header(unit)
    return unit[at] & 31 if at < len(unit) else 0


def is_reference(unit: bytes) -> bool:
    return unit[header(unit)] >> 5 != 0


def is_picture(unit: bytes) -> bool:
    """A coded slice: in the streams of these tests, one a picture."""
    return kind(unit) in (SLICE, IDR)


def pictures(units: list[bytes]) -> list[int]:
    """Positions of the pictures, in decoding order."""
    return [i for i, unit in enumerate(units) if is_picture(unit)]


def annex_b(path: Path) -> bytes:
    """The video packets of any H.264 file with start codes, as a raw stream."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        convert = BitStreamFilterContext("h264_mp4toannexb", stream)
        parts = [bytes(out) for packet in container.demux(stream) if packet.size for out in convert.filter(packet)]
        parts += [bytes(out) for out in convert.filter(None)]
    return b"".join(parts)


def without(path: Path, source: Path, *lost: int) -> Path:
    """A raw stream of `source` without the pictures `lost`, counted from 0 in decoding order."""
    units = split(annex_b(source))
    gone = {pictures(units)[number] for number in lost}
    path.write_bytes(b"".join(unit for i, unit in enumerate(units) if i not in gone))
    return path


def cropped(path: Path, source: Path, **sides: int) -> Path:
    """A copy of an MP4 whose parameter sets cut off `left`, `top`, `right`, `bottom` pixels after decoding."""
    spec = ":".join(f"crop_{side}={pixels}" for side, pixels in sides.items())
    with av.open(str(source)) as reader, av.open(str(path), "w") as writer:
        stream = reader.streams.video[0]
        out = writer.add_stream_from_template(stream)
        change = BitStreamFilterContext(f"h264_metadata={spec}", stream, out)
        for packet in reader.demux(stream):
            if packet.size:
                for changed in change.filter(packet):
                    changed.stream = out
                    writer.mux(changed)
        for changed in change.filter(None):
            changed.stream = out
            writer.mux(changed)
    return path
