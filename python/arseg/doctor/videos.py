"""FFmpeg's libraries, and whether a video that is made on the spot is read with its motion vectors."""

from __future__ import annotations

import tempfile
from base64 import b64decode
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from shutil import which
from typing import Any

from .findings import Check, Finding, fault, ok, warning

__all__ = ["VIDEOS"]

PYAV = "Install PyAV's own wheel, which brings all of FFmpeg: pip install --force-reinstall --only-binary=av av"
DECODERS = {"h264": "h264", "mpeg4": "mpeg4", "hevc": "hevc", "av1": "libdav1d"}
"""Codecs, and what decodes them in software."""
ENCODERS = {"h264": "libx264", "mpeg4": "mpeg4", "hevc": "libx265"}
"""What encodes a few frames to try them with."""
_AV1 = b64decode("EgAKCgAAAAKv/41fMAgyDRAA8AI//hhDAAAIARA=")  # a grey frame of 64x64
_SIZE = (96, 128)
_STEP = (8, -4)  # pixels that the made video moves a frame


def libraries() -> Iterator[Finding]:
    import av

    versions = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    told = ", ".join(f"{name} {versions[name]}" for name in ("libavcodec", "libavformat") if name in versions)
    yield ok("FFmpeg", f"PyAV {av.__version__} with FFmpeg {av.ffmpeg_version_info}: {told}")
    program = which("ffmpeg")
    yield ok("ffmpeg program", program or "none, and none is needed: PyAV brings the libraries")


def codecs() -> Iterator[Finding]:
    import av

    for name, decoder in DECODERS.items():
        part, level = f"{name} decoder", fault if name == "h264" else warning
        if decoder not in av.codecs_available:
            yield level(part, f"this FFmpeg has no {decoder}", PYAV)
            continue
        try:
            sample = [_AV1] if name == "av1" else encoded(ENCODERS[name])
        except (av.error.FFmpegError, ValueError):
            yield ok(part, f"{decoder}; not tried, for lack of the encoder {ENCODERS[name]}")
            continue
        try:
            count = decoded(decoder, sample)
        except (av.error.FFmpegError, ValueError) as error:
            yield level(part, f"{decoder} cannot decode a good stream: {error}", PYAV)
            continue
        whole = count == len(sample)
        yield ok(part, f"{decoder} decodes") if whole else level(part, f"{count} of {len(sample)} frames come", PYAV)
    if "libx264" in av.codecs_available:
        yield ok("h264 encoder", "libx264")
    else:
        yield fault("h264 encoder", "this FFmpeg has no libx264, which overlays and transcoding want", PYAV)


def encoded(encoder: str) -> list[bytes]:
    """Three frames, a packet each."""
    import av
    import numpy as np

    context: Any = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt = 128, 96, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.options = {"x265-params": "log-level=none"} if encoder == "libx265" else {}
    packets: list[Any] = []
    for number in range(3):
        frame = av.VideoFrame.from_ndarray(np.full((96, 128, 3), 40 * number, np.uint8), format="rgb24")
        frame = frame.reformat(format="yuv420p")
        frame.pts, frame.time_base = number, context.time_base
        packets += context.encode(frame)
    return [bytes(packet) for packet in (*packets, *context.encode(None))]


def decoded(decoder: str, packets: list[bytes]) -> int:
    """The number of frames that come."""
    import av

    context: Any = av.CodecContext.create(decoder, "r")
    return sum(len(context.decode(packet)) for packet in (*map(av.Packet, packets), None))


def vectors() -> Iterator[Finding]:
    """A texture that moves evenly is encoded and read."""
    part, again = "motion vectors", "Build the package again: pip install --force-reinstall --no-deps ."
    try:
        fields = made_and_read()
    except ImportError as error:
        yield fault(part, " ".join(str(error).split()), again)
        return
    right = [share for origin, share in fields if origin == "exact"]
    if len(right) == len(fields) == 3 and min(right) > 0.9:
        yield ok(part, f"exact; {100 * min(right):.0f} % of a made video's blocks moved as they did")
    else:
        told = ", ".join(f"{origin} {100 * share:.0f} %" for origin, share in fields) or "none"
        yield fault(part, f"a made video's fields are wrong (origin, right blocks: {told})", f"{PYAV}. Else report it.")
    try:
        from arseg import _hevc  # noqa: F401

        yield ok("HEVC vectors", "exact, with libde265")
    except ImportError as error:
        found = "not built with libde265: HEVC is encoded again while it is read"
        if not isinstance(error, ModuleNotFoundError) and "_hevc" not in str(error):
            found = f"libde265 cannot be loaded ({error}): HEVC is encoded again while it is read"
        yield warning("HEVC vectors", found, "For exact ones, build with libde265, as docs/hevc.md says.")


def made_and_read() -> list[tuple[str, float]]:
    """Of each frame after the first its field's origin, and the share of blocks that moved as the picture did."""
    import numpy as np

    from arseg.video import VideoReader, encode

    (height, width), (dx, dy) = _SIZE, _STEP
    noise = np.random.default_rng(0).integers(0, 256, (height // 4 + 16, width // 4 + 16), np.uint8)
    texture = noise.repeat(4, 0).repeat(4, 1)
    views = [texture[32 + dy * n :, 32 - dx * n :][:height, :width] for n in range(4)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.mp4"
        encode((np.stack([view] * 3, -1) for view in views), path, rate=25, crf=8)
        with VideoReader(path) as reader:
            fields = [(frame.motion, frame.distance) for frame in reader if frame.motion is not None]
    inner = (slice(8, -8), slice(8, -8))
    return [
        (field.origin, float((field.vectors[inner] == np.array([-4 * dx, 4 * dy]) * away).all(-1).mean()))
        for field, away in fields
    ]


VIDEOS: tuple[tuple[str, Check], ...] = (("FFmpeg", libraries), ("codecs", codecs), ("motion vectors", vectors))
