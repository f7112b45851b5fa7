"""Frames and motion fields of a compressed video in one pass: opened, decoded, given their vectors, handed out."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from fractions import Fraction
from types import TracebackType
from typing import Any, Literal, overload

from arseg.errors import InputError

from .colours import Colours
from .connection import Connection, Connector
from .errors import ConnectionLostError, Discontinuity, Loss, TruncatedStreamError, VideoError
from .field_builder import FieldBuilder
from .fields import PendingFrame
from .frame import VideoFrame, video_frame
from .given import VideoSource, as_source
from .grouping import Starts
from .live import can_read_again, is_live, pauses
from .metadata import metadata
from .motion import BLOCKS
from .names import shown
from .numbered_frames import NumberedFrames
from .orientation import display_matrix, orientation
from .passes import with_fields
from .source import TIMEOUT
from .timeline import Timeline

__all__ = ["VideoFrame", "VideoReader"]


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

    Frames are had by number or time, too: `reader[100]`, `reader[10:20]`, `reader.frames_at([3, 1.5])`,
    `reader.seek(2.0)`; they are equal to those of a pass from the start, fields included. Whole numbers are frames,
    -1 the last; floats are seconds of `VideoFrame.time`. `seeks_from_start` says where that means decoding all before.

    Args:
        path: a video file, or a URL or device that FFmpeg knows; or the video itself: bytes, or an open file.
        block: video pixels per cell of the motion fields: 4, 8 or 16.
        gop: longest group in frames, at least 1.
        starts: asked with a `Candidate` whether a group starts at a frame (`arseg.video.grouping`), besides at I frames
            and after `gop` frames; in decoding order, never for B frames. Each pass asks anew, those for frames by
            number as well, all from the start unless it `restarts`.
        restarts: whether what `starts` says of a frame follows from the frames since the last I frame alone.
        previous: whether frames get their field to the frame before, too (`VideoFrame.previous`).
        transcode: find vectors by encoding again, in memory, where the stream has none that can be used; False: raise.
        on_error: at lost or damaged frames, "raise" the error after the frames before; or "resync": go on at the next
            keyframe and tell in `losses`; always so for a live source.
        live: whether to connect again when the source breaks off; None: for network streams and cameras.
        reconnect: how many times in a row to try, for live sources; 0: not at all.
        timeout: seconds without data after which a URL or a device counts as broken off; None: wait for ever.
        format: FFmpeg's name of the container or device where it cannot be guessed, such as "v4l2".
        stream: which of several video streams to read, counted from 0; None: FFmpeg's best one, no cover picture or
            still. `choice` then says which was taken.
        options: for FFmpeg's demuxer, such as `{"rtsp_transport": "tcp"}`; "max_pixels", a text, holds for the decoder,
            too: larger frames are an error.

    Attributes:
        path: as given; for bytes and open files a name for messages.
        block: as given.
        metadata: what container and stream say of themselves, a `VideoMetadata`.
        width, height: size of the first frame in pixels, as coded.
        rate: average frames per second.
        codec: FFmpeg's name of the codec, such as "h264".
        choice: a sentence on which video stream was taken, None where there was no choice.
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
            iteration where it only shows later, interlaced frames after progressive ones in any case.
        ReferenceGapError, TruncatedStreamError: from the iteration, after the frames before.
        ResolutionChangedError: the size changes without an I frame.
        ConnectionLostError: a live source did not come back.
    """

    def __init__(
        self,
        path: VideoSource,
        *,
        block: int = 4,
        gop: int = 48,
        starts: Starts | None = None,
        restarts: bool = False,
        previous: bool = False,
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
        self.path: str | os.PathLike[str] = as_source(path)
        path = self.path
        self._name = shown(path)
        self.losses: list[Loss] = []
        self.discontinuities: list[Discontinuity] = []
        self.block = block
        self._gop = gop
        self._grouping: dict[str, Any] = {"starts": starts, "previous": previous}
        self._restarts = starts is None or restarts
        self._live = is_live(path, format) if live is None else live
        self._resync = on_error == "resync" or self._live  # nobody can get a live source again
        self._reconnect = reconnect
        self._connector = Connector(
            path,
            transcode=transcode,
            tolerant=self._resync,
            options=options or {},
            format=format,
            timeout=timeout,
            live=self._live,
            stream=stream,
        )
        # The first connection and what it announced the first pictures to: for the first iteration.
        self._begun: tuple[Connection, FieldBuilder] | None = None
        try:
            builder = self._builder(self.losses)
            begun = self._connector.connect(builder)
            self._describe(begun)
        except BaseException:
            self.close()
            raise
        self._begun = begun, builder

    def _describe(self, begun: Connection) -> None:
        source, first = begun.source, begun.first.frame
        self.choice = source.choice
        self.width = first.width
        self.height = first.height
        self.display_matrix = display_matrix(first)
        self.rotation, self.mirrored = orientation(self.display_matrix)
        self.colours = Colours.of(first)
        self.pixel_aspect = source.stream.sample_aspect_ratio
        self.codec = source.codec.name
        self.rate = Fraction(source.stream.average_rate or source.stream.guessed_rate or 25)
        self.metadata = metadata(source, first, self.rate)
        self.duration = self.metadata.duration
        self.frame_count = self.metadata.frame_count
        again = can_read_again(self.path, self.duration, live=self._live)
        self._numbered = NumberedFrames(
            self._connector,
            begun,
            self.metadata,
            builder=lambda: self._builder([]),
            start=self._from_start,
            once="is live" if self._live else None if again else "can be read only once",
            asks=not self._restarts,
            untrusted=self._resync,
            name=self._name,
        )

    @property
    def transcoding(self) -> str | None:
        """Why the video is transcoded, None where it is not."""
        return self._connector.transcoding

    @property
    def live(self) -> bool:
        """Whether the source is connected again when it breaks off."""
        return self._live

    @property
    def seeks_from_start(self) -> str | None:
        """Why frames that are asked for by number are decoded from the start; None: from a keyframe before them.

        Reads all packets once, without decoding. An `InputError` for live sources.
        """
        return self._numbered.why_from_start

    @property
    def entries(self) -> list[int]:
        """Numbers of the frames that `seek` begins at without decoding others; 0 alone where it does from the start."""
        return self._numbered.entries

    @property
    def times(self) -> list[float | None]:
        """`VideoFrame.time` of each frame. Reads all packets once, and decodes where these do not tell."""
        return self._numbered.times

    def __iter__(self) -> Iterator[VideoFrame]:
        return self._frames(self.pending(), uuid.uuid4().hex)

    def pending(self, *, references: bool = False, dense: bool = True) -> Iterator[PendingFrame]:
        """As the iteration, but frames as they are decoded, before they become RGB; for `arseg.video.vectors`.

        Args:
            references, dense: `keeps_references` and `dense` of `FieldBuilder`.
        """
        begun, self._begun = self._begun, None
        if begun is None:
            builder = self._builder(self.losses)
            begun = self._connector.connect(builder), builder
        begun[1].keeps_references = references
        begun[1].dense = dense or self._grouping["starts"] is not None  # which is asked with fields
        self.discontinuities.clear()
        return self._items(*begun, self.losses, self.discontinuities)

    def __len__(self) -> int:
        """Number of frames that are shown: of the container where its index has all, else the packets are counted.

        `metadata.counted` says which. Raises `LengthError` for what is live, or can be read only once.
        """
        self.metadata = self._numbered.counted()
        self.frame_count = self.metadata.frame_count
        assert self.frame_count is not None
        return self.frame_count

    @overload
    def __getitem__(self, place: slice) -> list[VideoFrame]: ...
    @overload
    def __getitem__(self, place: float) -> VideoFrame: ...
    def __getitem__(self, place: Any) -> Any:
        """A frame by number or time; the frames of a slice (numbers) as a list."""
        if isinstance(place, slice):
            return self.frames_at(range(*place.indices(self._numbered.count)))
        return self.frames_at([place])[0]

    def frames_at(self, places: Iterable[float]) -> list[VideoFrame]:
        """Frames by number (whole numbers, -1 the last) or time (floats, seconds), in the order asked for.

        Each is decoded once, in one go where they lie in one group. Raises `FrameIndexError`, an `IndexError`, where
        there is no such frame.
        """
        wanted = [self._numbered.index(place) for place in places]
        taken = self._frames(self._numbered.take(sorted(set(wanted))), self._numbered.stream)
        found = {frame.index: frame for frame in taken}
        return [found[index] for index in wanted]

    def seek(self, place: float) -> Iterator[VideoFrame]:
        """The frames from a number or time on, to the end: `for frame in reader.seek(2.5)`."""
        return self._frames(self._numbered.items(place), self._numbered.stream)

    def __repr__(self) -> str:
        what = f"{self.codec}, {self.width}x{self.height}, {float(self.rate):g} frames/s"
        return f"<VideoReader {self._name}: {what}{', transcoded' if self.transcoding else ''}>"

    def close(self) -> None:
        """Close the file; an iteration under way stops after the frame it is at."""
        self._begun = None
        if hasattr(self, "_numbered"):  # else it could not be opened
            self._numbered.close()
        self._connector.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _builder(self, losses: list[Loss]) -> FieldBuilder:
        how = {**self._grouping, "resync": self._resync, "report": losses.append}
        return FieldBuilder(self.block, self._gop, **how)

    def _frames(self, items: Iterator[PendingFrame], stream: str) -> Iterator[VideoFrame]:
        """`stream`: see `VideoFrame`; also where frames go through other processes."""
        for item in items:
            yield video_frame(item, stream, self._name)

    def _items(
        self, opened: Connection, builder: FieldBuilder, losses: list[Loss], jumps: list[Discontinuity]
    ) -> Iterator[PendingFrame]:
        """Frames of one connection after the other; files have one."""
        timeline = Timeline(self.rate, jumps.append)
        connection: Connection | None = opened
        while connection is not None:
            source = connection.source
            decoded = timeline.follow(connection.decoded(), timed=source.stream.start_time is not None)
            encoded = None if self.transcoding is None else (self._gop, self.rate)
            try:
                for item in with_fields(decoded, builder, self._name, encoded):
                    yield item
                    if not self._connector.is_open(source):
                        return  # closed by the caller
            except TruncatedStreamError as error:
                if not self._live:
                    if not self._resync:
                        raise
                    losses.append(Loss(error.frame or 0, None, "the file breaks off or is damaged"))
            finally:
                self._connector.disconnect(source)
            connection = self._again(builder) if self._live else None

    def _from_start(self) -> Iterator[PendingFrame]:
        """A pass beside the iterations of the user."""
        losses: list[Loss] = []
        builder = self._builder(losses)
        return self._items(self._connector.connect(builder), builder, losses, [])

    def _again(self, builder: FieldBuilder) -> Connection:
        """A new connection to a live source that broke off."""
        self.losses.append(Loss(builder.count, None, "the source broke off and was connected again"))
        builder.restart()
        for _ in pauses(self._reconnect):
            try:
                return self._connector.connect(builder)
            except VideoError:
                continue
        self.losses.pop()
        raise ConnectionLostError(
            f"{self._name} broke off at frame {builder.count} and did not come back in {self._reconnect} attempts: "
            "check the source, or raise `reconnect`",
            path=self._name,
            frame=builder.count,
        )
