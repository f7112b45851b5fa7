"""Reading: the field is the known motion, the warp pays, groups, sizes, timestamps, rotation."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers.video_clips import busy_scene, luma, pan, psnr, write_av

from arseg.errors import InputError
from arseg.video import VideoFrame, VideoReader, encode
from arseg.video.motion import BlockField

# At crf 4 and preset medium x264 finds the exact vector of every block that does not touch the border.
SHARP = {"crf": 4, "preset": "medium"}


def inner(field: BlockField, pixels: int = 48) -> np.ndarray:
    """Vectors `[n, 2]` of the blocks at least `pixels` from the border, where content was in view all the time."""
    edge = pixels // field.block
    return field.vectors[edge:-edge, edge:-edge].reshape(-1, 2)


@pytest.mark.parametrize(("dx", "dy"), [(3, -2), (0.25, 0), (0.75, -1.25), (-5.5, 2.25)])
def test_field_is_the_motion_of_the_content(tmp_path: Path, dx: float, dy: float) -> None:
    """A texture that moves by whole or quarter pixels: every inner cell is exact at every distance."""
    path = tmp_path / "pan.mp4"
    encode(pan(8, (144, 176), dx, dy), path, **SHARP)
    with VideoReader(path) as reader:
        for frame in reader:
            if frame.motion is not None:
                expected = [-4 * dx * frame.distance, -4 * dy * frame.distance]
                assert (inner(frame.motion) == expected).all(), frame.distance
                assert frame.motion.vectors.dtype == np.int16
                assert frame.motion.valid.shape == (36, 44) and frame.motion.valid.all()


@pytest.mark.parametrize("block", [4, 8, 16])
def test_block_sizes_agree(tmp_path: Path, block: int) -> None:
    path = tmp_path / "pan.mp4"
    encode(pan(4, (150, 170), 2.5, -1), path, **SHARP)
    with VideoReader(path, block=block) as reader:
        frame = list(reader)[3]
    assert frame.motion is not None and frame.motion.block == block
    assert frame.motion.vectors.shape == (-(-150 // block), -(-170 // block), 2)
    assert (inner(frame.motion) == [-30, 12]).all()


def warp(reference: np.ndarray, field: BlockField) -> np.ndarray:
    """`reference` `[H, W]` at the nearest pixel to p + field(p)."""
    height, width = reference.shape
    vectors = field.vectors.repeat(field.block, 0).repeat(field.block, 1)[:height, :width] / 4
    x = np.clip(np.round(np.arange(width) + vectors[..., 0]), 0, width - 1).astype(int)
    y = np.clip(np.round(np.arange(height)[:, None] + vectors[..., 1]), 0, height - 1).astype(int)
    return reference[y, x]


def test_warp_beats_no_warp_at_every_distance(tmp_path: Path) -> None:
    """Several motions, occlusions and intra blocks, at the default quality of `encode`."""
    path = tmp_path / "busy.mp4"
    encode(busy_scene(24, (180, 240)), path)
    gains: dict[int, list[float]] = {}
    holes = 0
    with VideoReader(path) as reader:
        for frame in reader:
            current = luma(frame.image)
            if frame.motion is None:
                key = current
                continue
            holes += int((~frame.motion.valid).sum())
            gains.setdefault(frame.distance, []).append(psnr(current, warp(key, frame.motion)) - psnr(current, key))
    assert sorted(gains) == list(range(1, 12))
    assert holes > 0, "the clip is meant to have intra blocks"
    for distance, values in gains.items():
        assert np.mean(values) > 3, f"distance {distance}: {values} dB"


def test_new_content_has_no_vector_and_is_filled(tmp_path: Path) -> None:
    """A patch of noise that appears in mid-group is coded intra: masked, and filled with the motion around it."""
    frames = pan(3, (128, 128), 4, 0)
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    frames[2][48:96, 48:96] = noise
    path = tmp_path / "noise.mp4"
    encode(frames, path, **SHARP)
    with VideoReader(path) as reader:
        field = list(reader)[2].motion
    assert field is not None
    patch = (slice(12, 24), slice(12, 24))
    assert (~field.valid[patch]).mean() > 0.9
    outside = field.valid.copy()
    outside[10:26, 10:26] = True
    assert outside.all()
    filled = field.vectors[patch][~field.valid[patch]]
    assert np.abs(filled - [-32, 0]).max() <= 8


@pytest.mark.parametrize("size", [(97, 121), (98, 121), (135, 64), (120, 72), (16, 16), (3, 5), (1, 1)])
def test_any_size_comes_back(tmp_path: Path, size: tuple[int, int]) -> None:
    """Sizes that are no multiple of the macroblock, odd ones included: images and fields are those of the frame."""
    path = tmp_path / "size.mp4"
    frames = pan(3, size, 2, 1)
    encode(frames, path, crf=4)
    with VideoReader(path) as reader:
        read = list(reader)
        assert (reader.height, reader.width) == size
    for original, frame in zip(frames, read, strict=True):
        assert frame.image.shape == (*size, 3) and frame.image.dtype == np.uint8
        assert psnr(luma(original), luma(frame.image)) > 35
        if frame.motion is not None:
            assert frame.motion.valid.shape == (-(-size[0] // 4), -(-size[1] // 4))


def groups(frames: list[VideoFrame]) -> list[int]:
    assert all(f.keyframe == (f.distance == 0) == (f.motion is None) for f in frames)
    return [f.distance for f in frames]


def test_groups_follow_the_codec_and_the_cap(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    encode(pan(14, (64, 64), 1, 0), path, gop=9, **SHARP)
    with VideoReader(path, gop=12) as reader:
        frames = list(reader)
        assert groups(frames) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2, 3, 4]
        assert "".join(f.frame_type for f in frames) == "IPPPPPPPPIPPPP"
    # A shorter cap promotes P frames, and the chain starts again at them.
    with VideoReader(path, gop=4) as reader:
        frames = list(reader)
        assert groups(frames) == [0, 1, 2, 3, 0, 1, 2, 3, 0, 0, 1, 2, 3, 0]
    field = frames[7].motion
    assert field is not None and (inner(field, 16) == [-12, 0]).all()


def test_fields_handed_out_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "pan.mp4"
    encode(pan(6, (64, 64), 1, 0), path, **SHARP)
    with VideoReader(path) as reader:
        kept = [(f, None if f.motion is None else f.motion.vectors.copy(), f.image.copy()) for f in reader]
    for frame, vectors, image in kept:
        np.testing.assert_array_equal(frame.image, image)
        if frame.motion is not None:
            np.testing.assert_array_equal(frame.motion.vectors, vectors)
            assert not frame.motion.vectors.flags.writeable


def test_reader_facts_and_second_pass(tmp_path: Path) -> None:
    path = tmp_path / "facts.mp4"
    encode(pan(5, (48, 64), 1, 0), path, rate=Fraction(30000, 1001))
    with VideoReader(str(path)) as reader:
        assert (reader.width, reader.height, reader.codec, reader.rotation) == (64, 48, "h264", 0)
        assert reader.rate == Fraction(30000, 1001)
        assert reader.frame_count == 5
        assert [f.index for f in reader] == [0, 1, 2, 3, 4]
        assert [f.index for f in reader] == [0, 1, 2, 3, 4], "each pass starts at the first frame"


def test_closing_ends_an_iteration(tmp_path: Path) -> None:
    path = tmp_path / "pan.mp4"
    encode(pan(5, (48, 64), 1, 0), path)
    reader = VideoReader(path)
    frames = iter(reader)
    next(frames)
    reader.close()
    assert list(frames) == []
    for use in (lambda: list(reader), lambda: reader[2], lambda: next(reader.seek(0)), lambda: reader.frames_at([0.0])):
        with pytest.raises(InputError, match=r"pan\.mp4: the reader is closed; open the video again"):
            use()


def test_constant_rate_timestamps(tmp_path: Path) -> None:
    path = tmp_path / "rate.mp4"
    encode(pan(4, (48, 64), 1, 0), path, rate=25)
    with VideoReader(path) as reader:
        assert [f.time for f in reader] == pytest.approx([0, 0.04, 0.08, 0.12])


def test_variable_rate_timestamps(tmp_path: Path) -> None:
    path = tmp_path / "vfr.mp4"
    times = [Fraction(0), Fraction(1, 30), Fraction(1, 4), Fraction(13, 50), Fraction(2)]
    encode(pan(5, (48, 64), 1, 0), path, times=times)
    with VideoReader(path) as reader:
        frames = list(reader)
    assert [f.pts * f.time_base for f in frames if f.pts is not None] == times
    assert [f.time for f in frames] == pytest.approx([float(t) for t in times])


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_rotation(tmp_path: Path, degrees: int) -> None:
    path = tmp_path / "turned.mp4"
    encode(pan(2, (48, 64), 1, 0), path, rotation=degrees)
    with VideoReader(path) as reader:
        assert abs(reader.rotation) == 180 if degrees == 180 else reader.rotation == degrees
        assert next(iter(reader)).image.shape == (48, 64, 3), "frames stay as coded"


def test_colours_survive(tmp_path: Path) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    for i, colour in enumerate([(200, 60, 30), (20, 120, 220), (40, 180, 60), (128, 128, 128), (250, 250, 250)]):
        image[:, 20 * i : 20 * i + 20] = colour
    path = tmp_path / "colour.mp4"
    encode([image] * 2, path, crf=1)
    with VideoReader(path) as reader:
        read = next(iter(reader)).image
    for i in range(4):
        centre = (32, 20 * i + 10)
        assert np.abs(read[centre].astype(int) - image[centre]).max() <= 4


def test_raw_stream_has_no_timestamps(tmp_path: Path) -> None:
    path = tmp_path / "raw.264"
    encode(pan(5, (64, 64), 2, 0), path, **SHARP)
    with VideoReader(path) as reader:
        frames = list(reader)
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    assert all(f.pts is None and f.time is None for f in frames)
    assert frames[4].motion is not None and (inner(frames[4].motion, 16) == [-32, 0]).all()


def test_intra_frame_that_is_no_keyframe_starts_a_group(tmp_path: Path) -> None:
    # open-gop: I frames that are not IDR; no frame crosses them when there are no B frames
    path = write_av(
        tmp_path / "open.mp4", pan(8, (64, 64), 1, 0), gop=4, options={"x264-params": "open-gop=1:scenecut=0:ref=1"}
    )
    with VideoReader(path) as reader:
        assert [f.distance for f in reader] == [0, 1, 2, 3, 0, 1, 2, 3]


@pytest.mark.parametrize(("block", "gop"), [(5, 12), (4, 0)])
def test_arguments_are_checked(tmp_path: Path, block: int, gop: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        VideoReader(tmp_path / "none.mp4", block=block, gop=gop)


def test_real_clip(shared: Path) -> None:
    path = shared / "data" / "videos" / "devx96_traffic.mp4"
    if not path.exists():
        pytest.skip(f"no {path}")
    gains = []
    with VideoReader(path) as reader:
        for frame in reader:
            if frame.index == 12:
                break
            current = luma(frame.image)
            if frame.motion is None:
                key = current
            else:
                gains.append(psnr(current, warp(key, frame.motion)) - psnr(current, key))
    assert len(gains) == 11 and min(gains) > 2
