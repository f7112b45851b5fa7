"""Streams that other encoders make: crops, formats, references, B frames, other codecs, no keyframes."""

from __future__ import annotations

import gc
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.annex_b import cropped
from helpers.video_clips import busy_scene, luma, pan, psnr, write_av

from arseg.video import InterlacedError, VideoFrame, VideoReader, encode
from arseg.video.codecs import CODECS
from arseg.video.motion import BlockField

SHARP = {"crf": "4", "preset": "medium"}


def sharp(x264: str = "ref=1:weightp=0") -> dict[str, str]:
    return SHARP | {"x264-params": f"scenecut=0:{x264}"}


def require(encoder: str) -> None:
    if encoder not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {encoder}")


def read(path: Path, **options: Any) -> list[VideoFrame]:
    with VideoReader(path, **options) as reader:
        frames = list(reader)
        assert reader.losses == []
    return frames


def inner(field: BlockField, pixels: int = 48) -> np.ndarray:
    edge = pixels // field.block
    return field.vectors[edge:-edge, edge:-edge].reshape(-1, 2)


def warp(reference: np.ndarray, field: BlockField) -> np.ndarray:
    """`reference` `[H, W]` at the nearest pixel to p + field(p)."""
    height, width = reference.shape
    vectors = field.vectors.repeat(field.block, 0).repeat(field.block, 1)[:height, :width] / 4
    x = np.clip(np.round(np.arange(width) + vectors[..., 0]), 0, width - 1).astype(int)
    y = np.clip(np.round(np.arange(height)[:, None] + vectors[..., 1]), 0, height - 1).astype(int)
    return reference[y, x]


def assert_groups(frames: list[VideoFrame], gop: int) -> None:
    """What holds for every stream: distances count up from each keyframe and stay below the cap."""
    assert frames[0].keyframe
    last = 0
    for frame in frames:
        assert frame.keyframe == (frame.motion is None) == (frame.distance == 0), frame.index
        if frame.keyframe:
            last = frame.index
        assert frame.distance == frame.index - last < gop, (frame.index, frame.distance)


def assert_pan(frames: list[VideoFrame], dx: float, dy: float, origin: str | None, share: float = 1.0) -> None:
    """Fields are the known motion, in at least this share of each frame's inner cells."""
    for frame in frames:
        if frame.motion is None:
            continue
        assert origin in (None, frame.motion.origin), (frame.index, frame.frame_type, frame.motion.origin)
        right = (inner(frame.motion) == [-4 * dx * frame.distance, -4 * dy * frame.distance]).all(1).mean()
        assert right >= share, f"frame {frame.index} ({frame.frame_type}), distance {frame.distance}: {right:.3f}"


def gains(frames: list[VideoFrame]) -> dict[int, list[float]]:
    """By distance: how much better the warped keyframe is than the keyframe, dB."""
    found: dict[int, list[float]] = {}
    for frame in frames:
        current = luma(frame.image)
        if frame.motion is None:
            key = current
        else:
            gain = psnr(current, warp(key, frame.motion)) - psnr(current, key)
            found.setdefault(frame.distance, []).append(gain)
    return found


# --- crops -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sides", [{"right": 16, "bottom": 16}, {"left": 16, "top": 32}, {"left": 6, "top": 2, "right": 10, "bottom": 14}]
)
def test_crops_shift_the_vectors(tmp_path: Path, sides: dict[str, int]) -> None:
    """The left part of the picture stands still, the right part moves: a shift that is missing shows at the seam."""
    seam = 96
    moving = pan(6, (144, 192), 3, 2)
    frames = [moving[0].copy() for _ in moving]
    for frame, image in zip(frames, moving, strict=True):
        frame[:, seam:] = image[:, seam:]
    source = write_av(tmp_path / "whole.mp4", frames, options=sharp())
    whole = read(source)
    part = read(cropped(tmp_path / "part.mp4", source, **sides))
    left, top = sides.get("left", 0), sides.get("top", 0)
    height, width = 144 - top - sides.get("bottom", 0), 192 - left - sides.get("right", 0)
    for full, frame in zip(whole, part, strict=True):
        assert frame.image.shape == (height, width, 3)
        assert_same_pictures(frame.image, full.image[top : top + height, left : left + width])
        if frame.motion is None:
            continue
        assert frame.motion.origin == "exact"
        assert full.motion is not None
        if left % 4 == top % 4 == 0:  # on the grid of the cells: cut off, and the same but for the border's reach
            expected = full.motion.vectors[top // 4 :, left // 4 :][: -(-height // 4), : -(-width // 4)]
            same = (frame.motion.vectors == expected).all(2)
            assert same[8:-8, 8:-8].all(), frame.index
        x = 4 * np.arange(frame.motion.vectors.shape[1]) + 2 + left
        still = frame.motion.vectors[12:-12, (x > 16 + left) & (x < seam - 16)]
        moves = frame.motion.vectors[12:-12, (x > seam + 24) & (x < 192 - 44)]
        assert (still == 0).all(2).mean() > 0.98
        assert (moves == [-12 * frame.distance, -8 * frame.distance]).all(2).mean() > 0.95, frame.index


def assert_same_pictures(a: np.ndarray, b: np.ndarray) -> None:
    """But for the colour of pixels whose neighbours were cut off."""
    assert np.abs(a.astype(int) - b)[2:-2, 2:-2].max() <= 2


def test_crop_of_a_pan(tmp_path: Path) -> None:
    source = write_av(tmp_path / "whole.mp4", pan(6, (176, 208), 3, -2), options=sharp())
    frames = read(cropped(tmp_path / "part.mp4", source, left=8, top=20))
    assert frames[0].image.shape == (156, 200, 3)
    assert_pan(frames, 3, -2, "exact")


# --- sizes and formats -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (16, 16), (17, 15)])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_tiny(tmp_path: Path, size: tuple[int, int], b_frames: int) -> None:
    path = write_av(tmp_path / "tiny.mp4", pan(5, size, 1, 1), pixels="yuv444p", b_frames=b_frames)
    for block in (4, 8, 16):
        frames = read(path, block=block, gop=3)
        assert [frame.image.shape for frame in frames] == [(*size, 3)] * 5
        assert_groups(frames, 3)
        for frame in frames:
            if frame.motion is not None:
                assert frame.motion.valid.shape == (-(-size[0] // block), -(-size[1] // block))


@pytest.mark.parametrize("pixels", ["yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le", "gray", "nv12"])
@pytest.mark.parametrize("references", [1, 3])
def test_pixel_formats(tmp_path: Path, pixels: str, references: int) -> None:
    clip = pan(6, (144, 176), 2.25, -1.5)
    path = write_av(tmp_path / "clip.mp4", clip, pixels=pixels, options=sharp(f"ref={references}:weightp=0"))
    frames = read(path)
    assert_pan(frames, 2.25, -1.5, "exact" if references == 1 else None, 1.0 if references == 1 else 0.9)
    if references > 1:
        assert frames[-1].motion is not None and frames[-1].motion.origin == "inferred"
    if pixels == "gray":
        return  # its range is not said
    for image, frame in zip(clip, frames, strict=True):
        assert psnr(luma(image), luma(frame.image)) > 35


def test_variable_rate(tmp_path: Path) -> None:
    """Timestamps are the container's, in presentation order, with B frames as well."""
    times = [0, 1, 5, 6, 20, 21, 22, 50, 51, 90]
    path = tmp_path / "vfr.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"x264-params": "b-adapt=0:scenecut=0"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.codec_context.max_b_frames = 2
        stream.codec_context.time_base = Fraction(1, 30)
        for time, image in zip(times, pan(10, (64, 64), 1, 0), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = read(path)
    assert {frame.frame_type for frame in frames} == {"I", "P", "B"}
    assert [frame.time for frame in frames] == pytest.approx([time / 30 for time in times], abs=1.1e-3)
    assert_groups(frames, 48)


# --- groups ----------------------------------------------------------------------------------------------------

KINDS = {
    "P, one reference": ("ref=1:weightp=0", 0),
    "P, three references": ("ref=3:weightp=2", 0),
    "B": ("b-adapt=0:b-pyramid=0", 2),
    "B pyramid": ("b-adapt=0:b-pyramid=2:ref=4", 3),
    "open groups": ("b-adapt=0:b-pyramid=2:open-gop=1", 3),
    "intra refresh": ("intra-refresh=1:ref=1", 0),
}


@pytest.mark.parametrize("gop", [1, 2, 5, 48])
@pytest.mark.parametrize("kind", KINDS)
def test_cap_on_the_group(tmp_path: Path, kind: str, gop: int) -> None:
    params, b_frames = KINDS[kind]
    options = {"x264-params": f"scenecut=0:{params}"}
    path = write_av(tmp_path / "clip.mkv", pan(30, (64, 80), 2, 1), options=options, b_frames=b_frames, gop=14)
    frames = read(path, gop=gop)
    assert [frame.index for frame in frames] == list(range(30))
    assert_groups(frames, gop)
    if gop == 1:
        assert all(frame.keyframe for frame in frames)
    if gop == 48 and kind != "intra refresh":
        assert all(frame.keyframe == (frame.frame_type == "I") for frame in frames)
    # No more keyframes than the cap and the codec's own ask for, or not many.
    own = sum(frame.frame_type == "I" for frame in frames)
    assert sum(frame.keyframe for frame in frames) <= own + 30 / max(1, gop - b_frames)


@pytest.mark.parametrize("gop", [4, 6])
def test_rebased_chain_is_exact(tmp_path: Path, gop: int) -> None:
    path = write_av(tmp_path / "clip.mp4", pan(20, (144, 176), 2, 1), options=sharp(), gop=250)
    frames = read(path, gop=gop)
    assert [frame.distance for frame in frames] == [i % gop for i in range(20)]
    assert_pan(frames, 2, 1, "exact")


def test_intra_refresh_never_has_a_second_keyframe(tmp_path: Path) -> None:
    """A column of intra blocks wanders through the picture; groups are as long as asked for."""
    options = SHARP | {"x264-params": "intra-refresh=1:ref=1:weightp=0"}
    path = write_av(tmp_path / "refresh.mp4", pan(40, (144, 176), 2, 0), options=options, gop=12)
    frames = read(path, gop=10)
    assert "".join(frame.frame_type for frame in frames) == "I" + "P" * 39
    assert [frame.distance for frame in frames] == [i % 10 for i in range(40)]
    assert any(0 < frame.intra < 0.5 for frame in frames)
    assert_pan(frames, 2, 0, "exact", 0.9)
    assert min(np.mean(values) for values in gains(frames).values()) > 5


# --- references and B frames: the field is inferred ------------------------------------------------------------

INFERRED = {
    "three references": ("ref=3:weightp=0", 0),
    "weighted": ("ref=3:weightp=2", 0),
    "B": ("b-adapt=0:b-pyramid=0", 2),
    "B pyramid": ("b-adapt=0:b-pyramid=2", 3),
    "x264's defaults": ("", 3),
    "open groups": ("b-adapt=0:b-pyramid=2:open-gop=1", 3),
}


@pytest.mark.parametrize("kind", INFERRED)
def test_inferred_fields_of_a_pan(tmp_path: Path, kind: str) -> None:
    params, b_frames = INFERRED[kind]
    path = write_av(tmp_path / "pan.mp4", pan(24, (144, 176), 2, -1), options=sharp(params), b_frames=b_frames)
    frames = read(path)
    assert_groups(frames, 48)
    origins = {frame.motion.origin for frame in frames if frame.motion is not None}
    assert "inferred" in origins and "transcoded" not in origins
    for frame in frames:
        if frame.motion is not None:
            assert frame.frame_type != "B" or frame.motion.origin == "inferred"
            off = np.abs(inner(frame.motion) - [-8 * frame.distance, 4 * frame.distance]).max(1)
            assert (off <= 1).mean() > 0.9, f"frame {frame.index} ({frame.frame_type}): {(off <= 1).mean():.3f}"


@pytest.mark.parametrize("kind", INFERRED)
def test_inferred_fields_warp_better_than_none(tmp_path: Path, kind: str) -> None:
    params, b_frames = INFERRED[kind]
    options = {"x264-params": f"scenecut=0:{params}"}
    path = write_av(tmp_path / "busy.mp4", busy_scene(36, (144, 192)), options=options, b_frames=b_frames)
    found = gains(read(path))
    assert sorted(found) == list(range(1, 12))
    for distance, values in found.items():
        assert np.mean(values) > 3 and min(values) > 1, f"distance {distance}: {values} dB"


@pytest.mark.parametrize("kind", ["B", "x264's defaults"])
def test_vectors_do_not_depend_on_threads(tmp_path: Path, kind: str) -> None:
    """Decoders that work on several frames at once would hand out some of a B frame's vectors, or none."""
    params, b_frames = INFERRED[kind]
    path = write_av(tmp_path / "pan.mp4", pan(24, (144, 176), 2, -1), options=sharp(params), b_frames=b_frames)
    first = read(path)
    assert all(frame.records is not None for frame in first if frame.frame_type != "I")
    for _ in range(4):
        for frame, again in zip(first, read(path), strict=True):
            np.testing.assert_array_equal(frame.records, again.records)
            if frame.motion is not None and again.motion is not None:
                np.testing.assert_array_equal(frame.motion.vectors, again.motion.vectors)


# --- other codecs ----------------------------------------------------------------------------------------------

QUALITY = {"global_quality": "118", "flags": "+qscale", "me_range": "32"}


@pytest.mark.parametrize(
    ("codec", "name", "size"),
    [
        ("mpeg4", "clip.mp4", (144, 176)),
        ("mpeg2video", "clip.ts", (144, 176)),
        ("mpeg1video", "clip.mkv", (144, 176)),
        ("h263", "clip.avi", (144, 176)),
        ("flv", "clip.flv", (144, 176)),
        ("msmpeg4", "clip.avi", (144, 176)),
        ("wmv2", "clip.asf", (144, 176)),
    ],
)
def test_p_frames_of_the_mpeg_family_are_exact(tmp_path: Path, codec: str, name: str, size: tuple[int, int]) -> None:
    require(codec)
    path = write_av(tmp_path / name, pan(10, size, 2, -1.5), codec=codec, options=QUALITY, gop=8)
    frames = read(path)
    assert [frame.frame_type for frame in frames] == ["I", *"PPPPPPP", "I", "P"]
    assert [frame.distance for frame in frames] == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]
    assert_pan(frames, 2, -1.5, "exact", 0.97)


@pytest.mark.parametrize(("codec", "name"), [("mpeg4", "b.mp4"), ("mpeg2video", "b.ts"), ("mpeg1video", "b.mpg")])
def test_b_frames_of_the_mpeg_family(tmp_path: Path, codec: str, name: str) -> None:
    path = write_av(tmp_path / name, pan(16, (144, 176), 2, 1), codec=codec, options=QUALITY, b_frames=2)
    frames = read(path)
    assert {frame.frame_type for frame in frames} == {"I", "P", "B"}
    assert_groups(frames, 48)
    assert all(f.motion.origin == "inferred" for f in frames if f.motion is not None and f.frame_type == "B")
    for distance, values in gains(frames).items():
        assert np.mean(values) > 2, f"distance {distance}: {values} dB"


@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video", "mpeg4"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_the_last_p_frame_has_its_vectors(tmp_path: Path, codec: str, b_frames: int) -> None:
    """FFmpeg drops them where the decoder is flushed."""
    path = write_av(tmp_path / "clip.mkv", pan(8, (144, 176), 2, 1), codec=codec, options=QUALITY, b_frames=b_frames)
    last = read(path)[-1]
    assert last.frame_type == "P" and last.index == 7 and last.intra < 0.3


# --- transcoding -----------------------------------------------------------------------------------------------

OTHERS = {
    "libx265": ("clip.mp4", {"preset": "ultrafast", "crf": "10", "x265-params": "log-level=none"}),
    "libvpx-vp9": ("clip.webm", {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "0"}),
    "libsvtav1": ("clip.mkv", {"preset": "12", "crf": "10"}),
    "mjpeg": ("clip.mkv", {"qmin": "2", "qmax": "2"}),
    "ffv1": ("clip.mkv", {}),
}


@pytest.mark.parametrize("size", [(144, 176), (145, 177)])
@pytest.mark.parametrize("codec", OTHERS)
def test_transcoded_while_reading(tmp_path: Path, codec: str, size: tuple[int, int]) -> None:
    require(codec)
    if codec == "libx265" and CODECS["hevc"].has_vectors:
        pytest.skip("this build reads HEVC as it is")
    name, options = OTHERS[codec]
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    if size[0] % 2 and codec in ("libx265", "libsvtav1"):
        pytest.skip("this encoder takes even sizes only")
    path = write_av(tmp_path / name, pan(20, size, 2, -1), codec=codec, pixels=pixels, options=options, rate=25)
    with VideoReader(path, transcode=True, gop=8) as reader:
        assert reader.transcoding is not None and "motion vectors cannot be read" in reader.transcoding
        assert (reader.height, reader.width) == size
        frames = list(reader)
        again = [frame.index for frame in reader]
    assert again == [frame.index for frame in frames] == list(range(20))
    assert all(frame.image.shape == (*size, 3) for frame in frames)
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(20)], abs=2e-3)
    assert_groups(frames, 8)
    assert [frame.distance for frame in frames] == [i % 8 for i in range(20)]
    assert_pan(frames, 2, -1, "transcoded", 0.95)
    with av.open(str(path)) as container:  # the pictures stay those of the source
        for frame, decoded in zip(frames, container.decode(video=0), strict=True):
            np.testing.assert_array_equal(frame.image, decoded.to_ndarray(format="rgb24"))


def test_transcoding_keeps_the_rotation(tmp_path: Path) -> None:
    source = tmp_path / "h264.mp4"
    encode(pan(3, (64, 80), 1, 0), source, rotation=90)
    path = write_av(tmp_path / "turned.mp4", pan(3, (64, 80), 1, 0), codec="mjpeg", pixels="yuvj420p")
    data = bytearray(path.read_bytes())
    matrix = source.read_bytes().rindex(b"tkhd") + 4 + 40
    own = data.rindex(b"tkhd") + 4 + 40
    data[own : own + 36] = source.read_bytes()[matrix : matrix + 36]
    path.write_bytes(data)
    with VideoReader(path, transcode=True) as reader:
        assert reader.rotation == 90 and reader.transcoding
        assert [frame.image.shape for frame in reader] == [(64, 80, 3)] * 3


@pytest.mark.parametrize("name", ["fields.mp4", "fields.264", "fields.ts"])
def test_interlaced_is_transcoded(tmp_path: Path, name: str) -> None:
    path = write_av(tmp_path / name, pan(8, (64, 64), 2, 0), options={"x264-params": "tff=1"}, interlaced=True)
    with pytest.raises(InterlacedError):
        VideoReader(path, transcode=False)
    with VideoReader(path) as reader:
        frames = list(reader)
        assert reader.transcoding is not None and "interlaced" in reader.transcoding
    assert len(frames) == 8
    assert_groups(frames, 48)
    assert {frame.motion.origin for frame in frames if frame.motion is not None} == {"transcoded"}


def test_groups_of_b_streams_are_the_codecs_where_they_fit(tmp_path: Path) -> None:
    """The last anchor before an I frame starts no group of its own: the cap is known to be kept."""
    options = {"x264-params": "b-adapt=0:scenecut=0:keyint=12:min-keyint=12"}
    path = write_av(tmp_path / "b.mp4", pan(36, (64, 64), 1, 0), options=options, b_frames=3, gop=12)
    with VideoReader(path, gop=12) as reader:
        assert [frame.distance for frame in reader] == [*range(12)] * 3
    with VideoReader(path, gop=6) as reader:
        distances = [frame.distance for frame in reader]
    assert max(distances) < 6 and distances.count(0) <= 9


def test_interlaced_pictures_come_out_whole(tmp_path: Path) -> None:
    """Two moments woven into each picture: the comb between the lines goes."""
    moments = pan(12, (96, 128), 2, 0)
    woven = [first.copy() for first in moments[::2]]
    for picture, second in zip(woven, moments[1::2], strict=True):
        picture[1::2] = second[1::2]
    path = write_av(tmp_path / "fields.mp4", woven, options={"x264-params": "tff=1"}, interlaced=True)

    def comb(image: np.ndarray) -> float:
        lines = image[..., 0].astype(int)
        return float(np.abs(lines[1:-1:2] - (lines[:-2:2] + lines[2::2]) / 2).mean())

    with VideoReader(path, transcode=True) as reader:
        frames = list(reader)
    assert len(frames) == len(woven) and [f.pts for f in frames] == sorted(f.pts or 0 for f in frames)
    for frame, before in zip(frames, woven, strict=True):
        assert comb(frame.image) < comb(before) / 2


def test_transcoding_is_for_streams_that_need_it(tmp_path: Path) -> None:
    path = tmp_path / "good.mp4"
    encode(pan(4, (64, 64), 1, 0), path)
    with VideoReader(path, transcode=True) as reader:
        assert {f.motion.origin for f in reader if f.motion is not None} == {"exact"}
        assert reader.transcoding is None


# --- memory ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("params", "b_frames"), [("ref=1", 0), ("ref=4:b-pyramid=2", 3), ("intra-refresh=1", 0)])
def test_memory_does_not_grow(tmp_path: Path, params: str, b_frames: int) -> None:
    clip = busy_scene(50, (48, 64)) * 20
    options = {"preset": "ultrafast", "x264-params": f"{params}"}
    path = write_av(tmp_path / "long.mp4", clip, options=options, b_frames=b_frames, gop=100)
    tracemalloc.start()
    try:
        levels = []
        with VideoReader(path) as reader:
            for frame in reader:
                if frame.index % 50 == 49:
                    gc.collect()  # empties the interpreter's lists of free tuples, too
                    levels.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert len(levels) == 20
    # How much is held depends on where in a group reading is; one kilobyte a frame would be 750 kB.
    assert max(levels[15:]) - max(levels[:5]) < 64 * 1024, levels


def test_interlaced_pictures_of_another_pixel_format(tmp_path: Path) -> None:
    moments, parts = pan(6, (64, 96), 2, 0), []
    for number, pixels in enumerate(("yuv420p", "yuv420p10le")):
        options = {"x264-params": "interlaced=1:tff=1"}
        part = write_av(tmp_path / f"{number}.ts", moments, options=options, interlaced=True, pixels=pixels)
        parts.append(part.read_bytes())
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    with VideoReader(tmp_path / "both.ts") as reader:
        frames = list(reader)
    assert len(frames) == 12
    for frame, moment in zip(frames, moments * 2, strict=True):
        assert psnr(frame.image, moment) > 18, "the picture, but for the fields of neighbours"


def test_interlaced_coding_of_whole_pictures_is_transcoded(tmp_path: Path) -> None:
    """Their timing (SEI, 0 for whole pictures) makes FFmpeg call them progressive; their vectors are of fields."""
    options = {"x264-params": "interlaced=1:tff=1:bframes=0:ref=1"}
    path = write_av(tmp_path / "mbaff.264", pan(8, (64, 64), 2, 0), options=options, interlaced=True)
    data, place = bytearray(path.read_bytes()), 0
    while (place := data.find(b"\0\0\1", place)) >= 0:
        if data[place + 3] & 31 == 6 and data[place + 4] == 1:
            data[place + 6] &= 0x0F
        place += 3
    path.write_bytes(data)
    with av.open(str(path)) as container:
        assert {frame.interlaced_frame for frame in container.decode(video=0)} == {False}
    with VideoReader(path) as reader:
        assert len(list(reader)) == 8 and reader.transcoding is not None


def test_hidden_pictures_of_vp8_move_no_times(tmp_path: Path) -> None:
    """A packet that only later ones are predicted from, as encoders put ahead."""
    path = write_av(
        tmp_path / "plain.mkv", busy_scene(40, (48, 64)), codec="libvpx", rate=25, options={"cpu-used": "8"}
    )
    with av.open(str(path)) as source, av.open(str(tmp_path / "hidden.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if not packet.size:
                continue
            if number == 10:
                hidden = av.Packet(bytes([bytes(packet)[0] & ~0x10]) + bytes(packet)[1:])
                hidden.pts, hidden.dts, hidden.time_base = packet.pts - 1, packet.dts - 1, packet.time_base
                hidden.stream = stream
                target.mux(hidden)
            packet.stream = stream
            target.mux(packet)
    with VideoReader(tmp_path / "hidden.mkv") as reader:
        times = [round(frame.time * 25) for frame in reader]
    assert times == list(range(40))
