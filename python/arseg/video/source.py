"""Opening a video file with PyAV, and PyAV's failures as sentences. Shared by the reader and the transcoder."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from .codecs import Codec, codec_named
from .diagnosis import broken_off, is_timeout, not_opened, without_urls
from .errors import RESYNC_HINT, NoFramesError, NoKeyframeError, NotAVideoError, TruncatedStreamError
from .given import GivenFile
from .live import may_fall_silent
from .names import ffmpeg_name, shown
from .stream_choice import choose

# Demuxers that take any text file for an animation.
_TEXT_FORMATS = {"tty", "ansi"}
# Containers whose index says exactly how many frames there are.
_COUNTED_FORMATS = {"mov", "mp4"}

# Titles and the like may be in any encoding; PyAV 19 takes all of them, and has no such argument.
_ANY_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}

# Seconds without data after which a URL or a device counts as silent.
TIMEOUT = 10.0

# AVFieldOrder: 0 unknown, 1 progressive, the rest are ways of interlacing.
PROGRESSIVE_ORDERS = (0, 1)


@dataclass(eq=False)
class Source:
    """An open container and its video stream.

    Attributes:
        path: for messages: what is secret in a URL is not in it.
        choice: a sentence on which video stream was taken, where there were several.
        timeout: seconds without data after which reading fails; None where it waits for ever.
        waited: seconds that the last packet took to come.
        closed: the container is, and nothing of it may be touched.
    """

    path: str
    container: InputContainer
    stream: VideoStream
    choice: str | None = None
    timeout: float | None = None
    waited: float = 0.0
    closed: bool = False

    def packets(self) -> Iterator[av.Packet]:
        """Those of the video stream, the last one empty.

        Raises what FFmpeg does, and `TimeoutError` where the end is none, but nothing came in time.
        """
        packets = self.container.demux(self.stream)
        while True:
            started = time.monotonic()
            packet = next(packets, None)
            self.waited = time.monotonic() - started
            if packet is None:
                return
            if not packet.size and is_timeout(None, self.waited, self.timeout):
                raise TimeoutError(errno.ETIMEDOUT, "no data came in time")
            yield packet

    @property
    def codec(self) -> Codec:
        """What is known of the codec."""
        return codec_named(self.stream.codec_context.codec.canonical_name)

    @property
    def shown_frames(self) -> int | None:
        """Number of frames that the container says it shows, by its edit list if it has one."""
        if not self.counted or len(self.stream.index_entries) == 0:
            return self.stream.frames or None
        return sum(not entry.is_discard for entry in self.stream.index_entries)

    @property
    def counted_packets(self) -> int | None:
        """Number of packets up to the last one that is shown, where the container knows it exactly."""
        if not self.counted:
            return None
        entries = self.stream.index_entries
        return next((i for i in range(len(entries), 0, -1) if not entries[i - 1].is_discard), None)

    @property
    def counted(self) -> bool:
        """Whether the container has an index of all its packets."""
        formats = set(self.container.format.name.split(","))
        return bool(self.stream.frames and formats & _COUNTED_FORMATS)

    @property
    def interlaced(self) -> bool:
        """What the container says; PyAV 17 does not tell, and the decoded frames' own flag then has to."""
        order = getattr(self.stream.codec_context, "field_order", None)
        return order is not None and order not in PROGRESSIVE_ORDERS


def open_source(
    path: str | os.PathLike[str],
    options: dict[str, str] | None = None,
    *,
    format: str | None = None,
    timeout: float | None = TIMEOUT,
    live: bool = False,
    stream: int | None = None,
) -> Source:
    """Open `path` (a file, a URL or device that FFmpeg knows, or data) and find its video stream.

    Args:
        options: for the demuxer.
        format: FFmpeg's name of the demuxer, where it cannot be guessed ("v4l2" for a camera).
        timeout: seconds without data after which reading a URL or a device fails; None waits for ever.
        live: the source may fall silent whatever it is called.
        stream: number of the video stream, from 0; None: the best.

    Raises:
        NotAVideoError: no such file, not a video, or nothing but sound.
        InputError: there is no such `stream`.
    """
    name = shown(path)
    timeout = timeout if live or may_fall_silent(path, format) else None
    started = time.monotonic()
    try:
        container = av.open(
            path.opened() if isinstance(path, GivenFile) else ffmpeg_name(path, format=format),
            format=format,
            options=options or {},
            timeout=timeout,
            **_ANY_METADATA,
        )
    except (av.error.FFmpegError, OSError, UnicodeError) as error:
        failed: Exception = error
    else:
        try:
            if container.format.name in _TEXT_FORMATS:
                raise NotAVideoError(f"{name} is a text file: give a video file", path=name)
            chosen, choice = choose(container, name, stream)
        except BaseException:
            container.close()
            raise
        return Source(name, container, chosen, choice, timeout)
    # Here and not above: an error's context would carry the URL with what is secret in it.
    waited = time.monotonic() - started
    sentence = not_opened(path, failed, format=format, waited=waited, timeout=timeout)
    raise NotAVideoError(sentence, path=name) from without_urls(failed)


def decode(source: Source) -> Iterator[av.VideoFrame]:
    """The frames of a source in presentation order.

    Raises:
        NoFramesError, NoKeyframeError, TruncatedStreamError: as `end_of_stream`, after the last good frame.
    """
    context = source.stream.codec_context
    packets = frames = 0
    broken: Exception | None = None
    try:
        for packet in source.packets():
            if packet.size:
                packets += 1
            for frame in packet.decode():
                frames += 1
                yield frame
    except (av.error.FFmpegError, OSError) as error:
        broken = error
    if broken is not None:
        # The decoder's threads may still hold good frames from before the break.
        try:
            rest = context.decode(None)
        except (av.error.FFmpegError, OSError):
            rest = []
        for frame in rest:
            frames += 1
            yield frame
    end_of_stream(source, packets, frames, broken)


def end_of_stream(source: Source, packets: int, frames: int, broken: Exception | None, *, hidden: int = 0) -> None:
    """Whether a stream ended as it should.

    Args:
        packets, frames: that came.
        broken: what ended it, None for its end.
        hidden: frames among them that an edit list does not show.

    Raises:
        NoFramesError, NoKeyframeError: no frame came.
        TruncatedStreamError: the file breaks off or is damaged.
    """
    expected = source.counted_packets
    cause = None if broken is None else without_urls(broken)
    good = frames - hidden
    if frames == 0 and packets == 0 and broken is None:
        raise NoFramesError(
            f"{source.path} has a video stream without frames: give a video with frames", path=source.path
        )
    if good == 0 and packets and broken is None and source.shown_frames == 0:
        raise NoFramesError(
            f"{source.path} shows none of its frames: its edit list is empty or lies behind its end; write the file "
            "again without one, or read it with VideoReader(…, options={'ignore_editlist': '1'})",
            path=source.path,
        )
    # What decoding raises is no OSError.
    gone = source.timeout is not None and isinstance(broken, OSError | av.error.ExitError)
    if frames == 0 and packets and not gone:
        raise NoKeyframeError(
            f"{source.path} has {packets} packets of {source.codec.label} but no keyframe that decoding could start "
            "at: give a file that starts with a keyframe",
            path=source.path,
        ) from cause
    if broken is not None or (expected is not None and packets < expected):
        promised = f" of {source.shown_frames}" if expected else ""
        where = f"at frame {good}{promised}"
        if broken is not None and gone:
            sentence = (
                f"{source.path} {broken_off(broken, source.waited, source.timeout)} {where}: check the server and the "
                "network, or wait longer (`timeout`, --timeout); the frames before it are good"
            )
        else:
            sentence = (
                f"{source.path} breaks off or is damaged {where}: get the whole file again; the "
                f"frames before it are good, and {RESYNC_HINT} takes what can be read"
            )
        raise TruncatedStreamError(sentence, path=source.path, frame=good) from cause
