"""Writing: encode, transcode and VideoWriter; files appear whole or not at all."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.video_clips import luma, pan, psnr, write_av

from arseg.video import NoFramesError, OutputError, VideoReader, VideoWriter, encode, transcode

CLIP = pan(6, (48, 64), 2, 1)


def stream_facts(path: Path) -> tuple[list[Fraction], int, str, tuple[int, int]]:
    """Times, rotation, pixel format and (height, width), read with PyAV alone."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    times = [f.pts * f.time_base for f in frames if f.pts is not None]
    return times, frames[0].rotation, frames[0].format.name, (frames[0].height, frames[0].width)


def test_encode_makes_streams_with_one_reference_and_no_b_frames(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    assert encode(pan(10, (48, 64), 2, 1), path, gop=4) == 10
    with av.open(str(path)) as container:
        types = [int(frame.pict_type) for frame in container.decode(video=0)]
        assert types == [1, 2, 2, 2, 1, 2, 2, 2, 1, 2]
        assert not container.streams.video[0].codec_context.has_b_frames


def test_encode_takes_frames_one_at_a_time(tmp_path: Path) -> None:
    """A generator is not drained into a list; non-contiguous frames are taken."""
    alive = 0

    class Counted(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    most = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal alive, most
        for _ in range(60):
            alive += 1
            most = max(most, alive)
            yield np.zeros((32, 64, 3), np.uint8).view(Counted)

    assert encode(frames(), tmp_path / "a.mp4") == 60
    assert most < 10
    wide = np.zeros((48, 128, 3), np.uint8)
    assert encode([wide[:, ::2], wide[:, 1::2]], tmp_path / "b.mp4") == 2


def test_even_sizes_are_420_and_odd_ones_444(tmp_path: Path) -> None:
    encode(pan(1, (48, 64), 0, 0), tmp_path / "even.mp4")
    encode(pan(1, (48, 63), 0, 0), tmp_path / "odd.mp4")
    assert stream_facts(tmp_path / "even.mp4")[2:] == ("yuv420p", (48, 64))
    assert stream_facts(tmp_path / "odd.mp4")[2:] == ("yuv444p", (48, 63))


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([CLIP[0].astype(np.float32)], r"frame 0: expected uint8 \[H, W, 3\], got float32"),
        ([CLIP[0], CLIP[1][..., 0]], r"frame 1: expected uint8 \[H, W, 3\], got uint8 \[48, 64\]"),
        ([CLIP[0], CLIP[1][:40]], r"frame 1: expected \[H, W\] = \[48, 64\] as before, got \[40, 64\]"),
        (["picture"], "got str"),
        ([np.zeros((0, 4, 3), np.uint8)], "at least one pixel"),
    ],
)
def test_frames_are_checked(tmp_path: Path, frames: list[np.ndarray], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        encode(frames, tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "settings",
    [{"gop": 0}, {"crf": 60}, {"preset": "fastest"}, {"rate": 0}, {"rate": float("nan")}, {"times": [0.0]}],
)
def test_settings_are_checked(tmp_path: Path, settings: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match="expected"):
        encode(CLIP, tmp_path / "clip.mp4", **settings)
    assert list(tmp_path.iterdir()) == []


def test_no_frames(tmp_path: Path) -> None:
    with pytest.raises(NoFramesError, match="no frames to write"):
        encode([], tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_the_old_file(tmp_path: Path, stop: type[BaseException]) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")

    def frames() -> Iterator[np.ndarray]:
        yield from pan(30, (48, 64), 1, 0)
        assert path.read_bytes() == b"old"
        raise stop

    with pytest.raises(stop):
        encode(frames(), path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    encode(CLIP, path)
    assert len(path.read_bytes()) > 500 and list(tmp_path.iterdir()) == [path]


def untouched() -> Iterator[np.ndarray]:
    raise AssertionError("the output must be refused before any work")
    yield


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing/clip.mp4", "there is no folder"),
        (".", "it is a folder"),
        ("clip.txt", "name it .mp4"),
        ("clip", "name it .mp4"),
        ("clip.webm", "name it .mp4"),
        ("file/clip.mp4", "file is no folder, give another name"),
        ("x" * 300 + ".mp4", "cannot be written"),
    ],
)
def test_unwritable_output(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=words) as caught:
        encode(untouched(), tmp_path / name)
    assert "\n" not in str(caught.value)
    if name != "clip.webm":
        with pytest.raises(OutputError, match=words):
            VideoWriter(tmp_path / name, rate=30, size=(48, 64))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_transcode_keeps_times_rotation_size_and_picture(tmp_path: Path) -> None:
    times = [Fraction(0), Fraction(1, 10), Fraction(1, 5), Fraction(1), Fraction(21, 20), Fraction(2)]
    encode(CLIP, tmp_path / "in.mp4", times=times, rotation=90, crf=4)
    steps: list[tuple[int, int | None]] = []
    count = transcode(tmp_path / "in.mp4", tmp_path / "out.mp4", progress=lambda *step: steps.append(step))
    assert count == 6 and steps == [(i + 1, 6) for i in range(6)]
    assert stream_facts(tmp_path / "out.mp4") == (times, 90, "yuv420p", (48, 64))
    with VideoReader(tmp_path / "out.mp4") as reader:
        for original, frame in zip(CLIP, reader, strict=True):
            assert psnr(luma(original), luma(frame.image)) > 30


@pytest.mark.parametrize(
    ("pixels", "size"),
    [("yuv420p10le", (48, 64)), ("yuv422p", (48, 64)), ("yuv444p", (47, 63)), ("yuvj420p", (48, 64))],
)
def test_transcode_of_other_pixel_formats_keeps_the_colours(tmp_path: Path, pixels: str, size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    image[:, :32] = (200, 60, 30)
    image[:, 32:] = (20, 120, 220)
    source = write_av(tmp_path / "in.mp4", [image] * 3, pixels=pixels, options={"crf": "2"})
    assert transcode(source, tmp_path / "out.mp4", crf=2) == 3
    with av.open(str(source)) as container:
        before = next(container.decode(video=0)).to_ndarray(format="rgb24")
    with VideoReader(tmp_path / "out.mp4") as reader:
        after = next(iter(reader)).image
    assert after.shape == image.shape
    for x in (10, 50):
        assert np.abs(after[20, x].astype(int) - before[20, x]).max() <= 6


def test_transcode_of_a_raw_stream_in_place(tmp_path: Path) -> None:
    path = tmp_path / "clip.264"
    encode(CLIP, path)
    assert transcode(path, path) == 6
    assert transcode(path, tmp_path / "clip.mp4") == 6
    times = stream_facts(tmp_path / "clip.mp4")[0]
    assert len(times) == 6 and len({b - a for a, b in itertools.pairwise(times)}) == 1


def test_writer_carries_times_and_rotation(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    with VideoWriter(path, rate=30, size=(48, 64), rotation=-90) as writer:
        for image, pts in zip(CLIP, [0, 3000, 3003, 3003, 9000, 90000], strict=True):
            writer.write(image, pts, Fraction(1, 90000))
        assert writer.frames == 6
        assert not path.exists()
    times, rotation, pixels, size = stream_facts(path)
    assert [t * 90000 for t in times] == [0, 3000, 3003, 3004, 9000, 90000], "equal times move to the next tick"
    assert (rotation, pixels, size) == (-90, "yuv420p", (48, 64))


def test_writer_without_times_counts(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", rate=Fraction(25), size=(48, 64)) as writer:
        for image in CLIP:
            writer.write(image)
    assert stream_facts(tmp_path / "a.mp4")[0] == [Fraction(i, 25) for i in range(6)]


def test_writer_refuses_and_cleans_up(tmp_path: Path) -> None:
    words = r"frame 1: expected uint8 \[48, 64, 3\], got \[64, 48, 3\]"
    with (
        pytest.raises(ValueError, match=words),
        VideoWriter(tmp_path / "a.mp4", rate=30, size=(48, 64)) as writer,
    ):
        writer.write(CLIP[0])
        writer.write(CLIP[0].transpose(1, 0, 2))
    with pytest.raises(NoFramesError), VideoWriter(tmp_path / "a.mp4", rate=30, size=(48, 64)):
        pass
    with pytest.raises(ValueError, match="size"):
        VideoWriter(tmp_path / "a.mp4", rate=30, size=(0, 64))
    assert list(tmp_path.iterdir()) == []


def test_pixel_aspect_is_carried_on(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "wide.mp4", rate=30, size=(48, 64), pixel_aspect=Fraction(4, 3)) as writer:
        for image in CLIP[:3]:
            writer.write(image)
    transcode(tmp_path / "wide.mp4", tmp_path / "again.mp4")
    with VideoReader(tmp_path / "again.mp4") as reader:
        assert reader.pixel_aspect == Fraction(4, 3)
        with VideoWriter.like(reader, tmp_path / "overlay.mp4") as writer:
            for frame in reader:
                writer.write(frame.image)
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


ENCODE_AGAIN = """
import sys
import numpy as np
from PIL import Image, ImageFilter
from arseg.video import VideoReader, encode
rng = np.random.default_rng(0)
wide = Image.fromarray(rng.integers(0, 256, (88, 120, 3), np.uint8)).filter(ImageFilter.GaussianBlur(2))
wide = np.clip((np.asarray(wide, int) - 128) * 4 + 128, 0, 255).astype(np.uint8)
frames = [wide[t : t + 64, 2 * t : 2 * t + 96] for t in range(12)]
files = set()
for _ in range(40):
    encode(iter(frames), sys.argv[1], rate=15, gop=12, crf=23)
    files.add(open(sys.argv[1], "rb").read())
    scraps = [rng.integers(1, 255, rng.integers(100, 300_000), dtype=np.uint8) for _ in range(200)]
    del scraps
    with VideoReader(sys.argv[1], gop=12) as reader:
        list(reader)
print(len(files))
"""


@pytest.mark.slow
def test_the_same_frames_are_the_same_file(tmp_path: Path) -> None:
    """Whatever was in the memory that the encoder is given: what was decoded between, for one."""
    done = subprocess.run(
        [sys.executable, "-c", ENCODE_AGAIN, tmp_path / "clip.mp4"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
