"""Frames and motion fields of a compressed video in one pass."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from types import TracebackType
from typing import Literal

import av
import numpy as np
from av.codec.context import Flags, Flags2

from arseg.errors import InputError

from ._coded import ANCHOR_CODECS, Headers, headers_of
from ._colours import Colours, rgb
from ._decoding import Decoded, Decoding
from ._fields import FieldBuilder, Item, Problem
from ._hevc_vectors import HevcDecoding, available
from ._live import is_live, pauses
from ._recoding import recoded
from ._source import TIMEOUT, Source, open_source
from ._timeline import Timeline
from .errors import (
    RESYNC_HINT,
    ConnectionLostError,
    Discontinuity,
    InterlacedError,
    Loss,
    ReferenceGapError,
    ResolutionChangedError,
    TruncatedStreamError,
    UnsupportedCodecError,
    UnsupportedStreamError,
    VideoError,
    encode_hint,
    transcode_hint,
)
from .motion import BLOCKS, BlockField
from .names import shown
from .orientation import display_matrix, orientation

__all__ = ["VideoFrame", "VideoReader"]


@dataclass(frozen=True)
class VideoFrame:
    """One decoded frame.

    Attributes:
        index: 0-based, in presentation order; frames that were dropped after a loss are counted, those that the file's
            edit list does not show are not.
        image: uint8 `[H, W, 3]`, RGB, as coded (rotation metadata is not applied).
        frame_type: the codec's "I", "P" or "B".
        keyframe: first frame of a group.
        distance: frames since the keyframe, 0 for the keyframe.
        motion: field to the keyframe; None for the keyframe.
        pts, time_base: the container's timestamp, as its edit list has it; higher from frame to frame, see
            `VideoReader.discontinuities`. pts is None for raw streams.
        time: pts in seconds, None for raw streams.
        references: number of frames that its vectors may point to; 0 for an I frame.
        intra: share of its cells for which the codec has no vector, 0..1; 1 for an I frame.
        records: the codec's vectors as they are, `[n]` of `arseg.video.motion.RECORD`; None without any.
        stream: the same for all frames of one iteration of a reader, and another for every other one; None: not known.
    """

    index: int
    image: np.ndarray
    frame_type: str
    keyframe: bool
    distance: int
    motion: BlockField | None
    pts: int | None
    time_base: Fraction
    time: float | None
    references: int = 0
    intra: float = 1.0
    records: np.ndarray | None = field(default=None, repr=False)
    stream: str | None = field(default=None, repr=False, compare=False)


class VideoReader:
    """Reads a video: every frame with its motion field to the keyframe of its group.

    H.264 with any references and B frames, and the MPEG family (MPEG-1, 2, 4 part 2, H.263 …) are read as they are:
    each field says whether it is exact or inferred. HEVC is where the package was built with libde265. Everything else,
    and interlaced video, is transcoded in memory unless that is switched off.

    A group starts at every I frame of the codec, and anew after at most `gop` frames: a P frame is taken for a keyframe
    then (or a B frame, where no other is near), so that streams without keyframes work, too. Frames are decoded as they
    are asked for; none is kept but those that others refer to (at most 16). Each `iter(reader)` starts from the first
    frame, or for a live source, from the present.

    An edit list (mp4, mov) is followed: what it hides is decoded where others are predicted from it, and not handed
    out; the first frame that is shown after it starts a group.

    Args:
        path: a video file, or a URL or device that FFmpeg knows.
        block: video pixels per cell of the motion fields: 4, 8 or 16.
        gop: longest group in frames, at least 1.
        transcode: find vectors by encoding again, in memory, where the stream has none that can be used; False: raise.
        on_error: at lost or damaged frames, "raise" the error after the frames before; or "resync": go on at the next
            keyframe and tell in `losses`; always so for a live source.
        live: whether to connect again when the source breaks off; None: for network streams and cameras.
        reconnect: how many times in a row to try, for live sources; 0: not at all.
        timeout: seconds without data after which a URL or a device counts as broken off; None: wait for ever.
        format: FFmpeg's name of the container or device where it cannot be guessed, such as "v4l2".
        stream: which of several video streams to read, counted from 0; None: FFmpeg's best one, no cover picture or
            still. `choice` then says which was taken.
        options: for FFmpeg's demuxer, such as `{"rtsp_transport": "tcp"}`.

    Attributes:
        path: as given.
        width, height: size of the first frame in pixels, as coded.
        rate: average frames per second.
        codec: FFmpeg's name of the codec, such as "h264".
        choice: a sentence on which video stream was taken, None where there was no choice.
        transcoding: why the video is transcoded, None where it is not.
        display_matrix: how a player turns and mirrors the frames, FFmpeg's nine numbers (`arseg.video.orientation`);
            None: not at all.
        rotation: degrees counter-clockwise that a player turns the frames by, from the display matrix.
        mirrored: whether it mirrors them left to right before that.
        duration: seconds that the container states; None where it does not.
        colours: what the RGB values mean: FFmpeg's numbers of the primaries and the transfer characteristic.
        pixel_aspect: width to height of a pixel as shown, from the metadata; None where it does not say.
        frame_count: number of frames the container states that it shows; None where it does not.
        losses: what was lost so far, with `on_error="resync"` or a live source.
        discontinuities: where the container's timestamps did not go on so far. Where they go back (joined recordings, a
            camera that was switched off) or an hour ahead, the frame follows the last by that one's duration, and all
            later ones are shifted with it. Frames without a timestamp among others follow the last, too.

    Raises:
        ValueError: an argument out of range.
        NotAVideoError, NoFramesError, NoKeyframeError: nothing to read.
        UnsupportedCodecError, InterlacedError: a stream whose vectors cannot be used, with `transcode=False`; from the
            iteration where it only shows later.
        ReferenceGapError, TruncatedStreamError: from the iteration, after the frames before.
        ResolutionChangedError: the size changes without an I frame.
        ConnectionLostError: a live source did not come back.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        block: int = 4,
        gop: int = 48,
        transcode: bool = True,
        on_error: Literal["raise", "resync"] = "raise",
        live: bool | None = None,
        reconnect: int = 5,
        timeout: float | None = TIMEOUT,
        stream: int | None = None,
        format: str | None = None,
        options: dict[str, str] | None = None,
    ) -> None:
        if block not in BLOCKS:
            raise InputError(f"block: expected 4, 8 or 16, got {block!r}")
        if isinstance(gop, bool) or not isinstance(gop, int) or gop < 1:
            raise InputError(f"gop: expected at least 1, got {gop!r}")
        if on_error not in ("raise", "resync"):
            raise InputError(f"on_error: expected 'raise' or 'resync', got {on_error!r}")
        if isinstance(reconnect, bool) or not isinstance(reconnect, int) or reconnect < 0:
            raise InputError(f"reconnect: expected a number of attempts, at least 0, got {reconnect!r}")
        if timeout is not None and not (isinstance(timeout, (int, float)) and 0 < timeout < float("inf")):
            raise InputError(f"timeout: expected seconds above 0, or None to wait for ever, got {timeout!r}")
        self.path = path
        self._name = shown(path)
        self.losses: list[Loss] = []
        self.discontinuities: list[Discontinuity] = []
        self.transcoding: str | None = None
        self._block = block
        self._gop = gop
        self._transcode = transcode
        self._live = is_live(path, format) if live is None else live
        self._resync = on_error == "resync" or self._live  # nobody can get a live source again
        self._reconnect = reconnect
        self._timeout = timeout
        self._stream = stream
        self._format = format
        self._options = options or {}
        self._open: list[Source] = []
        self._begun: _Connection | None = None
        try:
            begun = self._connect(self._builder())
            first = begun.first.frame
            video = begun.source.stream
            self.choice = begun.source.choice
            self.width = first.width
            self.height = first.height
            self.display_matrix = display_matrix(first)
            self.rotation, self.mirrored = orientation(self.display_matrix)
            self.colours = Colours.of(first)
            length = begun.source.container.duration
            self.duration = None if length is None else Fraction(length, av.time_base)
            self.pixel_aspect = video.sample_aspect_ratio
            self.codec = begun.source.codec
            self.rate = Fraction(video.average_rate or video.guessed_rate or 25)
            self.frame_count = begun.source.shown_frames
        except BaseException:
            self.close()
            raise
        self._begun = begun

    @property
    def live(self) -> bool:
        """Whether the source is connected again when it breaks off."""
        return self._live

    def __iter__(self) -> Iterator[VideoFrame]:
        begun, self._begun = self._begun, None
        return self._frames(begun or self._connect(self._builder()))

    def close(self) -> None:
        """Close the file; an iteration under way stops after the frame it is at."""
        self._begun = None
        while self._open:
            self._open.pop().container.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _builder(self) -> FieldBuilder:
        return FieldBuilder(self._block, self._gop, resync=self._resync, report=self.losses.append)

    def _connect(self, builder: FieldBuilder) -> _Connection:
        """Open the source and decode its first frame, which tells what the container does not."""
        source = open_source(
            self.path,
            self._options,
            format=self._format,
            timeout=self._timeout,
            live=self._live,
            stream=self._stream,
        )
        self._open.append(source)
        try:
            headers = self._headers(source)
            interlaced = source.interlaced
            context = source.stream.codec_context
            if not interlaced and not self.transcoding:
                context.flags2 |= Flags2.export_mvs
            context.flags |= Flags.unaligned  # else a left crop is rounded, and pixels and vectors part
            # Where frames are put in order, threads that decode several at once hand out vectors before they are there.
            in_order = source.codec not in ANCHOR_CODECS and not context.has_b_frames
            context.thread_type = "AUTO" if in_order or self.transcoding else "SLICE"
            if interlaced:
                self._need_transcoding(f"{self._name} is interlaced", InterlacedError)
            if source.codec == "hevc" and not self.transcoding:
                decoding: Decoding = HevcDecoding(source, announce=builder.announce, tolerant=self._resync)
            else:
                announce = None if self.transcoding else builder.announce
                decoding = Decoding(source, headers, announce=announce, tolerant=self._resync)
            frames = decoding.frames()
            first = next(frames)
            if first.frame.interlaced_frame and not self.transcoding:
                self._need_transcoding(f"{self._name} is interlaced", InterlacedError, frame=0)
                self._disconnect(source)
                builder.restart()
                return self._connect(builder)
            return _Connection(source, first, frames, builder)
        except BaseException:
            self._disconnect(source)
            raise

    def _headers(self, source: Source) -> Headers | None:
        headers = headers_of(source.codec, source.stream.codec_context.extradata)
        if headers is not None or (source.codec == "hevc" and available()):
            return headers
        self._need_transcoding(
            f"{source.path} is {source.codec_label}, whose motion vectors cannot be read", UnsupportedCodecError
        )
        return None

    def _need_transcoding(self, why: str, error: type[VideoError], frame: int | None = None) -> None:
        if not self._transcode:
            raise error(f"{why}: {transcode_hint(self._name)}", path=self._name, frame=frame)
        self.transcoding = why

    def _disconnect(self, source: Source) -> None:
        if source in self._open:
            self._open.remove(source)
            source.container.close()

    def _frames(self, connection: _Connection | None) -> Iterator[VideoFrame]:
        """Frames of one connection after the other; files have one."""
        builder = connection.builder if connection is not None else self._builder()
        stream = uuid.uuid4().hex  # also where frames go through other processes
        self.discontinuities.clear()
        timeline = Timeline(self.rate, self.discontinuities.append)
        while connection is not None:
            source = connection.source
            try:
                for item in self._items(connection, timeline):
                    yield _video_frame(item, stream, self._name)
                    if source not in self._open:
                        return  # closed by the caller
            except TruncatedStreamError as error:
                if not self._live:
                    if not self._resync:
                        raise
                    self.losses.append(Loss(error.frame or 0, None, "the file breaks off or is damaged"))
            self._disconnect(source)
            connection = self._again(builder) if self._live else None

    def _items(self, connection: _Connection, timeline: Timeline) -> Iterator[Item]:
        builder = connection.builder
        timed = connection.source.stream.start_time is not None
        frames: Iterator[Decoded] = timeline.follow(connection.decoded(), timed=timed)
        if self.transcoding:
            builder.transcoded = True
            frames = recoded((decoded for decoded in frames if not decoded.hidden), gop=self._gop, rate=self.rate)
        ended: VideoError | None = None
        while builder.problem is None:
            try:
                decoded = next(frames, None)
            except VideoError as error:
                ended = error
                break
            if decoded is None:
                break
            yield from self._added(builder, decoded)
        if builder.problem is None:
            yield from builder.flush(cut=ended is not None)
        if builder.problem is not None:
            raise self._error(builder.problem)
        if ended is not None:
            raise ended

    def _added(self, builder: FieldBuilder, decoded: Decoded) -> list[Item]:
        try:
            return builder.add(decoded)
        except ValueError as error:
            raise UnsupportedStreamError(
                f"{self._name} has a motion vector that cannot be used ({error}): {encode_hint(self._name)}",
                path=self._name,
            ) from error

    def _again(self, builder: FieldBuilder) -> _Connection | None:
        """A new connection to a live source that broke off."""
        self.losses.append(Loss(builder.count, None, "the source broke off and was connected again"))
        builder.restart()
        for _ in pauses(self._reconnect):
            try:
                return self._connect(builder)
            except VideoError:
                continue
        self.losses.pop()
        raise ConnectionLostError(
            f"{self._name} broke off at frame {builder.count} and did not come back in {self._reconnect} attempts: "
            "check the source, or raise `reconnect`",
            path=self._name,
            frame=builder.count,
        )

    def _error(self, problem: Problem) -> VideoError:
        path, frame = self._name, problem.number
        if problem.kind == "interlaced":
            return InterlacedError(
                f"{path} is interlaced from frame {frame} on: {encode_hint(path)}", path=path, frame=frame
            )
        if problem.kind == "size":
            (old_width, old_height), (width, height) = problem.facts["old"], problem.facts["new"]
            return ResolutionChangedError(
                f"{path} changes size at frame {frame}, from {old_width}x{old_height} to {width}x{height}, without an "
                "I frame: split it there and give the parts one by one",
                path=path,
                frame=frame,
            )
        if problem.kind == "damaged":
            return TruncatedStreamError(
                f"{path} is damaged at frame {frame}: get the whole file again; {RESYNC_HINT} goes on at the next "
                "keyframe",
                path=path,
                frame=frame,
            )
        missing = problem.facts["missing"]
        lost = f"{missing} frame{'s'[: missing != 1]}"
        what = (
            f"does not start with a keyframe: its first {lost} cannot be decoded"
            if problem.kind == "start"
            else f"has {lost} after frame {frame - 1} that cannot be decoded"
            if problem.kind == "end"
            else f"lacks {lost} before frame {frame} that later ones are predicted from"
        )
        return ReferenceGapError(
            f"{path} {what}: get the whole file again; {RESYNC_HINT} goes on at the next keyframe",
            path=path,
            frame=frame,
        )


@dataclass(eq=False)
class _Connection:
    """An open source that has given its first frame."""

    source: Source
    first: Decoded
    rest: Iterator[Decoded]
    builder: FieldBuilder

    def decoded(self) -> Iterator[Decoded]:
        yield self.first
        yield from self.rest


def _video_frame(item: Item, stream: str, path: str | os.PathLike[str]) -> VideoFrame:
    decoded = item.decoded
    try:
        image = rgb(decoded.frame)
    except UnsupportedStreamError as error:
        raise UnsupportedStreamError(f"{path}, frame {item.index}: {error}", path=path, frame=item.index) from error
    return VideoFrame(
        index=item.index,
        image=image,
        frame_type=item.kind,
        keyframe=item.keyframe,
        distance=item.distance,
        motion=item.motion,
        pts=decoded.pts,
        time_base=decoded.time_base,
        time=None if decoded.pts is None else float(decoded.pts * decoded.time_base),
        references=item.references,
        intra=item.holes,
        records=decoded.records,
        stream=stream,
    )
