"""The H.264 header reader against FFmpeg's decoder on streams of x264, on losses, and on damaged bytes."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arseg import _motion

av = pytest.importorskip("av")
pytestmark = pytest.mark.skipif("libx264" not in av.codecs_available, reason="this PyAV has no libx264")

WIDTH, HEIGHT = 96, 80


def clip(frames: int, width: int = WIDTH, height: int = HEIGHT) -> list[np.ndarray]:
    """Two textured scenes by turns, each moving: a good reference is often two frames back."""
    rng = np.random.default_rng(5)
    scenes = [
        np.kron(rng.integers(30, 220, (height // 4 + 40, width // 4 + 40)), np.ones((4, 4))).astype(np.uint8)
        for _ in range(2)
    ]
    pictures = []
    for i in range(frames):
        luma = scenes[i // 3 % 2][i % 100 : i % 100 + height, 2 * i % 60 : 2 * i % 60 + width]
        pictures.append(np.concatenate([luma, np.full((height // 2, width), 128, np.uint8)]))
    return pictures


def encode(params: str, frames: int = 60, container: str = "", **more: Any) -> tuple[bytes, list[bytes]]:
    """Extradata and packets: with start codes and without extradata, or as a container stores them."""
    target = io.BytesIO()
    packets: list[bytes] = []
    output = av.open(target, "w", format=container or "h264")
    width, height = more.pop("width", WIDTH), more.pop("height", HEIGHT)
    stream = output.add_stream("libx264", rate=25)
    stream.width, stream.height, stream.pix_fmt = width, height, more.pop("pix_fmt", "yuv420p")
    stream.codec_context.thread_count = 1
    stream.options = {"preset": "veryfast", "x264-params": params, **more}
    for i, picture in enumerate(clip(frames, width, height)):
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p").reformat(format=stream.pix_fmt)
        frame.pts, frame.time_base = i, Fraction(1, 25)
        for packet in stream.encode(frame):
            packets.append(bytes(packet))
            output.mux(packet)
    for packet in stream.encode():
        packets.append(bytes(packet))
        output.mux(packet)
    output.close()
    if not container:
        return b"", packets
    target.seek(0)
    with av.open(target) as source:
        stored = [bytes(packet) for packet in source.demux(video=0) if packet.size]
        return bytes(source.streams.video[0].codec_context.extradata or b""), stored


def read(extradata: bytes, packets: list[bytes]) -> list[Any]:
    reader = _motion.H264Headers(extradata)
    return [reader.push(packet) for packet in packets]


def decode(extradata: bytes, packets: list[bytes]) -> list[Any]:
    """Frames in order of output; `pts` is the number of the packet."""
    context = av.CodecContext.create("h264", "r")
    context.thread_count = 1
    context.flags2 |= av.codec.context.Flags2.export_mvs
    if extradata:
        context.extradata = extradata
    frames = []
    for i, data in enumerate(packets):
        packet = av.Packet(data)
        packet.pts = packet.dts = i
        frames += context.decode(packet)
    return frames + context.decode(None)


STREAMS: dict[str, dict[str, Any]] = {
    "plain": {"params": "bframes=0:ref=1"},
    "references": {"params": "bframes=0:ref=5:weightp=2"},
    "pyramid": {"params": "bframes=5:b-pyramid=normal:ref=6:b-adapt=0"},
    "strict pyramid": {"params": "bframes=3:b-pyramid=strict:ref=4:b-adapt=0:weightb=1"},
    "no pyramid": {"params": "bframes=2:b-pyramid=none:ref=16:weightb=0"},
    "open gop": {"params": "bframes=3:open-gop=1:keyint=15:min-keyint=5:ref=3"},
    "wraps": {"params": "bframes=2:keyint=infinite:scenecut=0:ref=3", "frames": 400},
    "intra refresh": {"params": "intra-refresh=1:keyint=20:bframes=0:ref=2"},
    "slices": {"params": "slices=4:aud=1:bframes=2:ref=4:nal-hrd=vbr:vbv-maxrate=900:vbv-bufsize=900"},
    "baseline": {"params": "cabac=0:8x8dct=0:bframes=0:ref=3:weightp=0", "profile": "baseline"},
    "10 bit": {"params": "bframes=2:ref=3", "pix_fmt": "yuv420p10le"},
    "4:2:2": {"params": "bframes=2:ref=3:weightp=2", "pix_fmt": "yuv422p", "height": 78},
    "4:4:4": {"params": "bframes=2:ref=3:weightp=2:cqm=jvt", "pix_fmt": "yuv444p", "width": 90},
    "mp4": {"params": "bframes=3:ref=4", "container": "mp4", "width": 90, "height": 70},
    "mkv": {"params": "bframes=3:ref=4", "container": "matroska"},
    "ts": {"params": "bframes=3:ref=4:keyint=20", "container": "mpegts"},
}


@pytest.mark.parametrize("name", STREAMS)
def test_against_decoder(name: str) -> None:
    extradata, packets = encode(**STREAMS[name])
    pictures = read(extradata, packets)
    frames = decode(extradata, packets)
    assert len(frames) == len(packets) == len(pictures)
    in_order = [frame.pts for frame in frames] == sorted(frame.pts for frame in frames)
    assert {picture.reorders for picture in pictures} == {not in_order} and not any(p.changed for p in pictures)
    order = sorted(pictures, key=lambda picture: (picture.sequence, picture.poc))
    assert [picture.index for picture in order] == [frame.pts for frame in frames]
    for frame in frames:
        picture = pictures[frame.pts]
        assert picture.kind == av.video.frame.PictureType(int(frame.pict_type)).name
        assert picture.size == (frame.width, frame.height)
        assert picture.error == "" and picture.gap == 0 and not picture.interlaced and picture.started
        assert picture.crop == (0, 0, -frame.width % 16, -frame.height % 16)
        assert len(picture.past) <= min(picture.entries, picture.references)
        for index in picture.past + picture.future:
            assert index < picture.index and pictures[index].reference
        # a P picture has list 0 alone, an I picture none
        assert bool(picture.past) == (picture.kind != "I") and bool(picture.future) == (picture.kind == "B")
        vectors = frame.side_data.get("MOTION_VECTORS")
        sources = set() if vectors is None else set(vectors.to_ndarray()["source"].tolist())
        assert picture.kind != "P" or sources <= {-1}
    if name == "plain":
        assert all(picture.past == (picture.index - 1,) for picture in pictures if picture.kind == "P")


@pytest.mark.parametrize(
    "params", ["bframes=0:ref=6:weightp=0", "bframes=3:b-pyramid=normal:ref=5:weightp=0:weightb=0"]
)
def test_blocks_are_copies_of_the_past(params: str) -> None:
    """Blocks that equal a decoded frame where their vector points equal one that the lists name."""
    extradata, packets = encode(params + ":scenecut=0:no-deblock=1:qp=30:partitions=none:direct=spatial", frames=48)
    pictures = read(extradata, packets)
    frames = decode(extradata, packets)
    luma = {frame.pts: frame.to_ndarray(format="yuv420p")[:HEIGHT] for frame in frames}
    copies = named = previous = 0
    for frame in frames:
        vectors = frame.side_data.get("MOTION_VECTORS")
        if vectors is None or pictures[frame.pts].kind != "P":
            continue
        for record in vectors.to_ndarray():
            x, y, w, h = (int(record[key]) for key in ("dst_x", "dst_y", "w", "h"))
            dx, dy = int(record["motion_x"]), int(record["motion_y"])
            left, top = x - w // 2, y - h // 2
            from_x, from_y = left + dx // 4, top + dy // 4
            inside = from_x >= 0 and from_y >= 0 and from_x + w <= WIDTH and from_y + h <= HEIGHT
            if dx % 4 or dy % 4 or not inside:
                continue
            block = luma[frame.pts][top : top + h, left : left + w]
            equal = {
                index
                for index in luma
                if index < frame.pts and np.array_equal(luma[index][from_y : from_y + h, from_x : from_x + w], block)
            }
            copies += bool(equal)
            named += bool(equal & set(pictures[frame.pts].past))
            previous += frame.pts - 1 in equal
    assert copies > 100
    assert named >= 0.99 * copies
    assert previous < 0.9 * copies  # else the test would say little


@pytest.mark.parametrize("params", ["bframes=0:ref=3", "bframes=3:b-pyramid=normal:ref=4:b-adapt=0"])
def test_losses(params: str) -> None:
    extradata, packets = encode(params + ":keyint=250:scenecut=0", frames=40)
    whole = read(extradata, packets)
    for lost in range(2, 30):
        for count in (1, 2):
            rest = [i for i in range(len(packets)) if not lost <= i < lost + count]
            gaps = {rest[p.index]: p.gap for p in read(extradata, [packets[i] for i in rest]) if p.gap}
            missing = sum(whole[i].reference for i in range(lost, lost + count))
            assert gaps == ({lost + count: missing} if missing else {})


def test_start_in_the_middle() -> None:
    extradata, packets = encode("bframes=0:ref=2:keyint=20:repeat-headers=1:scenecut=0", frames=50, container="mp4")
    pictures = read(extradata, packets[5:])
    assert [p.started for p in pictures].index(True) == 15 and not any(p.gap for p in pictures)
    assert pictures[15].idr and pictures[16].past == (15,)


def test_recovery_points() -> None:
    extradata, packets = encode("intra-refresh=1:keyint=10:bframes=0:ref=1", frames=30)
    counts = [picture.recovery for picture in read(extradata, packets)]
    assert any(count > 0 for count in counts[1:]) and -1 in counts


def test_extradata_anew() -> None:
    """Each part after its own extradata, whatever its lengths or start codes, is read as if it stood alone."""
    first = encode("bframes=0:ref=1", frames=10, container="mp4")
    second = encode("bframes=2:ref=4:b-adapt=0", frames=10, container="mp4", width=90)
    data, packets = encode("bframes=0:ref=3:repeat-headers=0", frames=10, container="matroska")
    short = bytearray(data)
    short[4] &= 0xFD  # two bytes
    parts = [first, second, (bytes(short), [two_bytes(packet) for packet in packets]), (b"", encode("ref=2")[1]), first]
    reader, last = _motion.H264Headers(first[0]), -1
    for extradata, stored in parts:
        if not extradata:  # start codes: their parameter sets are in the first packet, too
            units = stored[0].split(b"\0\0\0\1")
            extradata = b"".join(b"\0\0\0\1" + unit for unit in units if unit and unit[0] & 31 in (7, 8))
        reader.set_extradata(extradata)
        assert reader.extradata_error == ""
        alone = read(extradata, stored)
        start = last + 1
        for expected, packet in zip(alone, stored, strict=True):
            picture = reader.push(packet)
            last = picture.index
            assert picture.error == "" and picture.gap == 0 and picture.index == start + expected.index
            assert picture.past == tuple(start + i for i in expected.past)
            assert picture.future == tuple(start + i for i in expected.future)
            assert (picture.kind, picture.poc, picture.size) == (expected.kind, expected.poc, expected.size)
            assert picture.changed == (expected.index == 0 and start > 0)


def two_bytes(packet: bytes) -> bytes:
    """NAL lengths of two bytes in place of four."""
    out, at = b"", 0
    while at < len(packet):
        size = int.from_bytes(packet[at : at + 4], "big")
        out += size.to_bytes(2, "big") + packet[at + 4 : at + 4 + size]
        at += 4 + size
    return out


def test_extradata_that_cannot_be_read() -> None:
    extradata, packets = encode("bframes=0:ref=1", frames=4, container="mp4")
    reader = _motion.H264Headers(extradata)
    reader.set_extradata(b"")
    assert reader.push(packets[0]).error == "" and reader.extradata_error == ""
    for broken in (extradata[:9], extradata[:6], b"nonsense"):
        reader.set_extradata(broken)
        assert reader.extradata_error
    reader.set_extradata(extradata)
    assert reader.extradata_error == "" and reader.push(packets[1]).past == (0,)
    with pytest.raises(TypeError, match="contiguous buffer"):
        reader.set_extradata(None)


def test_a_box_as_a_packet() -> None:
    extradata, packets = encode("bframes=0:ref=1", frames=4, container="mp4")
    reader = _motion.H264Headers(extradata)
    assert reader.push(packets[0]).idr
    box = reader.push(extradata)
    assert (box.kind, box.slices, box.error) == ("", 0, "")
    assert reader.push(packets[1]).past == (0,)


def test_buffers() -> None:
    _, packets = encode("bframes=0", frames=4)
    data = packets[0]
    spread: Any = np.repeat(np.frombuffer(data, np.uint8), 2)[::2]
    right: list[Any] = [data, bytearray(data), memoryview(data), np.frombuffer(data, np.uint8), av.Packet(data)]
    for good in right:
        picture = _motion.H264Headers().push(good)
        assert picture.idr and picture.kind == "I" and picture.index == 0
    wrong: list[Any] = [None, 7, "text", [1, 2], memoryview(spread)]
    for bad in wrong:
        with pytest.raises(TypeError, match="contiguous buffer"):
            _motion.H264Headers(b"").push(bad)
        with pytest.raises(TypeError, match="contiguous buffer"):
            _motion.H264Headers(bad)


def test_what_is_missing() -> None:
    extradata, packets = encode("bframes=0", frames=4, container="mp4")
    reader = _motion.H264Headers(extradata[:9])
    assert "PPS 0 is missing" in reader.push(packets[0]).error and "avcC" in reader.push(packets[0]).error
    reader = _motion.H264Headers(extradata)
    assert reader.push(packets[0]).error == ""
    cut = reader.push(packets[1][:-1])
    assert cut.kind == "" and "longer than the packet" in cut.error and cut.past == () and cut.size == (0, 0)
    after = reader.push(packets[2])
    assert after.gap == 1 and after.index == 2 and after.error == ""
    empty = reader.push(b"")
    assert empty.kind == "" and empty.error == "" and empty.started and empty.slices == 0
    assert (
        repr(after).startswith("<H264Picture 2: P 96x80 frame_num 2 ") and repr(empty) == "<H264Picture 3: no picture>"
    )


@settings(max_examples=60)
@given(data=st.data())
def test_any_bytes(data: st.DataObject) -> None:
    extradata, packets = STORED[data.draw(st.integers(0, 1))]
    reader = _motion.H264Headers(extradata if data.draw(st.booleans()) else data.draw(st.binary(max_size=40)))
    for index, packet in enumerate(packets):
        damaged = bytearray(packet[:200])
        for _ in range(data.draw(st.integers(0, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        picture = reader.push(damaged)
        assert picture.index == index and picture.kind in ("", "I", "P", "B") and repr(picture)
        assert all(0 <= i < index for i in picture.past + picture.future)


STORED: list[tuple[bytes, list[bytes]]] = []


@pytest.fixture(scope="module", autouse=True)
def stored() -> None:
    STORED.extend(encode("bframes=3:ref=4", frames=10, container=container) for container in ("", "mp4"))
