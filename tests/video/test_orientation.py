"""The display matrix: turned, mirrored, odd, and none at all, from a file to whatever is made of it."""

from __future__ import annotations

import math
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type
from helpers.video_clips import luma, pan, psnr

from arseg.video import VideoReader, VideoWriter, encode, transcode
from arseg.video.orientation import checked, orientation, turned, upright

ONE, W = 1 << 16, 1 << 30
# The eight ways to hold a picture, as FFmpeg's nine numbers.
QUARTERS = {
    "mirrored": (-ONE, 0, 0, 0, ONE, 0, 64 * ONE, 0, W),
    "upside down, mirrored": (ONE, 0, 0, 0, -ONE, 0, 0, 48 * ONE, W),
    "half turn": (-ONE, 0, 0, 0, -ONE, 0, 64 * ONE, 48 * ONE, W),
    "left": (0, -ONE, 0, ONE, 0, 0, 0, 64 * ONE, W),
    "right": (0, ONE, 0, -ONE, 0, 0, 48 * ONE, 0, W),
    "transposed": (0, ONE, 0, ONE, 0, 0, 0, 0, W),
    "transposed at the other corner": (0, -ONE, 0, -ONE, 0, 0, 48 * ONE, 64 * ONE, W),
}
COS, SIN = round(math.cos(math.radians(30)) * ONE), round(math.sin(math.radians(30)) * ONE)
ODD = {
    "by 30 degrees": (COS, -SIN, 0, SIN, COS, 0, 0, 0, W),
    "by 30 degrees, mirrored": (-COS, SIN, 0, SIN, COS, 0, 0, 0, W),
}
SINGULAR = {
    "zero": (0,) * 9,
    "a line": (ONE, ONE, 0, ONE, ONE, 0, 0, 0, W),
    "a point": (0, 0, 0, 0, 0, 0, 0, 0, W),
    "at no distance": (ONE, 0, 0, 0, -ONE, 0, 0, 0, 0),
}
FRAMES = pan(4, (48, 64), 2, 1)


def source(path: Path, matrix: tuple[int, ...]) -> Path:
    """Four frames with a display matrix in an MP4's track header, byte for byte: FFmpeg would not write every one."""
    encode(FRAMES, path, crf=4)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    # Columns are the same numbers in both; the file's are big-endian.
    data[at : at + 36] = np.array(matrix, ">i4").tobytes()
    path.write_bytes(data)
    return path


def matrix_of(path: Path) -> tuple[int, ...] | None:
    """Read with PyAV alone."""
    with av.open(str(path)) as container:
        data = next(container.decode(video=0)).side_data.get(Type.DISPLAYMATRIX)
    return None if data is None else tuple(np.frombuffer(bytes(data), np.int32).tolist())


def shown(picture: np.ndarray, matrix: tuple[int, ...]) -> np.ndarray:
    """Pixel by pixel where the definition of the matrix puts it; for quarter turns."""
    a, b, _, c, d, *_ = (value // ONE for value in matrix)
    height, width = picture.shape[:2]
    q, p = np.mgrid[:height, :width]
    x, y = a * p + c * q, b * p + d * q
    x, y = x - x.min(), y - y.min()
    out = np.zeros((y.max() + 1, x.max() + 1, *picture.shape[2:]), picture.dtype)
    out[y, x] = picture
    return out


@pytest.mark.parametrize("matrix", QUARTERS.values(), ids=QUARTERS)
@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".ts", ".flv", ".nut", ".264"])
def test_what_is_written_is_shown_as_the_source(tmp_path: Path, matrix: tuple[int, ...], ending: str) -> None:
    clip = source(tmp_path / "in.mp4", matrix)
    overlay, again = tmp_path / f"overlay{ending}", tmp_path / f"again{ending}"
    with VideoReader(clip) as reader:
        assert reader.display_matrix == matrix
        with VideoWriter.like(reader, overlay) as writer:
            for frame in reader:
                writer.write(frame.image, frame.pts, frame.time_base)
    transcode(clip, again)
    expected = shown(FRAMES[0], matrix)
    for path in (overlay, again):
        found = matrix_of(path)
        assert found is not None and found[:6] == matrix[:6], path
        if ending in (".mp4", ".mov"):
            assert found == matrix
        with VideoReader(path) as reader:
            image = next(iter(reader)).image
        assert psnr(luma(shown(image, found)), luma(expected)) > 30
        np.testing.assert_array_equal(upright(image, found), shown(image, found))


@pytest.mark.parametrize("matrix", ODD.values(), ids=ODD)
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts"])
def test_odd_angles_are_carried_on(tmp_path: Path, matrix: tuple[int, ...], ending: str) -> None:
    transcode(source(tmp_path / "in.mp4", matrix), tmp_path / f"out{ending}")
    found = matrix_of(tmp_path / f"out{ending}")
    assert found is not None
    np.testing.assert_allclose(found, matrix, atol=8)


@pytest.mark.parametrize("matrix", SINGULAR.values(), ids=SINGULAR)
def test_a_matrix_without_an_inverse_is_none(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    clip = source(tmp_path / "in.mp4", matrix)
    with VideoReader(clip) as reader:
        assert (reader.display_matrix, reader.rotation, reader.mirrored) == (None, 0, False)
        with VideoWriter.like(reader, tmp_path / "overlay.mp4") as writer:
            writer.write(next(iter(reader)).image)
    transcode(clip, tmp_path / "again.mp4")
    assert matrix_of(tmp_path / "overlay.mp4") is None and matrix_of(tmp_path / "again.mp4") is None
    assert checked(matrix) is None


def test_rotation_and_mirror_as_words() -> None:
    words = {name: orientation(matrix) for name, matrix in {**QUARTERS, **ODD}.items()}
    assert words == {
        "mirrored": (0, True),
        "upside down, mirrored": (180, True),
        "half turn": (180, False),
        "left": (90, False),
        "right": (-90, False),
        "transposed": (90, True),
        "transposed at the other corner": (-90, True),
        "by 30 degrees": (30, False),
        "by 30 degrees, mirrored": (30, True),
    }
    assert orientation(None) == (0, False)
    for degrees in (-90, 30, 90, 180, 270):
        found, mirrored = orientation(turned(degrees))
        assert (found - degrees) % 360 == 0 and not mirrored
    assert turned(0) is None and turned(360) is None
    # Words and numbers say the same: mirror left to right, then turn counter-clockwise.
    picture = np.arange(12).reshape(3, 4)
    for name, matrix in QUARTERS.items():
        degrees, mirrored = words[name]
        np.testing.assert_array_equal(
            np.rot90(picture[:, ::-1] if mirrored else picture, degrees // 90), shown(picture, matrix), err_msg=name
        )
