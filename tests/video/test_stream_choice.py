"""Files with several video streams, cover pictures and stills."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
from av.stream import Disposition
from helpers.video_clips import pan

from arseg.errors import InputError
from arseg.inspect.reading import inspect
from arseg.video import NotAVideoError, VideoReader, transcode


class Part(NamedTuple):
    """A video stream to write."""

    frames: list[np.ndarray]
    codec: str = "libx264"
    disposition: Disposition | None = None


LARGE = pan(12, (64, 96), 2, 1)
SMALL = pan(9, (48, 64), 1, 1)
STILL = [np.full((32, 32, 3), 90, np.uint8)]


def write(path: Path, *parts: Part, sound: bool = False, container: str | None = None) -> Path:
    with av.open(str(path), "w", format=container) as file:
        streams = []
        audio = file.add_stream("aac", rate=8000) if sound else None
        for part in parts:
            stream = file.add_stream(part.codec, rate=25)
            stream.height, stream.width = part.frames[0].shape[:2]
            stream.pix_fmt = "yuvj420p" if part.codec == "mjpeg" else "yuv420p"
            if part.disposition is not None:
                stream.disposition = part.disposition
            streams.append(stream)
        file.start_encoding()
        if audio is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts = 8000, 0
            file.mux(audio.encode(silence))
            file.mux(audio.encode(None))
        for part, stream in zip(parts, streams, strict=True):
            for index, image in enumerate(part.frames):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
    return path


def taken(path: Path, **options: Any) -> tuple[tuple[int, int], int, str | None]:
    """(width, height), number of frames and what is said of the choice."""
    with VideoReader(path, **options) as reader:
        return (reader.width, reader.height), len(list(reader)), reader.choice


@pytest.mark.parametrize("ending", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize("disposition", [None, Disposition.default, Disposition(0)])
def test_a_still_before_the_video(tmp_path: Path, ending: str, disposition: Disposition | None) -> None:
    """Also where it is the track that the file says is the default."""
    path = write(tmp_path / f"a.{ending}", Part(STILL, "mjpeg", disposition), Part(LARGE))
    size, count, said = taken(path)
    assert (size, count) == ((96, 64), 12)
    assert said == (
        f"{path} has 2 video streams: number 1 (h264 96x64) is read, not 0 (mjpeg 32x32); "
        "choose with stream=N (--stream N)"
    )
    assert taken(path, stream=0, transcode=True) == ((32, 32), 1, None)
    assert taken(path, stream=1) == ((96, 64), 12, None)


@pytest.mark.parametrize("first", [True, False])
def test_a_cover_picture_is_not_worth_a_word(tmp_path: Path, first: bool) -> None:
    parts = [Part(STILL, "mjpeg", Disposition.attached_pic), Part(LARGE)]
    assert taken(write(tmp_path / "a.mp4", *parts[:: 1 if first else -1])) == ((96, 64), 12, None)


@pytest.mark.parametrize(("name", "container"), [("song.m4a", "mp4"), ("song.mp4", None)])
def test_music_with_a_cover(tmp_path: Path, name: str, container: str | None) -> None:
    cover = Part(STILL, "mjpeg", Disposition.attached_pic)
    path = write(tmp_path / name, cover, sound=True, container=container)
    for read in (VideoReader, inspect, lambda source: transcode(source, tmp_path / "out.mp4")):
        with pytest.raises(NotAVideoError) as caught:
            read(path)
        assert str(caught.value) == (
            f"{path} has no video stream, only a cover picture or still beside its audio: give a video file"
        )
    assert not (tmp_path / "out.mp4").exists()


def test_the_default_one_of_two(tmp_path: Path) -> None:
    path = write(tmp_path / "two.mkv", Part(SMALL), Part(LARGE, disposition=Disposition.default))
    assert taken(path)[:2] == ((96, 64), 12)
    path = write(tmp_path / "two.mp4", Part(SMALL, disposition=Disposition.default), Part(LARGE))
    size, count, said = taken(path)
    assert (size, count) == ((64, 48), 9) and said is not None and "number 0 (h264 64x48) is read, not 1" in said
    assert taken(path, stream=1) == ((96, 64), 12, None)


def test_a_track_that_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "two.mp4", Part(SMALL), Part(LARGE))
    for wanted in (2, -1, True, "0", 0.0):
        with pytest.raises(InputError, match=r"stream: .* has video streams 0 to 1; got"):
            VideoReader(path, stream=wanted)  # type: ignore[arg-type]
    path = write(tmp_path / "one.mp4", Part(SMALL))
    with pytest.raises(InputError, match="has one video stream, number 0; got 1"):
        VideoReader(path, stream=1)
    with pytest.raises(NotAVideoError, match="has no video stream, only audio"):
        VideoReader(write(tmp_path / "song.m4a", sound=True), stream=0)


def test_every_reader_takes_the_stream_that_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "two.mp4", Part(SMALL), Part(LARGE))
    said: list[str] = []
    assert transcode(path, tmp_path / "out.mp4", remark=said.append) == 9
    assert len(said) == 1 and "has 2 video streams" in said[0]
    assert transcode(path, tmp_path / "out.mp4", stream=1) == 12
    assert taken(tmp_path / "out.mp4")[0] == (96, 64)
    found = inspect(path, stream=1)
    assert found.sizes == ((96, 64),) and found.frames == 12 and found.choice is None
    assert "has 2 video streams" in str(inspect(path).facts()["choice"])
