"""Opening a video file with PyAV, and PyAV's failures as sentences. Shared by the reader and the transcoder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from .errors import NoFramesError, NoKeyframeError, NotAVideoError, TruncatedStreamError

# Demuxers that take any text file for an animation.
_TEXT_FORMATS = {"tty", "ansi"}
# Containers whose index says exactly how many frames there are.
_COUNTED_FORMATS = {"mov", "mp4"}

# AVFieldOrder: 0 unknown, 1 progressive, the rest are ways of interlacing.
PROGRESSIVE_ORDERS = (0, 1)

# FFmpeg's codec names where people know another one.
_CODEC_NAMES = {
    "hevc": "HEVC (H.265)",
    "vp8": "VP8",
    "vp9": "VP9",
    "av1": "AV1",
    "vvc": "VVC (H.266)",
    "mpeg1video": "MPEG-1",
    "mpeg2video": "MPEG-2",
    "mpeg4": "MPEG-4 part 2",
    "h264": "H.264",
}


@dataclass(eq=False)
class Source:
    """An open container and its video stream."""

    path: str
    container: InputContainer
    stream: VideoStream

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec, such as "h264"."""
        return self.stream.codec_context.codec.canonical_name

    @property
    def codec_label(self) -> str:
        """The name people know the codec by."""
        return _CODEC_NAMES.get(self.codec, self.codec)

    @property
    def shown_frames(self) -> int | None:
        """Number of frames that the container says it shows, by its edit list if it has one."""
        if not self._counted or len(self.stream.index_entries) == 0:
            return self.stream.frames or None
        return sum(not entry.is_discard for entry in self.stream.index_entries)

    @property
    def counted_packets(self) -> int | None:
        """Number of packets up to the last one that is shown, where the container knows it exactly."""
        if not self._counted:
            return None
        entries = self.stream.index_entries
        return next((i for i in range(len(entries), 0, -1) if not entries[i - 1].is_discard), None)

    @property
    def _counted(self) -> bool:
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
    timeout: float | None = None,
) -> Source:
    """Open `path` (a file, or a URL or device that FFmpeg knows) and find its video stream.

    Args:
        options: for the demuxer.
        format: FFmpeg's name of the demuxer, where it cannot be guessed ("v4l2" for a camera).
        timeout: seconds without data after which reading fails; None waits for ever.

    Raises:
        NotAVideoError: no such file, not a video, or nothing but sound.
    """
    name = os.fspath(path)
    try:
        container = av.open(name, format=format, options=options or {}, metadata_errors="replace", timeout=timeout)
    except (av.error.FFmpegError, OSError) as error:
        raise NotAVideoError(_why_not_opened(name, error), path=name) from error
    try:
        streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
        if container.format.name in _TEXT_FORMATS:
            raise NotAVideoError(f"{name} is a text file: give a video file", path=name)
        if not streams:
            raise NotAVideoError(f"{name} has no video stream, only {_kinds(container)}: give a video file", path=name)
        if streams[0].codec_context is None:
            raise NotAVideoError(
                f"{name} has a video stream that this build of FFmpeg cannot decode: convert it to H.264", path=name
            )
    except BaseException:
        container.close()
        raise
    return Source(name, container, streams[0])


def decode(source: Source) -> Iterator[av.VideoFrame]:
    """The frames of a source in presentation order.

    Raises:
        NoFramesError, NoKeyframeError, TruncatedStreamError: as `end_of_stream`, after the last good frame.
    """
    context = source.stream.codec_context
    packets = frames = 0
    broken: Exception | None = None
    try:
        for packet in source.container.demux(source.stream):
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
    shown = frames - hidden
    if frames == 0 and packets == 0 and broken is None:
        raise NoFramesError(
            f"{source.path} has a video stream without frames: give a video with frames", path=source.path
        )
    if shown == 0 and packets and broken is None and source.shown_frames == 0:
        raise NoFramesError(
            f"{source.path} shows none of its frames: its edit list is empty or lies behind its end; write the file "
            "again without one, or read it with VideoReader(…, options={'ignore_editlist': '1'})",
            path=source.path,
        )
    if frames == 0:
        raise NoKeyframeError(
            f"{source.path} has {packets} packets of {source.codec_label} but no keyframe that decoding could start "
            "at: give a file that starts with a keyframe",
            path=source.path,
        ) from broken
    if broken is not None or (expected is not None and packets < expected):
        promised = f" of {source.shown_frames}" if expected else ""
        raise TruncatedStreamError(
            f"{source.path} breaks off or is damaged at frame {shown}{promised}: get the whole file again; the "
            "frames before it are good, and on_error='resync' (--on-error resync) takes what can be read",
            path=source.path,
            frame=shown,
        ) from broken


def _why_not_opened(name: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{name} does not exist: check the path"
    if isinstance(error, IsADirectoryError) or os.path.isdir(name):
        return f"{name} is a folder: give a video file"
    if isinstance(error, PermissionError):
        return f"{name} may not be read: check its permissions"
    try:
        if os.path.getsize(name) == 0:
            return f"{name} is an empty file: give a video file"
    except OSError:
        pass
    reason = getattr(error, "strerror", None) or str(error)
    return f"{name} cannot be opened as a video ({reason[:1].lower()}{reason[1:]}): it is no video file or is cut off"


def _kinds(container: InputContainer) -> str:
    kinds = sorted({stream.type or "data" for stream in container.streams})
    return " and ".join(kinds) or "an empty container"
