"""Colours: RGB out of every matrix and range, and tags of what is written that are true of its samples."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.video_clips import write_av

from arseg.video import UnsupportedStreamError, VideoReader, VideoWriter, transcode
from arseg.video.colours import rgb, subsampled

GBR, BT709, UNSAID, FCC, BT601, SMPTE240M, YCGCO, BT2020, BT2020_CL, ICTCP = 0, 1, 2, 4, 6, 7, 8, 9, 10, 14
LIMITED, FULL = 1, 2
# Shares of red and of blue in the luma: H.273, table 4.
WEIGHTS = {
    BT709: (0.2126, 0.0722),
    UNSAID: (0.299, 0.114),
    FCC: (0.30, 0.11),
    BT601: (0.299, 0.114),
    SMPTE240M: (0.212, 0.087),
    BT2020: (0.2627, 0.0593),
}
PATCHES = [(200, 60, 30), (20, 120, 220), (60, 180, 70), (230, 220, 60)]


def picture() -> np.ndarray:
    """uint8 `[48, 64, 3]`: four patches of 16 columns."""
    return np.repeat(np.array([PATCHES], np.uint8), 16, axis=1).repeat(48, axis=0)


def middles(image: np.ndarray) -> np.ndarray:
    """int `[4, 3]`: the colours in the middle of the patches."""
    return image[24, 8::16].astype(int)


def yuv(image: np.ndarray, matrix: int, full: bool) -> np.ndarray:
    """uint8 `[3, H, W]` by the formulas of H.273."""
    r, g, b = np.moveaxis(image / 255, -1, 0)
    if matrix == YCGCO:
        y, u, v = 0.25 * r + 0.5 * g + 0.25 * b, -0.25 * r + 0.5 * g - 0.25 * b, 0.5 * (r - b)
    else:
        red, blue = WEIGHTS[matrix]
        y = red * r + (1 - red - blue) * g + blue * b
        u, v = (b - y) / (1 - blue) / 2, (r - y) / (1 - red) / 2
    planes = (y * 255, u * 255 + 128, v * 255 + 128) if full else (y * 219 + 16, u * 224 + 128, v * 224 + 128)
    return np.clip(np.round(np.stack(planes)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [*WEIGHTS, YCGCO])
def test_rgb_of_every_matrix_and_range(matrix: int, full: bool) -> None:
    frame = av.VideoFrame.from_ndarray(yuv(picture(), matrix, full), format="yuv444p")
    frame.colorspace, frame.color_range = matrix, FULL if full else LIMITED
    assert np.abs(rgb(frame).astype(int) - picture()).max() <= 2
    small = subsampled(frame, "yuv420p")
    assert (small.colorspace, small.color_range) == (matrix, FULL if full else LIMITED)
    assert np.abs(middles(rgb(small)) - PATCHES).max() <= 3
    assert (frame.colorspace, frame.color_range) == (matrix, FULL if full else LIMITED)


def test_a_matrix_that_nobody_knows() -> None:
    frame = av.VideoFrame.from_ndarray(yuv(picture(), BT2020, False), format="yuv444p")
    frame.color_range = LIMITED
    frame.colorspace = BT2020_CL
    assert np.abs(rgb(frame).astype(int) - picture()).max() <= 2
    frame.colorspace = ICTCP
    with pytest.raises(UnsupportedStreamError, match="ICtCp"):
        rgb(frame)
    assert subsampled(frame, "yuv420p").colorspace == ICTCP, "its samples are none the less kept"


def tagged(path: Path, codec: str, format: str, tags: dict[str, int], matrix: int | None, full: bool = False) -> Path:
    """Three frames of the patches, in `matrix` or as RGB."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "2"} if "x26" in codec else {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, format
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for index in range(3):
            if matrix is None:
                frame = av.VideoFrame.from_ndarray(picture(), format="rgb24")
            else:
                frame = av.VideoFrame.from_ndarray(yuv(picture(), matrix, full), format="yuv444p")
                frame.colorspace, frame.color_range = UNSAID, FULL if full else LIMITED
            frame = frame.reformat(format=format)
            for name, value in tags.items():
                setattr(frame, name, value)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def facts(path: Path) -> tuple[str, tuple[int, int, int, int], np.ndarray]:
    """Format, tags and the patches' colours by those tags."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    tags = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
    return frame.format.name.replace("yuvj", "yuv"), tags, middles(rgb(frame))


RGB_TAGS = {"colorspace": GBR, "color_range": FULL, "color_primaries": 9, "color_trc": 13}


@pytest.mark.parametrize(
    ("codec", "format", "tags", "matrix", "full", "written"),
    [
        ("libx264rgb", "rgb24", RGB_TAGS, None, False, (BT601, LIMITED, 9, 13)),
        ("ffv1", "bgr0", RGB_TAGS, None, False, (BT601, LIMITED, 9, 13)),
        ("ffv1", "gbrp10le", {}, None, False, (BT601, LIMITED, 2, 2)),
        ("png", "rgb24", {}, None, False, (BT601, LIMITED, 2, 2)),
        ("libx264", "yuv444p", {"colorspace": YCGCO, "color_range": FULL}, YCGCO, True, (YCGCO, FULL, 2, 2)),
        ("libx264", "yuv420p", {"colorspace": YCGCO, "color_range": LIMITED}, YCGCO, False, (YCGCO, LIMITED, 2, 2)),
        (
            "libx264",
            "yuv420p",
            {"colorspace": BT709, "color_range": LIMITED, "color_primaries": 1, "color_trc": 1},
            BT709,
            False,
            (BT709, LIMITED, 1, 1),
        ),
        ("libx264", "yuv422p", {"colorspace": BT709, "color_range": FULL}, BT709, True, (BT709, FULL, 2, 2)),
        ("mjpeg", "yuvj420p", {}, BT601, True, (5, FULL, 2, 2)),
        (
            "libx264",
            "yuv420p10le",
            {"colorspace": BT2020, "color_range": LIMITED, "color_primaries": 9, "color_trc": 16},
            BT2020,
            False,
            (BT2020, LIMITED, 9, 16),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tags_are_true_of_what_is_written(
    tmp_path: Path,
    codec: str,
    format: str,
    tags: dict[str, int],
    matrix: int | None,
    full: bool,
    written: tuple[int, int, int, int],
) -> None:
    source = tagged(tmp_path / ("in.mov" if codec == "png" else "in.mkv"), codec, format, tags, matrix, full)
    transcode(source, tmp_path / "out.mp4", crf=2)
    found, said, colours = facts(tmp_path / "out.mp4")
    assert found == "yuv420p" and said == written
    assert np.abs(colours - PATCHES).max() <= 6

    # An overlay goes through RGB: its own matrix is BT.601, what the RGB means stays.
    with VideoReader(source, transcode=True) as reader:
        image = next(iter(reader)).image
        assert np.abs(middles(image) - PATCHES).max() <= 6
        with VideoWriter.like(reader, tmp_path / "overlay.mp4") as writer:
            writer.write(image)
    found, said, colours = facts(tmp_path / "overlay.mp4")
    assert found == "yuv420p" and said == (BT601, LIMITED, *written[2:])
    assert np.abs(colours - PATCHES).max() <= 8


def test_interlaced_frames_keep_their_matrix(tmp_path: Path) -> None:
    clip = write_av(
        tmp_path / "in.mkv",
        [picture()] * 4,
        options={"x264-params": "interlaced=1:colormatrix=bt709:colorprim=bt709:transfer=bt709:range=tv", "crf": "2"},
        interlaced=True,
    )
    transcode(clip, tmp_path / "out.mp4", crf=2)
    assert facts(tmp_path / "out.mp4")[1] == (BT709, LIMITED, 1, 1)
