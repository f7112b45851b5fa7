"""Opening a video that somebody sent: formats that are one file, of a size that was agreed on."""

from __future__ import annotations

from pathlib import Path

import av

from arseg.errors import InputError

from .limits import Limits

__all__ = ["FORMATS", "check", "reading"]

# No playlists, no lists of files, no network, no scripts, no pictures.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska,webm",
    "avi",
    "mpegts",
    "mpeg",
    "mpegvideo",
    "m4v",
    "flv",
    "ogg",
    "asf",
    "nut",
    "ivf",
    "h264",
    "hevc",
    "obu",
)
"""FFmpeg's names of the demuxers that are let near it."""


def reading(limits: Limits) -> dict[str, str]:
    """Options of `VideoReader`: FFmpeg opens no other file, and no frame that is too large, later ones included."""
    return {
        "format_whitelist": ",".join(FORMATS),
        "protocol_whitelist": "file",
        "max_pixels": str(limits.pixels),
    }


def check(path: Path, limits: Limits) -> None:
    """Looks at the head of a file, before a frame is decoded; raises `InputError` for what is not taken."""
    try:
        with av.open(str(path), options=reading(limits)) as container:
            streams = container.streams.video
            seconds = None if container.duration is None else container.duration / av.time_base
            sizes = [(s.codec_context.width, s.codec_context.height) for s in streams if s.codec_context is not None]
            counts = [s.frames for s in streams]
    except (av.error.FFmpegError, OSError, UnicodeError):
        raise InputError(
            f"{path.name}: is no video that is taken here; send MP4, MOV, Matroska, WebM, AVI or MPEG"
        ) from None
    if not sizes:
        raise InputError(f"{path.name}: has no video stream; send a video")
    for width, height in sizes:
        check_size(path.name, width, height, limits)
    check_length(path.name, seconds, max(counts), limits)


def check_size(name: str, width: int, height: int, limits: Limits) -> None:
    if width * height > limits.pixels:
        raise InputError(f"{name}: its frames are {width}x{height}, more than {limits.pixels} pixels; send it smaller")


def check_length(name: str, seconds: float | None, frames: int, limits: Limits) -> None:
    if seconds is not None and seconds > limits.video_seconds:
        raise InputError(f"{name}: lasts longer than {limits.video_seconds:g} s; send a part of it")
    if frames > limits.frames:
        raise InputError(f"{name}: has more than {limits.frames} frames; send a part of it")
