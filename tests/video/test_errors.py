"""Every kind of file that is refused: the class, the sentence, and the frames that come before."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from helpers.annex_b import IDR, kind, split
from helpers.video_clips import pan, write_av, write_sound

from arseg.video import (
    InterlacedError,
    NoFramesError,
    NoKeyframeError,
    NotAVideoError,
    ResolutionChangedError,
    TruncatedStreamError,
    UnsupportedCodecError,
    UnsupportedStreamError,
    VideoError,
    VideoFrame,
    VideoReader,
    encode,
    errors,
    transcode,
)
from arseg.video.codecs import CODECS

CLIP = pan(6, (64, 64), 2, 1)


def refusal(path: Path, kind: type[VideoError]) -> str:
    """The message of the error that opening `path` raises; one sentence that names the file."""
    with pytest.raises(kind) as caught:
        VideoReader(path, transcode=False)
    return sentence(caught.value, path)


def sentence(error: VideoError, path: Path) -> str:
    text = str(error)
    assert text.startswith(str(path)) and "\n" not in text
    assert Path(error.path or "") == path
    return text.removeprefix(str(path))


def read_until_it_breaks(path: Path, kind: type[VideoError]) -> tuple[list[VideoFrame], VideoError]:
    """The frames that come before the error, and the error."""
    frames = []
    with pytest.raises(kind) as caught, VideoReader(path) as reader:
        for frame in reader:
            frames.append(frame)
    return frames, caught.value


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.mp4", NotAVideoError) == " does not exist: check the path"


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "'' names no video"), ("x" * 300, "file name too long"), ("a\0b.mp4", r"a\x00b.mp4 does not exist")],
)
def test_names_that_no_file_can_have(name: str, words: str) -> None:
    with pytest.raises(NotAVideoError) as caught:
        VideoReader(name)
    assert words in str(caught.value)


def test_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path, NotAVideoError)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    assert "is an empty file" in refusal(path, NotAVideoError)


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4"])
def test_text_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("not a video\n" * 200)
    assert "text file" in (message := refusal(path, NotAVideoError)) or "is no video file" in message


def test_sound_only(tmp_path: Path) -> None:
    assert "has no video stream, only audio" in refusal(write_sound(tmp_path / "sound.m4a"), NotAVideoError)


def test_mp4_without_index(tmp_path: Path) -> None:
    whole = write_av(tmp_path / "whole.mp4", CLIP).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: whole.index(b"moov") - 4])
    assert "is cut off" in refusal(path, NotAVideoError)


def test_truncated_mp4_gives_its_good_frames_first(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(20)]
    whole = write_av(tmp_path / "whole.mp4", frames, container_options={"movflags": "faststart"}).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: len(whole) * 3 // 5])
    good, error = read_until_it_breaks(path, TruncatedStreamError)
    assert [frame.index for frame in good] == list(range(len(good)))
    assert 5 < len(good) < 18 and error.frame == len(good)
    assert f"breaks off or is damaged at frame {len(good)} of 20" in sentence(error, path)
    with pytest.raises(TruncatedStreamError):
        transcode(path, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_container_without_frames(tmp_path: Path) -> None:
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w", container_options={"movflags": "empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        container.start_encoding()
    assert "without frames" in refusal(path, NoFramesError)


def test_stream_without_keyframe(tmp_path: Path) -> None:
    encode(CLIP, tmp_path / "whole.264")
    units = split((tmp_path / "whole.264").read_bytes())
    path = tmp_path / "headless.264"
    path.write_bytes(b"".join(unit for unit in units if kind(unit) != IDR))
    assert "no keyframe" in refusal(path, NoKeyframeError)


def require(encoder: str) -> None:
    if encoder not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {encoder}")


@pytest.mark.parametrize(
    ("codec", "name", "label"),
    [
        ("libx265", "clip.mp4", "HEVC"),
        ("libvpx-vp9", "clip.webm", "VP9"),
        ("libsvtav1", "clip.mkv", "AV1"),
        ("mjpeg", "clip.mkv", "mjpeg"),
    ],
)
def test_codecs_without_vectors(tmp_path: Path, codec: str, name: str, label: str) -> None:
    require(codec)
    if codec == "libx265" and CODECS["hevc"].has_vectors:
        pytest.skip("this build reads HEVC as it is")
    options = {"libx265": {"preset": "ultrafast", "x265-params": "log-level=none"}, "libsvtav1": {"preset": "12"}}
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write_av(tmp_path / name, CLIP[:3], codec=codec, pixels=pixels, options=options.get(codec))
    message = refusal(path, UnsupportedCodecError)
    assert message.startswith(f" is {label}") and "leave transcode on (--transcode)" in message
    assert f"`arseg encode {path} -o OUT.mp4`" in message
    assert transcode(path, tmp_path / "good.mp4") == 3
    with VideoReader(tmp_path / "good.mp4") as reader:
        assert [frame.image.shape for frame in reader] == [(64, 64, 3)] * 3


@pytest.mark.parametrize("name", ["fields.mp4", "fields.264"])
def test_interlaced(tmp_path: Path, name: str) -> None:
    path = write_av(tmp_path / name, CLIP, options={"x264-params": "tff=1"}, interlaced=True)
    message = refusal(path, InterlacedError)
    assert message.startswith(" is interlaced") and "leave transcode on (--transcode)" in message
    assert transcode(path, tmp_path / "good.mp4") == 6
    with VideoReader(tmp_path / "good.mp4") as reader:
        assert len(list(reader)) == 6


def test_becomes_interlaced_on_the_way(tmp_path: Path) -> None:
    whole = write_av(tmp_path / "whole.264", CLIP)
    fields = write_av(tmp_path / "fields.264", CLIP, options={"x264-params": "tff=1"}, interlaced=True)
    path = tmp_path / "mixed.264"
    path.write_bytes(whole.read_bytes() + fields.read_bytes())
    frames, error = read_until_it_breaks(path, InterlacedError)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4, 5] and error.frame == 6
    assert "is interlaced from frame 6 on" in sentence(error, path)


def test_size_changes_at_an_i_frame(tmp_path: Path) -> None:
    """A new group, with frames of the new size; a file of one size cannot hold that."""
    encode(CLIP, tmp_path / "a.264")
    encode(pan(3, (96, 80), 1, 0), tmp_path / "b.264")
    path = tmp_path / "both.264"
    path.write_bytes((tmp_path / "a.264").read_bytes() + (tmp_path / "b.264").read_bytes())
    with VideoReader(path) as reader:
        frames = list(reader)
    assert [frame.image.shape for frame in frames] == [(64, 64, 3)] * 6 + [(96, 80, 3)] * 3
    assert [frame.distance for frame in frames] == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert all(f.motion is None or f.motion.valid.shape == (24, 20) for f in frames[6:])
    with pytest.raises(ResolutionChangedError) as caught:
        transcode(path, tmp_path / "out.mp4")
    assert "changes size at frame 6, from 64x64 to 80x96" in sentence(caught.value, path)
    assert caught.value.frame == 6 and not (tmp_path / "out.mp4").exists()


def test_size_changes_without_an_i_frame(tmp_path: Path) -> None:
    encode(CLIP, tmp_path / "a.264")
    encode(pan(3, (96, 80), 1, 0), tmp_path / "b.264")
    path = tmp_path / "both.264"
    rest = [unit for unit in split((tmp_path / "b.264").read_bytes()) if kind(unit) != IDR]
    path.write_bytes((tmp_path / "a.264").read_bytes() + b"".join(rest))
    frames, error = read_until_it_breaks(path, VideoError)
    assert [frame.image.shape for frame in frames] == [(64, 64, 3)] * 6 and error.frame == 6
    sentence(error, path)


def test_no_pyav_error_comes_through(tmp_path: Path) -> None:
    """Damage anywhere in a file: frames, or an error of ours."""
    whole = write_av(tmp_path / "whole.mp4", CLIP).read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / "hurt.mp4"
    for _ in range(40):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 6):
            data[at] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            with VideoReader(path) as reader:
                for frame in reader:
                    assert frame.image.shape == (reader.height, reader.width, 3)
        except VideoError as error:
            sentence(error, path)


def test_every_stream_error_is_a_video_error() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
    assert all(issubclass(kind, VideoError) for kind in kinds)
    assert issubclass(InterlacedError, UnsupportedStreamError)
    assert issubclass(UnsupportedCodecError, UnsupportedStreamError)
