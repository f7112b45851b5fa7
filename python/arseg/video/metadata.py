"""What a container and its first frame say of a video."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av

from .source import Source

Counted = Literal["container", "packets", "stated", "unknown"]


@dataclass(frozen=True)
class VideoMetadata:
    """Attributes:
    container: FFmpeg's name of the format, such as "mov,mp4,m4a,3gp,3g2,mj2".
    codec, profile: FFmpeg's names; profile None where the stream has none.
    pixel_format: FFmpeg's, such as "yuv420p".
    width, height: pixels, as coded.
    rate: frames a second, in the mean.
    time_base: unit of the timestamps in seconds.
    start, duration: seconds; None where the container does not say.
    bit_rate: bits a second of the whole file, None where it is not known.
    frame_count: number of frames shown; None where nobody said or counted.
    counted: where that comes from: the "container"'s index, the "packets" counted, what the container has "stated"
        (which may be wrong), or "unknown".
    has_sound: whether there is an audio stream.
    tags: of the container and the stream, such as {"title": …}.
    """

    container: str
    codec: str
    profile: str | None
    pixel_format: str | None
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    start: Fraction | None
    duration: Fraction | None
    bit_rate: int | None
    frame_count: int | None
    counted: Counted
    has_sound: bool
    tags: dict[str, str]


def metadata(source: Source, frame: av.VideoFrame, rate: Fraction) -> VideoMetadata:
    """Of an open source and its first frame."""
    container, stream = source.container, source.stream
    start, time_base = stream.start_time, Fraction(stream.time_base or Fraction(1, 25))
    count = source.shown_frames
    return VideoMetadata(
        container=container.format.name,
        codec=source.codec.name,
        profile=stream.codec_context.profile,
        pixel_format=frame.format.name,
        width=frame.width,
        height=frame.height,
        rate=rate,
        time_base=time_base,
        start=None if start is None else start * time_base,
        duration=None if container.duration is None else Fraction(container.duration, av.time_base),
        bit_rate=container.bit_rate or None,
        frame_count=count,
        counted="unknown" if count is None else "container" if source.counted else "stated",
        has_sound=bool(container.streams.audio),
        tags={**container.metadata, **stream.metadata},
    )
