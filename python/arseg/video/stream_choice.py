"""Which of a file's video streams is read."""

from __future__ import annotations

from collections.abc import Sequence

from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from arseg.errors import InputError

from .errors import NotAVideoError

# What goes with a video or a piece of music, and is none.
_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image | Disposition.dependent


def choose(container: InputContainer, path: str, wanted: int | None) -> tuple[VideoStream, str | None]:
    """The stream, and a sentence on the choice where there were several.

    Args:
        path: for messages.
        wanted: its number among the video streams, from 0; None: FFmpeg's best one that is neither a cover picture nor
            a still.

    Raises:
        NotAVideoError: there is no video stream that can be decoded.
        InputError: there is no stream with the number `wanted`.
    """
    streams = list(container.streams.video)
    if wanted is not None:
        if not streams:
            raise NotAVideoError(f"{path} has no video stream, only {_kinds(container)}: give a video file", path=path)
        if isinstance(wanted, bool) or not isinstance(wanted, int) or not 0 <= wanted < len(streams):
            there = "one video stream, number 0" if len(streams) == 1 else f"video streams 0 to {len(streams) - 1}"
            raise InputError(f"stream: {path} has {there}; got {wanted!r}")
        return _decodable(streams[wanted], path), None
    moving = [stream for stream in streams if not stream.disposition & _PICTURES]
    if not moving:
        others = _kinds(container, without_video=True)
        if not streams:
            raise NotAVideoError(f"{path} has no video stream, only {others}: give a video file", path=path)
        what = "a cover picture or still" if len(streams) == 1 else f"{len(streams)} cover pictures or stills"
        beside = f" beside its {others}" if others != _NOTHING else ""
        raise NotAVideoError(f"{path} has no video stream, only {what}{beside}: give a video file", path=path)
    stream = _best(container, moving)
    number = streams.index(stream)
    if len(moving) == 1:
        return _decodable(stream, path), None
    others = ", ".join(
        f"{i} ({_described(other)})" for i, other in enumerate(streams) if other in moving and i != number
    )
    said = (
        f"{path} has {len(moving)} video streams: number {number} ({_described(stream)}) is read, not {others}; "
        "choose with stream=N (--stream N)"
    )
    return _decodable(stream, path), said


def _best(container: InputContainer, moving: Sequence[VideoStream]) -> VideoStream:
    """FFmpeg's choice, among those that have more than a picture where there are such."""
    known = [stream for stream in moving if stream.codec_context is not None] or moving
    full = [stream for stream in known if _length(stream) != 0] or known
    full = [stream for stream in full if _length(stream) != 1] or full
    best = container.streams.best("video")
    if best in full:
        assert isinstance(best, VideoStream)
        return best
    return max(full, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height))


def _length(stream: VideoStream) -> float | None:
    """Number of frames, where the container says so."""
    if stream.frames:
        return stream.frames
    if "mov" in stream.container.format.name.split(","):
        # An index without entries beside another that has some is that of an empty track.
        siblings = stream.container.streams.video
        return 0 if not len(stream.index_entries) and any(len(other.index_entries) for other in siblings) else None
    # Matroska: statistics that its writers leave as tags.
    tags = {key.partition("-")[0]: value for key, value in stream.metadata.items()}
    try:
        if "NUMBER_OF_FRAMES" in tags:
            return int(tags["NUMBER_OF_FRAMES"])
        hours, minutes, seconds = map(float, tags["DURATION"].split(":"))
    except (KeyError, ValueError):
        return None
    length = (hours * 60 + minutes) * 60 + seconds
    return max(1, round(length * stream.average_rate)) if length and stream.average_rate else None


def _decodable(stream: VideoStream, path: str) -> VideoStream:
    if stream.codec_context is None:
        raise NotAVideoError(
            f"{path} has a video stream that this build of FFmpeg cannot decode: convert it to H.264", path=path
        )
    return stream


def _described(stream: VideoStream) -> str:
    if stream.codec_context is None:
        return "unknown codec"
    return f"{stream.codec_context.codec.canonical_name} {stream.width}x{stream.height}"


_NOTHING = "an empty container"


def _kinds(container: InputContainer, *, without_video: bool = False) -> str:
    kinds = sorted({stream.type or "data" for stream in container.streams} - ({"video"} if without_video else set()))
    return " and ".join(kinds) or _NOTHING
