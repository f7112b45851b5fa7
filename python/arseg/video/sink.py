"""Video output through PyAV, written beside the target and renamed when complete. Shared by encoder and writer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from types import TracebackType

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.video.stream import VideoStream

from arseg.files import PartFile

from .coding import ENCODER, Coding, with_palette
from .colours import Colours, from_rgb, subsampled
from .containers import Container, check_target, container_of
from .errors import NoFramesError, OutputError
from .names import ffmpeg_name, output_path
from .orientation import Matrix, turning
from .sound import Sound


class VideoSink:
    """Encodes frames into `path`; nothing appears there before `close`, and nothing is left after an exception.

    There are no B frames: not every container keeps their order, nor every reader their times.

    Args:
        path: target; its ending names the container (`arseg.video.containers`).
        coding: of the frames.
        rate: frames per second, for frames without a timestamp and the container's hint.
        matrix: how a player turns the frames, written as metadata; None: not at all.
        pixel_aspect: width to height of a pixel as shown, written as metadata; None: not said, which means square.
        time_base: unit of the timestamps in the file, where the container leaves a choice; 1/rate where None.
        from_zero: the first frame is at 0, the others as long after it as their timestamps say.
        colours: what RGB frames mean.
        duration: seconds that the video will last, where that is known: no pause in it is longer.
        container: the kind of file; None: by its ending, one of those for H.264.
        sound: what else comes into the file; closed with it.

    Raises:
        OutputError: the target cannot be written; also from `write` and `close`.
        BusyError: another run is writing it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        coding: Coding,
        *,
        rate: Fraction,
        matrix: Matrix | None = None,
        pixel_aspect: Fraction | None = None,
        time_base: Fraction | None = None,
        from_zero: bool = False,
        colours: Colours | None = None,
        duration: Fraction | None = None,
        container: Container | None = None,
        sound: Sound | None = None,
    ) -> None:
        self.path = output_path(path)
        self.frames = 0
        self._coding = coding
        self._sound = sound
        self._rate = rate
        self._matrix = matrix
        self._pixel_aspect = pixel_aspect
        check_target(self.path)
        self._kind = container or container_of(self.path)
        self._duration = duration
        self.set_time_base(time_base or 1 / rate)
        self._from_zero = from_zero
        self._origin: Fraction | None = None
        self._last: int | None = None
        self._colours = colours or Colours()
        self._stream: VideoStream | None = None
        self._filter: BitStreamFilterContext | None = None
        self._size: tuple[int, int] | None = None
        self._ended = False
        self._part = self._create_part()
        self._container = self._create()

    def set_time_base(self, time_base: Fraction) -> None:
        """Unit of the timestamps in the file, where the container leaves a choice; before the first frame."""
        self._time_base = self._kind.time_base(Fraction(time_base), self._rate, self._duration)
        self._step = max(1, round(1 / self._rate / self._time_base))

    def write_rgb(self, image: np.ndarray, pts: int | None = None, time_base: Fraction | None = None) -> None:
        """Add a frame, uint8 `[H, W, 3]` RGB.

        Raises:
            ValueError: another dtype or shape, or a size that differs from the first frame's.
        """
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            came = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
            raise ValueError(f"frame {self.frames}: expected uint8 [H, W, 3], got {came}")
        if 0 in image.shape:
            raise ValueError(f"frame {self.frames}: expected at least one pixel, got {list(image.shape)}")
        height, width, _ = image.shape
        if self._coding.palette:
            self.write(with_palette(image), pts, time_base)
            return
        self.write(from_rgb(image, self._coding.pixel_format(width, height), self._colours), pts, time_base)

    def write(self, frame: av.VideoFrame, pts: int | None = None, time_base: Fraction | None = None) -> None:
        """Add a decoded frame at `pts`, in units of `time_base`; one frame after the last where pts is None.

        A timestamp that does not lie after the last one is moved to the next tick: containers require it.
        """
        size = (frame.height, frame.width)
        if self._size is None:
            self._size = size
        if size != self._size:
            raise ValueError(f"frame {self.frames}: expected [H, W] = {list(self._size)} as before, got {list(size)}")
        if not self._coding.palette:
            frame = subsampled(frame, self._coding.pixel_format(frame.width, frame.height))
        ticks = self._ticks(pts, time_base)
        self._refuse_pause(ticks)
        with self._as_output_error():
            if self._stream is None:
                self._stream = self._add_stream(frame)
            frame.pts = ticks
            frame.time_base = self._time_base
            frame.pict_type = 0  # else the source's frame types are forced on the encoder
            self._mux(self._stream.encode(frame))
            if self._sound is not None:
                self._sound.copy((self._origin or 0) + ticks * self._time_base)
        self._last = ticks
        self.frames += 1

    @property
    def time(self) -> float:
        """Seconds at which the last frame is shown in the file."""
        return float((self._last or 0) * self._time_base)

    def close(self) -> None:
        """Finish the file and put it in place.

        Raises:
            NoFramesError: no frame was written.
        """
        if self._ended:
            return
        if self._stream is None:
            self.abort()
            raise NoFramesError(f"{self.path} was not written: there are no frames to write", path=self.path)
        try:
            with self._as_output_error():
                self._mux(self._stream.encode(None))
                if self._filter is not None:
                    self._container.mux(self._filter.filter(None))
                if self._sound is not None and self._last is not None:
                    self._sound.copy((self._origin or 0) + (self._last + self._step) * self._time_base)
                    self._sound.close()
                self._container.close()
                self._part.commit()
            self._ended = True
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Drop what was written."""
        self._ended = True
        if self._sound is not None:
            self._sound.close()
        with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
            self._container.close()
        self._part.discard()

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _create_part(self) -> PartFile:
        try:
            return PartFile(self.path)
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written ({error.strerror}): choose another place", path=self.path
            ) from error

    def _create(self) -> OutputContainer:
        try:
            name = ffmpeg_name(self._part.path)
            options = dict(self._kind.options)
            if self._sound is not None and self._sound.lacks_headers:
                options.pop("fflags", None)  # bit-exact, it would not make them
            return av.open(name, "w", format=self._kind.muxer, container_options=options)
        except BaseException as error:
            self._part.discard()
            if not isinstance(error, ValueError):
                raise
            raise OutputError(
                f"{self.path} cannot be written: this build of FFmpeg does not write {self._kind.muxer}, name it .mp4",
                path=self.path,
            ) from error

    def _add_stream(self, frame: av.VideoFrame) -> VideoStream:
        options = dict(self._coding.options)
        stream = self._container.add_stream(self._coding.encoder, rate=self._rate, options=options)
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        stream.width, stream.height = frame.width, frame.height
        stream.pix_fmt = frame.format.name
        stream.time_base = context.time_base = self._time_base
        # SLICE, PyAV's default, cuts every frame in slices.
        context.thread_type = "FRAME"
        if self._coding.bitrate is not None:
            context.bit_rate = self._coding.bitrate
        if self._coding.gop is not None:
            context.gop_size = self._coding.gop
        context.max_b_frames = 0
        context.colorspace, context.color_range = frame.colorspace, frame.color_range
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        if self._pixel_aspect:
            context.sample_aspect_ratio = self._pixel_aspect
        if self._sound is not None:
            self._sound.add_to(self._container, self._origin or Fraction(0))
        if self._matrix is not None and self._kind.has_matrix:
            stream.set_display_matrix(self._matrix)
        elif self._matrix is not None and self._coding.encoder == ENCODER:
            self._container.start_encoding()  # the filter wants to know the encoder's parameters
            degrees, mirrored = turning(self._matrix)
            turn = f"rotate={degrees % 360:.4f}{':flip=horizontal' * mirrored}"
            self._filter = BitStreamFilterContext(f"h264_metadata=display_orientation=insert:{turn}", in_stream=stream)
        return stream

    def _mux(self, packets: Iterable[av.Packet]) -> None:
        for packet in packets:
            self._container.mux(packet if self._filter is None else self._filter.filter(packet))

    def _ticks(self, pts: int | None, time_base: Fraction | None) -> int:
        if pts is None:
            return 0 if self._last is None else self._last + self._step
        time = pts * Fraction(time_base or self._time_base)
        if self._origin is None:
            self._origin = time if self._from_zero else Fraction(0)
        ticks = round((time - self._origin) / self._time_base)
        return ticks if self._last is None else max(ticks, self._last + 1)

    def _refuse_pause(self, ticks: int) -> None:
        longest = self._kind.longest_frame(self._time_base)
        if longest is None or self._last is None or (ticks - self._last) * self._time_base <= longest:
            return
        raise OutputError(
            f"{self.path} cannot be written: {float((ticks - self._last) * self._time_base / 3600):.1f} hours pass "
            f"from frame {self.frames - 1} to frame {self.frames}, and a file of type {self.path.suffix} holds "
            f"{float(longest / 3600):.1f} at most in units of {self._time_base} s: name it .mkv",
            path=self.path,
            frame=self.frames,
        )

    @contextlib.contextmanager
    def _as_output_error(self) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(
                f"{self.path} cannot be written at frame {self.frames} ({reason}): check the settings and the space "
                "on the disk",
                path=self.path,
                frame=self.frames,
            ) from error


def cannot_write(error: BaseException) -> bool:
    """Whether results cannot be finished after `error`, as where the disk is full."""
    return isinstance(error, OSError) or (isinstance(error, OutputError) and error.__cause__ is not None)


def size_remark(path: str | os.PathLike[str], height: int, width: int) -> str | None:
    """What to know of a video of an odd size; None for an even one."""
    if height % 2 == 0 and width % 2 == 0:
        return None
    return (
        f"{os.fsdecode(path)}: its size is odd, {width}x{height}, and kept as 4:4:4 colour, which QuickTime and many "
        "televisions do not play; VLC and mpv do"
    )
