"""Parameter sets that change in the middle of a stream: each part is read as if it stood alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.annex_b import annex_b
from helpers.joined import Part, find, flv, flv_sequence_header, mp4, part, short_lengths
from helpers.video_clips import busy_scene, write_av

from arseg.video import VideoFrame, VideoReader, transcode
from arseg.video.codecs.h264 import H264Headers
from arseg.video.codecs.hevc import available

SIZE, OTHER_SIZE = (64, 96), (96, 64)
ONE = "scenecut=0:ref=1:weightp=0"

# x264's settings, B frames, size. All have SPS 0 and PPS 0.
CODED: dict[str, tuple[str, int, tuple[int, int]]] = {
    "one reference": (ONE, 0, SIZE),
    "three references": ("scenecut=0:ref=3:weightp=0", 0, SIZE),
    "weighted": ("scenecut=0:ref=3:weightp=2", 0, SIZE),
    "B frames": ("scenecut=0:ref=4:b-adapt=0", 2, SIZE),
    "long group": (f"{ONE}:keyint=250:bframes=0", 0, SIZE),  # another log2_max_frame_num
    "small": (ONE, 0, OTHER_SIZE),
    "small with B frames": ("scenecut=0:b-adapt=0", 3, OTHER_SIZE),
}


def clip(path: Path, kind: str, seed: int = 0, count: int = 15) -> Path:
    params, b_frames, size = CODED[kind]
    frames = busy_scene(count, size, seed=seed)
    return write_av(path, frames, options={"x264-params": params}, b_frames=b_frames, gop=15)


def read(path: Path, **options: Any) -> list[VideoFrame]:
    with VideoReader(path, **options) as reader:
        frames = list(reader)
        assert reader.losses == []
    return frames


def assert_same(frames: list[VideoFrame], *parts: list[VideoFrame]) -> None:
    """Pictures, groups and fields of the parts, one after the other; times that rise."""
    expected = [frame for each in parts for frame in each]
    assert [frame.frame_type for frame in frames] == [frame.frame_type for frame in expected]
    for number, (a, b) in enumerate(zip(frames, expected, strict=True)):
        assert np.array_equal(a.image, b.image), number
        assert (a.keyframe, a.distance, a.references) == (b.keyframe, b.distance, b.references), number
        assert (a.motion is None) == (b.motion is None), number
        if a.motion is not None and b.motion is not None:
            assert a.motion.origin == b.motion.origin, number
            assert np.array_equal(a.motion.vectors, b.motion.vectors), number
    times = [frame.time for frame in frames if frame.time is not None]
    assert times == sorted(set(times)) and len(times) in (0, len(frames))


def joined_flv(path: Path, *sources: Path) -> Path:
    return flv(path.with_suffix(".flv"), *sources)


def joined_mp4(path: Path, *sources: Path) -> Path:
    return mp4(path.with_suffix(".mp4"), *map(part, sources))


def joined_in_band(path: Path, *sources: Path) -> Path:
    target = path.with_suffix(".264")
    target.write_bytes(b"".join(map(annex_b, sources)))
    return target


CONTAINERS: dict[str, tuple[str, Callable[..., Path]]] = {
    "side data in FLV": ("flv", joined_flv),
    "sample descriptions in MP4": ("mp4", joined_mp4),
    "in the stream": ("mp4", joined_in_band),
}
PAIRS = [
    ("one reference", "three references"),
    ("three references", "one reference"),
    ("one reference", "B frames"),
    ("B frames", "one reference"),
    ("one reference", "weighted"),
    ("long group", "one reference"),
    ("three references", "small"),
    ("small with B frames", "three references"),
]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("pair", PAIRS, ids=" then ".join)
def test_each_part_is_as_it_is_alone(container: str, pair: tuple[str, str], tmp_path: Path) -> None:
    ending, join = CONTAINERS[container]
    first = clip(tmp_path / f"first.{ending}", pair[0])
    second = clip(tmp_path / f"second.{ending}", pair[1], seed=7)
    path = join(tmp_path / "joined", first, second)
    if container != "in the stream":
        with av.open(str(path)) as source:
            brought = [packet.has_sidedata("new_extradata") for packet in source.demux(video=0) if packet.size]
        assert brought.index(True, 1) == 15
    assert_same(read(path), read(first), read(second))


@pytest.mark.parametrize(("name", "reorders"), [("one reference", False), ("B frames", True)])
def test_what_the_first_picture_asks_of_the_decoder(name: str, reorders: bool, tmp_path: Path) -> None:
    """Where FFmpeg says that there are none, as it does where B frames end within what it looks at."""
    path = clip(tmp_path / "first.flv", name)
    joined = joined_flv(tmp_path / "joined", path, clip(tmp_path / "second.flv", "one reference", seed=7))
    with av.open(str(joined)) as container:
        stream = container.streams.video[0]
        assert not stream.codec_context.has_b_frames
        headers = H264Headers(stream.codec_context.extradata)
        coded = [headers.push(packet, i) for i, packet in enumerate(p for p in container.demux(stream) if p.size)]
    assert [i for i, picture in enumerate(coded) if picture.afresh] == ([0] if reorders else [])


@pytest.mark.slow
def test_b_frames_that_come_late(tmp_path: Path) -> None:
    """Later than where FFmpeg looks for them at the start: threads that decode several frames at once are chosen then,
    and hand out vectors of frames that are put in order before they are there."""
    first = clip(tmp_path / "first.flv", "one reference", count=180)
    second = clip(tmp_path / "second.flv", "B frames", seed=7, count=24)
    path = joined_flv(tmp_path / "joined", first, second)
    with av.open(str(path)) as container:
        assert not container.streams.video[0].codec_context.has_b_frames
    expected = read(first), read(second)
    for _ in range(4):
        assert_same(read(path), *expected)


def test_lengths_of_another_size(tmp_path: Path) -> None:
    """NAL lengths of four, two, and four bytes: the sample descriptions say so."""
    first = clip(tmp_path / "first.mp4", "one reference")
    second = clip(tmp_path / "second.mp4", "three references", seed=7)
    parts = part(first), short_lengths(part(second)), part(first)
    path = mp4(tmp_path / "joined.mp4", *parts)
    assert_same(read(path), read(first), read(second), read(first))


def test_the_encoder_starts_anew_with_the_same_settings(tmp_path: Path) -> None:
    first = clip(tmp_path / "first.flv", "three references")
    path = joined_flv(tmp_path / "joined", first, first, first)
    assert_same(read(path), *[read(first)] * 3)


def test_resync_and_transcoding(tmp_path: Path) -> None:
    first = clip(tmp_path / "first.flv", "one reference")
    second = clip(tmp_path / "second.flv", "B frames", seed=7)
    path = joined_flv(tmp_path / "joined", first, second)
    expected = read(first), read(second)
    assert_same(read(path, on_error="resync"), *expected)
    assert transcode(path, tmp_path / "out.mp4") == 30
    assert len(read(tmp_path / "out.mp4")) == 30


def test_parameter_sets_that_cannot_be_read_make_nothing_exact(tmp_path: Path) -> None:
    """The decoder goes on with those before, which fit here; but nobody knows that they do."""
    first = clip(tmp_path / "first.flv", "one reference")
    whole = joined_flv(tmp_path / "joined", first, first, first)
    avcc = find(clip(tmp_path / "first.mp4", "one reference").read_bytes(), *b"moov trak mdia minf stbl stsd".split())
    avcc = avcc[avcc.index(b"avcC") + 4 :]
    for broken in (avcc[:12], avcc[:6] + b"\xff\xff" + avcc[8:]):
        path = tmp_path / "broken.flv"
        path.write_bytes(flv_sequence_header(whole.read_bytes(), {1: broken}))
        frames = read(path)
        assert len(frames) == 45
        origins = [frame.motion and frame.motion.origin for frame in frames]
        assert set(origins[1:15]) == set(origins[31:]) == {"exact"}
        assert set(origins[16:30]) == {"inferred"}


def test_a_box_in_place_of_a_picture(tmp_path: Path) -> None:
    """Some streams have the new avcC box as a packet of its own; FFmpeg's decoder reads it."""
    first = part(clip(tmp_path / "first.mp4", "one reference"))
    second = short_lengths(part(clip(tmp_path / "second.mp4", "three references", seed=7)))
    boxes = [each.description[each.description.index(b"avcC") + 4 :] for each in (first, second)]
    size = int.from_bytes(second.description[second.description.index(b"avcC") - 4 :][:4], "big")
    samples = [sample[0] for sample in first.samples] + [boxes[1][: size - 8]] + [s[0] for s in second.samples]
    headers = H264Headers(boxes[0])
    coded = [headers.push(av.Packet(sample), index) for index, sample in enumerate(samples)]
    assert coded[15] is None
    alone = H264Headers(boxes[1])
    for index, (sample, _, _, _) in enumerate(second.samples, 16):
        expected, found = alone.push(av.Packet(sample), index), coded[index]
        assert expected is not None and found is not None
        assert (found.past, found.gap, found.reference) == (expected.past, 0, expected.reference)


OTHERS: dict[str, tuple[str, dict[str, str]]] = {
    "MPEG-4": ("mpeg4", {}),
    "MPEG-2": ("mpeg2video", {}),
    "MPEG-1": ("mpeg1video", {}),
}


@pytest.mark.parametrize("b_frames", [(0, 2), (2, 0)])
@pytest.mark.parametrize("kind", OTHERS)
def test_other_codecs(kind: str, b_frames: tuple[int, int], tmp_path: Path) -> None:
    """FFmpeg's decoders lose the last picture before another size, and MPEG-4's takes no new extradata."""
    codec, options = OTHERS[kind]
    paths = [
        write_av(tmp_path / f"{i}.mp4", busy_scene(14, size, seed=i), codec=codec, options=options, b_frames=b, gop=6)
        for i, (size, b) in enumerate(zip((SIZE, OTHER_SIZE), b_frames, strict=True))
    ]
    path = mp4(tmp_path / "joined.mp4", *map(part, paths))
    assert_same(read(path), *map(read, paths))


@pytest.mark.skipif("libx265" not in av.codecs_available, reason="this build of FFmpeg has no HEVC encoder")
def test_hevc(tmp_path: Path) -> None:
    """As it is where this build reads HEVC, else transcoded; the decoder takes new extradata."""
    sizes, params = (SIZE, OTHER_SIZE), ("log-level=none:ref=1:bframes=0", "log-level=none:ref=3")
    paths = [
        write_av(tmp_path / f"{i}.mp4", busy_scene(14, sizes[i], seed=i), codec="libx265", options={"x265-params": p})
        for i, p in enumerate(params)
    ]
    path = mp4(tmp_path / "joined.mp4", *map(part, paths))
    frames, parts = read(path, transcode=True), [read(each, transcode=True) for each in paths]
    if available():
        assert_same(frames, *parts)
        assert {frame.motion.origin for frame in frames if frame.motion} == {"exact"}
    expected = [frame.image for each in parts for frame in each]
    assert len(frames) == 28 and all(np.array_equal(a.image, b) for a, b in zip(frames, expected, strict=True))


@pytest.mark.skipif(not available(), reason="arseg._hevc is not built (docs/hevc.md)")
def test_hevc_parameter_sets_that_cannot_be_read(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none:bframes=0"}
    whole = part(write_av(tmp_path / "0.mp4", busy_scene(14, SIZE), codec="libx265", options=options))
    at = whole.description.index(b"hvcC") + 4 + 23
    broken = Part(whole.description[: at + 1] + b"\xff\xff" + whole.description[at + 3 :], whole.samples, 15360)
    with VideoReader(mp4(tmp_path / "joined.mp4", whole, broken, whole), on_error="resync") as reader:
        frames = list(reader)
    assert len(frames) == 28 or reader.losses == []
    origins = [frame.motion and frame.motion.origin for frame in frames]
    assert set(origins[:14]) == set(origins[-14:]) == {None, "exact"} and "exact" not in origins[14:-14]
    for a, b in zip(frames[:14], frames[-14:], strict=True):
        assert np.array_equal(a.image, b.image)
        assert a.motion is None or np.array_equal(a.motion.vectors, b.motion.vectors)  # type: ignore[union-attr]
