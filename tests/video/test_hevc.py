"""Exact vectors of HEVC: the optional module arseg._hevc."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.video_clips import busy_scene, pan, psnr, write_av

from arseg.video import VideoReader
from arseg.video.motion import RECORD

_hevc = pytest.importorskip(
    "arseg._hevc", reason="arseg._hevc is not built: set ARSEG_LIBDE265 and build again (docs/hevc.md)"
)
pytestmark = pytest.mark.skipif(
    "libx265" not in av.codecs_available, reason="this build of FFmpeg has no HEVC encoder to make clips with"
)


def encode(path: Path, frames: list[np.ndarray], x265: str = "", pixels: str = "yuv420p", crf: int = 22) -> Path:
    options = {"x265-params": f"log-level=none:pools=1:frame-threads=1:{x265}", "crf": str(crf)}
    return write_av(path, frames, codec="libx265", pixels=pixels, options=options, gop=250, b_frames=3)


def demux(path: Path) -> tuple[bytes | None, list[bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.codec_context.extradata, [bytes(p) for p in container.demux(stream) if p.size]


def read(path: Path, **options: Any) -> list[Any]:
    """The pictures by packet number; packets are handed over as PyAV gives them."""
    pictures = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        vectors = _hevc.HevcVectors(stream.codec_context.extradata, **options)
        for index, packet in enumerate(p for p in container.demux(stream) if p.size):
            vectors.push(packet, index)
            pictures += vectors.pull()
    vectors.flush()
    pictures += vectors.pull()
    assert vectors.pull() == []
    return sorted(pictures, key=lambda picture: picture.index)


def read_with_ffmpeg(path: Path) -> dict[int, np.ndarray]:
    """FFmpeg's luma by packet number, in the order of presentation."""
    frames = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        index = 0
        for packet in container.demux(stream):
            if packet.size:
                packet.pts, index = index, index + 1
            for frame in packet.decode():
                plane, dtype = frame.planes[0], np.dtype("<u2" if "10" in frame.format.name else "u1")
                rows = np.frombuffer(plane, dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
                assert frame.pts is not None
                frames[frame.pts] = rows[:, : frame.width].copy()
    return frames


STREAMS = {
    "one reference": ("bframes=0:keyint=12:ref=1", "yuv420p", "mp4"),
    "three references": ("bframes=0:keyint=12:ref=3", "yuv420p", "mp4"),
    "defaults": ("", "yuv420p", "mp4"),
    "b-pyramid": ("bframes=4:b-pyramid=1:b-adapt=0:keyint=16:ref=4", "yuv420p", "mkv"),
    "closed gop": ("bframes=3:b-adapt=0:keyint=12:open-gop=0", "yuv420p", "mp4"),
    "open gop": ("bframes=3:b-adapt=0:keyint=12:open-gop=1", "yuv420p", "hevc"),
    "weights": ("bframes=3:weightb=1:weightp=1:ref=3", "yuv420p", "ts"),
    "rectangles": ("bframes=0:keyint=12:rect=1:amp=1", "yuv420p", "mp4"),
    "slices": ("slices=3:bframes=2:keyint=12", "yuv420p", "mp4"),
    "10 bit": ("bframes=2", "yuv420p10le", "mp4"),
    "4:4:4": ("bframes=2", "yuv444p", "mp4"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_pictures_are_those_of_ffmpeg(tmp_path: Path, name: str) -> None:
    x265, pixels, ending = STREAMS[name]
    scene = busy_scene(26, (182, 262))  # a size that needs a conformance window
    if name == "weights":
        scene = [(frame * (0.4 + 0.02 * i)).astype(np.uint8) for i, frame in enumerate(scene)]
    path = encode(tmp_path / f"a.{ending}", scene, x265, pixels)
    pictures, frames = read(path, luma=True), read_with_ffmpeg(path)
    assert [p.index for p in pictures] == sorted(frames) == list(range(26))
    for picture in pictures:
        assert np.array_equal(picture.luma(), frames[picture.index])
        assert picture.size == (262, 182) and picture.crop[:2] == (0, 0) and picture.error == ""
    groups = np.cumsum([p.idr for p in pictures])
    shown = sorted(pictures, key=lambda p: (groups[p.index], p.poc))
    assert [p.index for p in shown] == list(frames)
    # without the samples, and with threads, it must come to the same
    for options in ({}, {"threads": 2}):
        for picture, other in zip(pictures, read(path, **options), strict=True):
            assert (picture.index, picture.poc, picture.kind) == (other.index, other.poc, other.kind)
            assert (picture.past, picture.future, other.error) == (other.past, other.future, "")
            assert np.array_equal(picture.records, other.records)


def test_records(tmp_path: Path) -> None:
    pictures = read(encode(tmp_path / "a.mp4", busy_scene(26, (182, 262)), "bframes=3:b-adapt=0:keyint=12"))
    poc = {p.index: p.poc for p in pictures}
    assert pictures[0].kind == "I" and pictures[0].idr and pictures[0].irap and len(pictures[0].records) == 0
    assert {p.kind for p in pictures} == {"I", "P", "B"}
    for picture in pictures:
        r = picture.records
        assert r.dtype == RECORD and not r.flags.writeable
        assert np.all(r["motion_scale"] == 4) and np.all((r["source"] == -1) | (r["source"] == 1))
        left, top = r["dst_x"] - r["w"] // 2, r["dst_y"] - r["h"] // 2
        assert np.all(left >= 0) and np.all(top >= 0)
        assert np.all(left + r["w"] <= 262 + picture.crop[2]) and np.all(top + r["h"] <= 182 + picture.crop[3])
        assert np.all(r["src_x"] == r["dst_x"] + np.trunc(r["motion_x"] / 4))
        for source, references in ((-1, picture.past), (1, picture.future)):
            mine = r[r["source"] == source]
            assert np.all(mine["flags"] >= 1) and np.all(mine["flags"] <= max(len(references), 1))
            covered = np.zeros((184, 264), int)
            for block in mine:
                x, y = block["dst_x"] - block["w"] // 2, block["dst_y"] - block["h"] // 2
                covered[y : y + block["h"], x : x + block["w"]] += 1
            assert covered.max() <= 1
        assert len(set(picture.past)) == len(picture.past) and all(i < picture.index for i in picture.past)
        if picture.kind == "P":
            assert picture.future == () and all(poc[i] < picture.poc for i in picture.past)


@pytest.mark.parametrize("move", [(3, -2), (0, 1), (0.75, 0.25), (-1.5, 2.25)])
@pytest.mark.parametrize("references", [1, 3])
def test_a_pan_gives_its_motion(tmp_path: Path, move: tuple[float, float], references: int) -> None:
    """With three references two scenes take turns, so that the one to predict from is not the frame before."""
    size = (192, 256)
    frames = pan(14, size, *move)
    if references == 3:
        frames[1::2] = pan(14, size, *move, seed=1)[1::2]
    x265 = f"bframes=0:keyint=50:ref={references}:weightp=0:scenecut=0:me=full:subme=7"
    pictures = read(encode(tmp_path / "a.mp4", frames, x265, crf=8))
    right = total = 0
    for picture in pictures[references:]:
        assert len(picture.past) == references
        r = picture.records
        r = r[(r["dst_x"] > 48) & (r["dst_x"] < size[1] - 48) & (r["dst_y"] > 48) & (r["dst_y"] < size[0] - 48)]
        distance = picture.index - np.array(picture.past)[r["flags"].astype(int) - 1]
        error_x = np.abs(r["motion_x"] + 4 * move[0] * distance)
        error_y = np.abs(r["motion_y"] + 4 * move[1] * distance)
        area = r["w"].astype(int) * r["h"]
        scene = 1 if references == 1 else 2
        right += int(area[(error_x == 0) & (error_y == 0) & (distance == scene)].sum())
        total += int(area.sum())
    assert total > 0 and right / total > 0.97, right / total


def test_records_predict_the_picture(tmp_path: Path) -> None:
    """The block that a record names is like the block it belongs to; the same block of another reference less so."""
    path = encode(tmp_path / "a.mp4", busy_scene(26, (192, 256)), "bframes=3:b-adapt=0:ref=3:keyint=50", crf=16)
    frames = {index: np.pad(luma.astype(float), 64, mode="edge") for index, luma in read_with_ffmpeg(path).items()}
    named, other = [], []
    for picture in read(path):
        for r in picture.records:
            references = picture.past if r["source"] < 0 else picture.future
            x, y = 64 + r["dst_x"] - r["w"] // 2, 64 + r["dst_y"] - r["h"] // 2
            mx, my = round(r["motion_x"] / 4), round(r["motion_y"] / 4)
            if not (-60 < mx < 60 and -60 < my < 60) or len(references) < 2:
                continue
            block = frames[picture.index][y : y + r["h"], x : x + r["w"]]
            for position, index in enumerate(references, start=1):
                from_there = frames[index][y + my : y + my + r["h"], x + mx : x + mx + r["w"]]
                if from_there.shape == block.shape:
                    (named if position == r["flags"] else other).append(psnr(block, from_there))
    assert len(named) > 500
    assert np.mean(named) > np.mean(other) + 5


def test_annex_b_parameter_sets_may_come_first(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.hevc", pan(6, (96, 128), 2, 1), "bframes=0")
    _, packets = demux(path)
    whole = b"".join(packets)
    first_slice = re.search(rb"\x00\x00\x01[\x26\x28\x2a]", whole)
    assert first_slice is not None
    vectors = _hevc.HevcVectors(whole[: first_slice.start()])
    for index, packet in enumerate(packets):
        vectors.push(memoryview(packet), index + 100)
    vectors.flush()
    assert [p.index for p in vectors.pull()] == list(range(100, 106))


def test_a_stream_cut_into_leaves_out_what_cannot_be_decoded(tmp_path: Path) -> None:
    extradata, packets = demux(encode(tmp_path / "a.mp4", busy_scene(40, (96, 128)), "bframes=3:b-adapt=0:keyint=12"))
    pictures = read(tmp_path / "a.mp4")
    start = next(p.index for p in pictures[1:] if p.irap and not p.idr)
    vectors = _hevc.HevcVectors(extradata)
    for index, packet in enumerate(packets[start:], start=start):
        vectors.push(packet, index)
    vectors.flush()
    cut = {p.index: p for p in vectors.pull()}
    leading = {p.index for p in pictures[start:] if p.poc < pictures[start].poc}
    assert leading and set(cut) == set(range(start, 40)) - leading
    for index, picture in cut.items():
        assert picture.error == "" and np.array_equal(picture.records, pictures[index].records)


def test_a_lost_reference_is_told(tmp_path: Path) -> None:
    extradata, packets = demux(encode(tmp_path / "a.mp4", busy_scene(10, (96, 128)), "bframes=0:ref=1:keyint=50"))
    vectors = _hevc.HevcVectors(extradata)
    for index, packet in enumerate(packets):
        if index != 4:
            vectors.push(packet, index)
    vectors.flush()
    pictures = {p.index: p for p in vectors.pull()}
    assert [pictures[i].error == "" for i in range(4)] == [True] * 4
    assert "missing" in pictures[5].error and pictures[5].past == () and len(pictures[5].records) == 0


def test_bad_use(tmp_path: Path) -> None:
    extradata, packets = demux(encode(tmp_path / "a.mp4", pan(4, (96, 128), 2, 1), "bframes=0"))
    assert extradata is not None
    with pytest.raises(ValueError, match="hvcC"):
        _hevc.HevcVectors(extradata[:40])
    with pytest.raises(ValueError, match="threads"):
        _hevc.HevcVectors(extradata, threads=-1)
    with pytest.raises(TypeError):
        _hevc.HevcVectors(extradata).push("text", 0)
    vectors = _hevc.HevcVectors(extradata)
    with pytest.raises(ValueError, match="packet 7 cannot be decoded"):
        vectors.push(b"nonsense", 7)
    vectors.push(b"", 8)
    for index, packet in enumerate(packets):
        vectors.push(packet, index)
    vectors.flush()
    vectors.flush()
    pictures = vectors.pull()
    assert len(pictures) == 4
    with pytest.raises(ValueError, match="flush"):
        vectors.push(packets[0], 9)
    with pytest.raises(ValueError, match="luma"):
        pictures[0].luma()
    del vectors
    records = pictures[1].records
    del pictures
    assert np.all(records["motion_scale"] == 4)


@pytest.mark.parametrize("ending", ["mp4", "hevc"])
def test_damaged_streams_do_no_harm(tmp_path: Path, ending: str) -> None:
    x265 = "bframes=3:b-adapt=0:keyint=8:ref=3:slices=2"
    extradata, packets = demux(encode(tmp_path / f"a.{ending}", busy_scene(12, (96, 128)), x265))
    header = extradata or b""
    rng = np.random.default_rng(0)
    came = 0
    for _ in range(100):
        damaged = []
        for packet in packets:
            data = np.frombuffer(packet, np.uint8).copy()
            for _ in range(rng.integers(0, 3)):
                data[rng.integers(0, len(data))] ^= 1 << rng.integers(0, 8)
            damaged.append(data[: rng.integers(0, len(data) + 1) if rng.random() < 0.1 else len(data)].tobytes())
        start = bytearray(header)
        if header and rng.random() < 0.3:
            start[rng.integers(0, len(start))] ^= 1 << rng.integers(0, 8)
        try:
            vectors = _hevc.HevcVectors(bytes(start))
        except ValueError:
            continue
        for index, packet in enumerate(damaged):
            if rng.random() < 0.05:
                continue
            try:
                vectors.push(packet, index)
            except ValueError as error:
                assert f"packet {index} cannot be decoded" in str(error)
        vectors.flush()
        for picture in vectors.pull():
            came += 1
            assert isinstance(picture.error, str)
            r = picture.records
            assert np.all(r["w"] <= 64) and np.all(r["h"] <= 64) and np.all(r["dst_x"] >= r["w"] // 2)
            assert np.all(r["flags"] >= 1)
    assert came > 200


def test_two_streams_at_once(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", busy_scene(20, (96, 128)), "bframes=2")
    expected = [p.records for p in read(path)]
    results: list[list[np.ndarray]] = []
    threads = [threading.Thread(target=lambda: results.append([p.records for p in read(path)])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        assert all(np.array_equal(a, b) for a, b in zip(expected, result, strict=True))


@pytest.mark.parametrize("x265", ["bframes=0:ref=1:keyint=12", "bframes=0:ref=3:keyint=12", "bframes=3:keyint=12"])
def test_the_reader_is_exact(tmp_path: Path, x265: str) -> None:
    """Whatever the references: every field exact, and the content's motion at every distance."""
    path = encode(tmp_path / "pan.mp4", pan(24, (144, 176), 2, -1), x265, crf=8)
    with VideoReader(path, gop=12) as reader:
        frames = list(reader)
    assert len(frames) == 24 and reader.losses == [] and reader.transcoding is None
    for frame in frames:
        if frame.motion is not None:
            assert frame.motion.origin == "exact" and frame.distance < 12
            inner = frame.motion.vectors[10:-10, 10:-10].reshape(-1, 2)
            right = np.abs(inner - [-8 * frame.distance, 4 * frame.distance]).max(axis=1) <= 1
            assert right.mean() > 0.95, frame.index
