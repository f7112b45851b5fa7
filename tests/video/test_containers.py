"""Where a video is written: every container reads back as it was, or is refused in a true sentence before the work."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.video_clips import luma, pan, psnr

from arseg.errors import InputError
from arseg.files import BusyError, part_of
from arseg.video import OutputError, VideoReader, VideoWriter, encode, transcode
from arseg.video.names import output_path

FRAMES = pan(8, (48, 64), 3, 2)
ENDINGS = [".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".ts", ".mts", ".m2ts", ".flv", ".nut", ".MP4", ".Mkv"]
MILLISECONDS = {".mkv", ".flv"}
REFUSED = {
    ".webm": "cannot hold H.264",
    ".gif": "cannot hold H.264",
    ".avi": "does not keep the times",
    ".wmv": "does not keep the times",
    ".mpg": "does not keep the times",
    ".mpeg": "does not keep the times",
    ".vob": "does not keep the times",
    ".mxf": "not written here",
    ".xyz": "'.xyz' is no ending of a video container",
    "": "has no ending",
}


def times_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]  # type: ignore[operator]


def clip(path: Path, times: list[Fraction], time_base: Fraction) -> Path:
    """A frame at each time, in NUT, which takes every time base and start."""
    with av.open(str(path), "w", format="nut") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = stream.time_base = time_base
        stream.codec_context.max_b_frames = 0
        for image, time in zip(pan(len(times), (48, 64), 3, 2), times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time / time_base), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def overlaid(source: Path, target: Path) -> Path:
    """As `segment` does."""
    with VideoReader(source) as reader, VideoWriter.like(reader, target) as writer:
        for frame in reader:
            writer.write(frame.image, frame.pts, frame.time_base)
    return target


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_written_reads_back(tmp_path: Path, ending: str) -> None:
    """Frames, their order and their times, at a variable rate."""
    times = [Fraction(tick, 1000) for tick in (0, 40, 80, 400, 440, 1000, 7000, 7040)]
    with VideoWriter(tmp_path / f"out{ending}", rate=25, size=(48, 64), crf=8) as writer:
        for image, time in zip(FRAMES, times, strict=True):
            writer.write(image, round(time * 1000), Fraction(1, 1000))
    assert os.listdir(tmp_path) == [f"out{ending}"]
    assert times_of(tmp_path / f"out{ending}") == times
    with VideoReader(tmp_path / f"out{ending}") as reader:
        found = list(reader)
    assert [frame.time for frame in found] == [float(time) for time in times]
    for frame, image in zip(found, FRAMES, strict=True):
        assert psnr(luma(frame.image), luma(image)) > 30
    if ending.lower() in (".mp4", ".m4v", ".mov", ".3gp"):
        data = (tmp_path / f"out{ending}").read_bytes()
        assert data.index(b"moov") < data.index(b"mdat"), "a player can start before it has the whole file"


def never() -> Iterator[np.ndarray]:
    raise AssertionError("the output must be refused before any work")
    yield


@pytest.mark.parametrize("ending", REFUSED)
def test_what_would_not_read_back_is_refused(tmp_path: Path, ending: str) -> None:
    with pytest.raises(
        OutputError, match=f"out{ending} cannot be written: .*{REFUSED[ending]}.*, name it .mp4 or .mkv"
    ):
        encode(never(), tmp_path / f"out{ending}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "time_base",
    [
        Fraction(1, 10**9),
        Fraction(1, 10**6),
        Fraction(1, 90_000),
        Fraction(1, 1000),
        Fraction(1001, 30_000),
        Fraction(1, 7),
        Fraction(1, 2**31 - 1),
        Fraction(3, 2),
    ],
    ids=str,
)
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts", ".nut"])
def test_time_bases(tmp_path: Path, time_base: Fraction, ending: str) -> None:
    """Also with a pause of six seconds, and of most of an hour."""
    tick = max(time_base, round(Fraction(1, 25) / time_base) * time_base)
    times = [index * tick for index in range(4)]
    times += [times[-1] + 1000 * time_base if time_base >= 1 else times[-1] + round(6 / time_base) * time_base]
    times += [times[-1] + round(3000 / time_base) * time_base, times[-1] + round(3001 / time_base) * time_base]
    source = clip(tmp_path / "in.nut", times, time_base)
    transcode(source, tmp_path / f"a{ending}")
    overlaid(source, tmp_path / f"b{ending}")
    unit = {".mkv": Fraction(1, 1000)}.get(ending, Fraction(1, 90_000))
    for path in (tmp_path / f"a{ending}", tmp_path / f"b{ending}"):
        for found, time in zip(times_of(path), times, strict=True):
            assert abs(found - time) <= unit / 2
            if ending == ".mp4" and time_base.denominator <= 90_000:
                assert found == time


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts", ".flv", ".nut"])
def test_pauses_of_many_hours(tmp_path: Path, ending: str) -> None:
    """FFmpeg's MP4 muxer would write one tick for it; where the duration is known, there are fewer ticks a second."""
    times = [Fraction(0), Fraction(1, 25), Fraction(36_000), Fraction(36_001)]
    path = tmp_path / f"out{ending}"
    with VideoWriter(path, rate=25, size=(48, 64), duration=36_002) as writer:
        for image, time in zip(FRAMES, times, strict=False):
            writer.write(image, round(time * 90_000), Fraction(1, 90_000))
    assert times_of(path) == times


def test_a_pause_that_mp4_cannot_hold(tmp_path: Path) -> None:
    words = "10.0 hours pass from frame 1 to frame 2, and a file of type .mp4 holds 6.6 at most .*: name it .mkv"
    with (
        pytest.raises(OutputError, match=words),
        VideoWriter(tmp_path / "out.mp4", rate=25, size=(48, 64)) as writer,
    ):
        for image, time in zip(FRAMES, (0, 1, 36_001), strict=False):
            writer.write(image, time * 90_000, Fraction(1, 90_000))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("start", [36_000, -3])
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts"])
def test_the_first_frame_is_at_zero(tmp_path: Path, start: int, ending: str) -> None:
    source = clip(tmp_path / "in.nut", [start + Fraction(i, 25) for i in range(5)], Fraction(1, 90_000))
    transcode(source, tmp_path / f"a{ending}")
    overlaid(source, tmp_path / f"b{ending}")
    for name in (f"a{ending}", f"b{ending}"):
        assert times_of(tmp_path / name) == [Fraction(i, 25) for i in range(5)]


def test_times_that_are_given_are_kept(tmp_path: Path) -> None:
    times = [Fraction(5), Fraction(6), Fraction(9)]
    encode(FRAMES[:3], tmp_path / "out.mp4", times=times)
    assert times_of(tmp_path / "out.mp4") == times


def test_odd_sizes_are_remarked_on(tmp_path: Path) -> None:
    heard: list[str] = []
    with VideoWriter(tmp_path / "in.mp4", rate=25, size=(47, 64)) as writer:
        assert writer.remark is not None and "64x47" in writer.remark and "QuickTime" in writer.remark
        writer.write(FRAMES[0][:47])
    transcode(tmp_path / "in.mp4", tmp_path / "out.mp4", remark=heard.append)
    assert len(heard) == 1 and heard[0].startswith(f"{tmp_path / 'out.mp4'}: its size is odd, 64x47")
    with VideoWriter(tmp_path / "even.mp4", rate=25, size=(48, 64)) as writer:
        assert writer.remark is None
        writer.write(FRAMES[0])


@pytest.mark.parametrize(
    "name", ["10:00.mp4", "file:clip:1.mp4", "take %03d.mp4", "100%.mkv", os.fsdecode(b"\xff\xfe.mp4"), "ä ö.ts"]
)
@pytest.mark.parametrize("absolute", [False, True])
def test_names_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, absolute: bool) -> None:
    monkeypatch.chdir(tmp_path)
    if absolute and not name.startswith("file:"):
        name = str(tmp_path / name)
    assert encode(FRAMES, name) == 8
    (written,) = tmp_path.iterdir()
    assert written.name == os.path.basename(name.removeprefix("file:"))
    (tmp_path / "copy.mp4").symlink_to(written)
    assert len(times_of(tmp_path / "copy.mp4")) == 8


def test_file_urls(tmp_path: Path) -> None:
    encode(FRAMES, f"file://{tmp_path}/a%20b.mp4")
    assert os.listdir(tmp_path) == ["a b.mp4"]
    with pytest.raises(InputError, match=r"rtmp://\*\*\*@host/app: results go to files, not to URLs"):
        encode(never(), "rtmp://user:secret@host/app")
    assert output_path(Path("file:a.mp4")) == Path("file:a.mp4"), "a Path is a file's name as it is"


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far/old.mp4").write_bytes(b"old")
    (tmp_path / "link.mp4").symlink_to("far/old.mp4")
    (tmp_path / "new.mp4").symlink_to("far/new.mp4")
    for name in ("link", "new"):
        encode(FRAMES, tmp_path / f"{name}.mp4")
        assert (tmp_path / f"{name}.mp4").is_symlink() and len(times_of(tmp_path / f"{name}.mp4")) == 8
    assert sorted(os.listdir(tmp_path / "far")) == ["new.mp4", "old.mp4"]
    (tmp_path / "round.mp4").symlink_to("round.mp4")
    with pytest.raises(OutputError, match=r"round\.mp4 cannot be written"):
        encode(never(), tmp_path / "round.mp4")


def test_devices_pipes_and_the_standard_output(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path("/dev/null")):
        with pytest.raises(OutputError, match=f"{path} cannot be written: it is a device or a pipe"):
            encode(never(), path)
    with pytest.raises(OutputError, match="not to the standard output"):
        encode(never(), "-")
    assert stat.S_ISFIFO((tmp_path / "pipe.mp4").stat().st_mode)


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        encode(FRAMES, tmp_path / "a.mp4")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.mp4").stat().st_mode) == 0o640


def test_two_writers_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with VideoWriter(path, rate=25, size=(48, 64)) as writer:
        writer.write(FRAMES[0])
        with pytest.raises(BusyError, match=r"a\.mp4: another run is writing it"):
            encode(never(), path)
    assert len(times_of(path)) == 1 and os.listdir(tmp_path) == ["a.mp4"]
    part_of(path).write_bytes(b"of a run that was killed")
    encode(FRAMES, path)
    assert len(times_of(path)) == 8 and os.listdir(tmp_path) == ["a.mp4"]
