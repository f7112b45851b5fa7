"""H.264 with motion vectors that the reader can use: from images, or from any video."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import av
import numpy as np

from arseg.errors import InputError
from arseg.interruptions import Interruptions

from .coding import h264
from .containers import CLOCK
from .decoding import Decoding
from .deinterlace import progressive
from .errors import Discontinuity, ResolutionChangedError
from .live import can_read_again, is_live
from .names import shown
from .orientation import display_matrix, turned
from .settings import PRESETS, as_rate, motion_settings
from .sink import VideoSink, cannot_write, size_remark
from .source import TIMEOUT, Source, open_source
from .timeline import Timeline

__all__ = ["PRESETS", "encode", "transcode"]


def encode(
    frames: Iterable[np.ndarray],
    path: str | os.PathLike[str],
    *,
    rate: Fraction | float = 30,
    gop: int = 12,
    crf: float = 23,
    preset: str = "veryfast",
    rotation: int = 0,
    times: Iterable[float | Fraction] | None = None,
    bitrate: int | None = None,
) -> int:
    """Encode images as H.264 with I and P frames, one reference frame and a keyframe every `gop` frames.

    Even sizes become 4:2:0; a size with an odd side becomes 4:4:4 (profile High 4:4:4), which keeps it exactly but
    which some players refuse.

    Args:
        frames: uint8 `[H, W, 3]` RGB, all of one size; taken one at a time.
        path: target; its ending names the container, as for `VideoWriter`. It appears when it is complete.
        rate: frames per second.
        gop: frames from keyframe to keyframe.
        crf: x264's quality: 0 is lossless, 18 good, 51 worst.
        preset: x264's speed: "ultrafast" … "veryslow".
        rotation: degrees counter-clockwise by which a player turns the frames (metadata only).
        times: seconds of each frame, rising, for a variable rate; counted in 1/90000 s.
        bitrate: bits a second to aim at, in place of `crf`.

    Returns:
        The number of frames written.

    Raises:
        ValueError: a frame of another dtype, shape or size; fewer times than frames; a setting out of range.
        NoFramesError: `frames` is empty.
        OutputError: `path` cannot be written.
    """
    fps = as_rate(rate)
    settings = motion_settings(gop, crf, preset, bitrate)
    time_base = CLOCK if times is not None else None
    with VideoSink(path, h264(settings), rate=fps, matrix=turned(rotation), time_base=time_base) as sink:
        stamps = itertools.repeat(None) if times is None else iter(times)
        for image in frames:
            try:
                time = next(stamps)
            except StopIteration:
                raise InputError(f"times: expected one for each frame, got {sink.frames}") from None
            sink.write_rgb(image, None if time is None else round(Fraction(time) / CLOCK), CLOCK)
    return sink.frames


def transcode(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    gop: int = 12,
    crf: float = 18,
    preset: str = "veryfast",
    stream: int | None = None,
    timeout: float | None = TIMEOUT,
    progress: Callable[[int, int | None], object] | None = None,
    remark: Callable[[str], object] | None = None,
) -> int:
    """Re-encode any video PyAV decodes as `encode` would.

    Size, pixel aspect, display matrix, the times from frame to frame (the first is at 0) and the colours' meaning are
    kept; where timestamps do not go on, they are shifted as `VideoReader` does. Interlaced frames are deinterlaced, RGB
    becomes BT.601, deeper samples become 8 bit, 4:2:0 (4:4:4 for odd sizes); sound is dropped.

    Args:
        source: a video file or a URL; may be the same as `path`.
        path, gop, crf, preset: as for `encode`.
        stream, timeout: as for `VideoReader`.
        progress: called after each frame with the number of frames done and the number expected, None if unknown.
        remark: called with a sentence where one of several video streams was taken, where not every player will take
            the result, which is one of an odd size, and at the end where timestamps were shifted or it came early.

    Returns:
        The number of frames written.

    Raises:
        NotAVideoError, NoFramesError, NoKeyframeError, TruncatedStreamError, ResolutionChangedError: of the source;
            nothing is written then. Of a camera, a network stream or a pipe, which cannot be read again, the frames
            before it are.
        OutputError: `path` cannot be written.
        ValueError: a setting out of range.
    """
    settings = motion_settings(gop, crf, preset)
    opened = open_source(source, stream=stream, timeout=timeout)
    try:
        if opened.choice is not None and remark is not None:
            remark(opened.choice)
        video = opened.stream
        video.codec_context.thread_type = "AUTO"
        rate = as_rate(video.average_rate or video.guessed_rate or 25)
        jumps: list[Discontinuity] = []
        decoded = _in_time(opened, rate, jumps)
        first = next(decoded)
        sentence = size_remark(path, first.height, first.width)
        if sentence is not None and remark is not None:
            remark(sentence)
        matrix = display_matrix(first)
        time_base = None if first.pts is None else first.time_base
        frames = progressive(_same_size(itertools.chain([first], decoded), opened), video.time_base)
        aspect = video.sample_aspect_ratio
        length = opened.container.duration
        again = can_read_again(source, length, live=is_live(source, None))
        with (
            Interruptions() as stops,
            VideoSink(
                path,
                h264(settings),
                rate=rate,
                matrix=matrix,
                pixel_aspect=aspect,
                time_base=time_base,
                from_zero=True,
                duration=None if length is None else Fraction(length, av.time_base),
            ) as sink,
        ):
            step = None if progress is None else lambda: progress(sink.frames, opened.shown_frames)
            ended = _write(sink, stops.each(frames), step, again)
        if remark is not None:
            for jump in jumps:
                remark(f"{opened.path}: {jump}")
            if ended is not None:
                remark(f"{shown(path)}: ended early; what there was until then is kept, {sink.frames} frames")
        if ended is not None:
            raise ended
        stops.raise_late()
        return sink.frames
    finally:
        opened.container.close()


def _write(
    sink: VideoSink,
    frames: Iterable[av.VideoFrame],
    progress: Callable[[], object] | None,
    again: bool,
) -> BaseException | None:
    """Writes all frames; returns what ended them early, unless they can be read again: the sink is to be finished."""
    try:
        for frame in frames:
            sink.write(frame, frame.pts, frame.time_base)
            if progress is not None:
                progress()
    except BaseException as error:
        if again or sink.frames == 0 or cannot_write(error):
            raise
        return error
    return None


def _in_time(source: Source, rate: Fraction, jumps: list[Discontinuity]) -> Iterator[av.VideoFrame]:
    """The frames that are shown, with times that rise."""
    headers = source.codec.reading(source.stream.codec_context.extradata, vectors=False)
    timed = source.stream.start_time is not None
    for decoded in Timeline(rate, jumps.append).follow(Decoding(source, headers).frames(), timed=timed):
        if not decoded.hidden:
            decoded.frame.pts, decoded.frame.time_base = decoded.pts, decoded.time_base
            yield decoded.frame


def _same_size(frames: Iterable[av.VideoFrame], source: Source) -> Iterator[av.VideoFrame]:
    size: tuple[int, int] | None = None
    for index, frame in enumerate(frames):
        size = size or (frame.width, frame.height)
        if (frame.width, frame.height) != size:
            raise ResolutionChangedError(
                f"{source.path} changes size at frame {index}, from {size[0]}x{size[1]} to "
                f"{frame.width}x{frame.height}: split it there and encode the parts one by one",
                path=source.path,
                frame=index,
            )
        yield frame
