"""Times that go on where recordings were joined, clocks set anew or timestamps left out."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.video_clips import busy_scene
from typer.testing import CliRunner

from arseg.cli.app import app
from arseg.inspect.reading import inspect
from arseg.inspect.report import report
from arseg.video import Discontinuity, VideoFrame, VideoReader, VideoWriter, transcode
from arseg.video.pictures import Coded, Decoded
from arseg.video.timeline import Timeline

TICKS = Fraction(1, 1000)
PICTURE = av.VideoFrame(16, 16, "gray")
HOUR = 3600_000

# The timeline alone -------------------------------------------------------------------------------------------------


def frame(pts: int | None, duration: int = 40, time_base: Fraction = TICKS, hidden: bool = False) -> Decoded:
    return Decoded(PICTURE, Coded(0), None, pts, time_base, duration=duration, hidden=hidden)


def follow(*stamps: int | None, duration: int = 40, timed: bool = True) -> tuple[list[int | None], list[Discontinuity]]:
    found: list[Discontinuity] = []
    timeline = Timeline(Fraction(25), found.append)
    frames = timeline.follow([frame(pts, duration) for pts in stamps], timed=timed)
    return [decoded.pts for decoded in frames], found


@pytest.mark.parametrize(
    "stamps",
    [
        (0, 40, 80, 120),
        (-80, -40, 0, 40),
        (7, 8, 500, 501, 60_000, HOUR, HOUR + 3_500_000),  # a variable rate, a still picture of almost an hour
        (10 * HOUR, 10 * HOUR + 40),
        (),
        (5,),
    ],
)
def test_times_that_rise_stay(stamps: tuple[int, ...]) -> None:
    assert follow(*stamps) == (list(stamps), [])


def test_times_that_start_again() -> None:
    times, found = follow(0, 40, 80, 0, 40, 80, 0, 40, 540)
    assert times == [0, 40, 80, 120, 160, 200, 240, 280, 780]
    assert found == [Discontinuity(3, -0.12), Discontinuity(6, -0.12)]
    assert str(found[0]) == (
        "frame 3: timestamps jump back by 0.12 s (shifted from here on to follow the frame before)"
    )
    assert follow(1000, 1040, 0)[0] == [1000, 1040, 1080]
    assert follow(0, 40, 80, 120, 0, 40)[0] == [0, 40, 80, 120, 160, 200]
    assert follow(1000, 1020, 0, 20, duration=20)[0] == [1000, 1020, 1040, 1060]


def test_a_duration_that_is_not_known_is_that_of_the_rate() -> None:
    assert follow(0, 33, 0, 33, duration=0)[0] == [0, 33, 73, 106]


def test_a_clock_that_jumps_ahead() -> None:
    times, found = follow(0, 40, 10 * HOUR, 10 * HOUR + 40)
    assert times == [0, 40, 80, 120]
    assert found == [Discontinuity(2, 35999.92)]
    assert "jump ahead by 35999.92 s" in str(found[0])


def test_one_timestamp_out_of_place() -> None:
    """The others keep their times."""
    assert follow(0, 40, 40, 120) == ([0, 40, 80, 120], [Discontinuity(2, -0.04, lasting=False)])
    assert follow(0, 40, 40, 80, 120)[0] == [0, 40, 60, 80, 120]
    assert follow(0, 40, 80, 60, 160, 200)[0] == [0, 40, 80, 120, 160, 200]
    times, found = follow(0, 40, 95 * HOUR, 120, 160)
    assert times == [0, 40, 80, 120, 160]
    assert str(found[0]).startswith("frame 2: its timestamp is out of place by 341999.92 s")


def test_no_room_between_neighbours() -> None:
    assert follow(0, 1, 1, 2, 3, duration=1)[0] == [0, 1, 2, 3, 4]


def test_timestamps_that_are_missing() -> None:
    assert follow(0, None, None, 120, None) == ([0, 40, 80, 120, 160], [])
    assert follow(None, None, 200, 240) == ([120, 160, 200, 240], [])
    assert follow(0, 40, None, 0, None, 80)[0] == [0, 40, 80, 120, 160, 200]
    assert follow(None, None, None, timed=False) == ([None] * 3, [])
    assert follow(None, None, None) == ([None] * 3, [])
    assert follow(None, None, 200, timed=False)[0] == [None, None, 200]
    late = follow(*[None] * 40, 2000, 2040)[0]
    assert late[:24] == [None] * 24 and late[24:] == list(range(2000 - 16 * 40, 2041, 40))


def test_frames_come_as_soon_as_their_time_is_known() -> None:
    taken = []

    def source() -> Iterator[Decoded]:
        for pts in (0, 40, 10, 50, 90):
            taken.append(pts)
            yield frame(pts)

    seen = [(decoded.pts, len(taken)) for decoded in Timeline(Fraction(25), print).follow(source())]
    assert seen == [(0, 1), (40, 2), (80, 4), (120, 4), (160, 5)]


def test_from_connection_to_connection() -> None:
    found: list[Discontinuity] = []
    timeline = Timeline(Fraction(25), found.append)
    first = [decoded.pts for decoded in timeline.follow([frame(0), frame(40), frame(0)])]
    fine = Fraction(1, 90_000)
    again = [frame(3600 * i, 3600, fine) for i in range(2)]
    second = [decoded.pts for decoded in timeline.follow(again)]
    third = [decoded.pts for decoded in timeline.follow([frame(5000), frame(5040)])]  # its clock went on
    assert first == [0, 40, 80] and second == [120 * 90, 160 * 90]
    assert third == [5120, 5160]
    assert [jump.frame for jump in found] == [2, 3]


def test_hidden_frames_are_not_on_the_axis() -> None:
    found: list[Discontinuity] = []
    frames = [frame(-80, hidden=True), frame(0), frame(3, hidden=True), frame(40), frame(0), frame(0, hidden=True)]
    times = [decoded.pts for decoded in Timeline(Fraction(25), found.append).follow(frames)]
    assert times == [-80, 0, 3, 40, 80, 0] and found == [Discontinuity(2, -0.08)]


# Files ---------------------------------------------------------------------------------------------------------------

SIZE, COUNT, RATE = (48, 64), 18, 25
STEP = Fraction(1, RATE)


def made(path: Path, codec: str, start: float = 0, **settings: Any) -> Path:
    """A clip of 18 frames whose first comes at `start` seconds."""
    with av.open(str(path), "w", container_options={"muxpreload": "0", "muxdelay": "0"}) as container:
        stream = container.add_stream(codec, rate=RATE, options=settings.get("options", {}))
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 9, settings.get("b_frames", 0)
        if settings.get("interlaced"):
            stream.codec_context.flags |= av.codec.context.Flags.interlaced_dct
        for index, image in enumerate(busy_scene(COUNT, SIZE, seed=settings.get("seed", 0))):
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts, picture.time_base = index + round(start * RATE), STEP
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def joined(target: Path, *sources: Path) -> Path:
    target.write_bytes(b"".join(source.read_bytes() for source in sources))
    return target


def read(path: Path, **options: Any) -> tuple[list[VideoFrame], list[Discontinuity]]:
    with VideoReader(path, **options) as reader:
        frames = list(reader)
        assert reader.losses == []
        assert [f.index for f in frames] == list(range(len(frames)))
        return frames, reader.discontinuities


def steps(times: list[float | None]) -> set[float]:
    """Milliseconds from frame to frame."""
    known = [time for time in times if time is not None]
    assert len(known) == len(times)
    return {round((b - a) * 1000, 1) for a, b in pairwise(known)}


X264 = {"options": {"x264-params": "scenecut=0:b-adapt=0"}}
JOINED: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "H.264 in TS": ("ts", "libx264", X264, {}),
    "H.264 with B frames in TS": ("ts", "libx264", X264 | {"b_frames": 3}, {}),
    "MPEG-2 in TS": ("ts", "mpeg2video", {}, {}),
    "MPEG-2 with B frames in TS": ("ts", "mpeg2video", {"b_frames": 2}, {}),
    "MPEG-4 in TS": ("ts", "mpeg4", {}, {}),
    "MPEG-2 in PS": ("mpg", "mpeg2video", {}, {}),
    "MPEG-2 with B frames in VOB": ("vob", "mpeg2video", {"b_frames": 2}, {}),
    "MPEG-1 in PS": ("mpg", "mpeg1video", {"b_frames": 2}, {}),
    "H.264 in PS, most timestamps missing": ("mpg", "libx264", X264 | {"b_frames": 2}, {}),
    "interlaced, transcoded": ("ts", "mpeg2video", {"interlaced": True}, {"transcode": True}),
}


@pytest.mark.parametrize("kind", JOINED)
def test_recordings_one_behind_the_other(kind: str, tmp_path: Path) -> None:
    ending, codec, settings, options = JOINED[kind]
    parts = [made(tmp_path / f"{seed}.{ending}", codec, seed=seed, **settings) for seed in range(3)]
    path = joined(tmp_path / f"joined.{ending}", *parts)
    alone = [read(part, **options)[0] for part in parts]
    frames, found = read(path, **options)
    assert len(frames) == 3 * COUNT
    for a, b in zip(frames, [frame for each in alone for frame in each], strict=True):
        if options:
            continue  # deinterlaced with its neighbours, and in groups of the transcoder's
        assert np.array_equal(a.image, b.image), a.index
        assert (a.keyframe, a.frame_type, a.distance) == (b.keyframe, b.frame_type, b.distance), a.index
        assert (a.motion and a.motion.origin) == (b.motion and b.motion.origin), a.index
    assert steps([frame.time for frame in frames]) == {40}
    assert [frame.pts for frame in frames[:COUNT]] == [frame.pts for frame in alone[0]]
    assert [jump.frame for jump in found] == [COUNT, 2 * COUNT]
    assert all(jump.lasting and jump.seconds < 0 for jump in found)


@pytest.mark.parametrize("starts", [(36000, 1), (0, 36000), (1, 0.8)])
def test_a_camera_that_was_switched_off(starts: tuple[float, float], tmp_path: Path) -> None:
    """Also where FFmpeg takes a time that goes back by far for one that has run over, and adds 26 hours."""
    parts = [made(tmp_path / f"{i}.ts", "libx264", start, **X264) for i, start in enumerate(starts)]
    frames, found = read(joined(tmp_path / "joined.ts", *parts))
    assert steps([frame.time for frame in frames]) == {40}
    assert [jump.frame for jump in found] == [COUNT]


def test_a_gap_stays(tmp_path: Path) -> None:
    parts = [made(tmp_path / f"{i}.ts", "libx264", start, **X264) for i, start in enumerate((0, 60))]
    frames, found = read(joined(tmp_path / "joined.ts", *parts))
    assert steps([frame.time for frame in frames]) == {40, 60_000 - (COUNT - 1) * 40} and found == []


def test_a_counter_that_runs_over(tmp_path: Path) -> None:
    """Transport streams count 33 bits, 26 hours and a half."""
    path = made(tmp_path / "over.ts", "libx264", 2**33 / 90_000 - 0.3, **X264)
    frames, _ = read(path)
    assert steps([frame.time for frame in frames]) == {40}


@pytest.mark.parametrize("ending", ["avi", "asf"])
@pytest.mark.parametrize("b_frames", [1, 3])
def test_containers_that_know_the_order_of_decoding_alone(ending: str, b_frames: int, tmp_path: Path) -> None:
    path = made(tmp_path / f"clip.{ending}", "libx264", b_frames=b_frames, **X264)
    frames, found = read(path)
    assert len(frames) == COUNT and steps([frame.time for frame in frames]) == {40} and found == []


def test_raw_streams_have_no_times(tmp_path: Path) -> None:
    path = made(tmp_path / "clip.264", "libx264", **X264)
    frames, found = read(joined(tmp_path / "joined.264", path, path))
    assert {frame.pts for frame in frames} == {None} and found == []


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twice")
    parts = [made(folder / f"{seed}.ts", "libx264", b_frames=2, seed=seed, **X264) for seed in range(2)]
    return joined(folder / "joined.ts", *parts)


def times_in(path: Path) -> list[float | None]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def test_files_that_are_written(twice: Path, tmp_path: Path) -> None:
    said: list[str] = []
    assert transcode(twice, tmp_path / "encoded.mp4", remark=said.append) == 2 * COUNT
    assert steps(times_in(tmp_path / "encoded.mp4")) == {40}
    assert len(said) == 1 and said[0].startswith(f"{twice}: frame {COUNT}: timestamps jump back by ")
    with VideoReader(twice) as reader, VideoWriter.like(reader, tmp_path / "written.mp4") as writer:
        for frame in reader:
            writer.write(frame.image, frame.pts, frame.time_base)
    assert steps(times_in(tmp_path / "written.mp4")) == {40}


def test_the_jump_is_said(twice: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["encode", str(twice), "-o", str(tmp_path / "out.mp4")])
    assert result.exit_code == 0 and f"{twice}: frame {COUNT}: timestamps jump back by" in result.output
    found = inspect(twice)
    assert found.losses == () and len(found.discontinuities) == 1
    assert found.facts()["discontinuities"] == list(found.discontinuities)
    assert found.frames == 2 * COUNT and report(found)


def test_each_reading_tells_anew(twice: Path) -> None:
    with VideoReader(twice) as reader:
        for _ in range(2):
            assert len(list(reader)) == 2 * COUNT and len(reader.discontinuities) == 1
