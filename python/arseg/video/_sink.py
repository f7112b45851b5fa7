"""H.264 output through PyAV, written beside the target and renamed when complete. Shared by encoder and writer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from arseg.errors import InputError

from .errors import NoFramesError, OutputError

# AVColorSpace of SMPTE 170M (BT.601), the matrix RGB frames are converted with and the output says so.
_BT601 = 6
_LIMITED_RANGE = 1


@dataclass(frozen=True)
class Settings:
    """What the encoder is asked for.

    `motion` makes a stream whose vectors the reader can use: one reference frame, no B frames, keyframes at a fixed
    distance, no weighted prediction. `bitrate`, in bits a second, takes the place of `crf`.
    """

    crf: float
    preset: str
    gop: int | None = None
    motion: bool = False
    bitrate: int | None = None

    def options(self) -> dict[str, str]:
        options = {"preset": self.preset}
        if self.bitrate is None:
            options["crf"] = str(self.crf)
        if self.motion:
            options |= {"refs": "1", "x264-params": "scenecut=0:weightp=0"}
        return options


class H264Sink:
    """Encodes frames into `path`; nothing appears there before `close`, and nothing is left after an exception.

    Frames of even size become 4:2:0; those with an odd side become 4:4:4, since 4:2:0 can state even sizes only.

    Args:
        path: target; its ending names the container (.mp4, .mkv, .mov, .264 …).
        settings: for the encoder.
        rate: frames per second, for frames without a timestamp and the container's hint.
        rotation: degrees counter-clockwise, written as metadata.
        pixel_aspect: width to height of a pixel as shown, written as metadata; None: not said, which means square.
        time_base: unit of the timestamps in the file; 1/rate where None.

    Raises:
        OutputError: the target cannot be written; also from `write` and `close`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: Settings,
        *,
        rate: Fraction,
        rotation: int = 0,
        pixel_aspect: Fraction | None = None,
        time_base: Fraction | None = None,
    ) -> None:
        self.path = Path(path)
        self.frames = 0
        self._settings = settings
        self._rate = rate
        self._rotation = rotation
        self._pixel_aspect = pixel_aspect
        self.set_time_base(time_base or 1 / rate)
        self._last: int | None = None
        self._stream: VideoStream | None = None
        self._size: tuple[int, int] | None = None
        self._part = self.path.with_name(f".{self.path.stem[:60]}.part-{os.getpid()}{self.path.suffix}")
        self._container = self._create()

    def set_time_base(self, time_base: Fraction) -> None:
        """Unit of the timestamps in the file; before the first frame."""
        self._time_base = Fraction(time_base)
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
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = frame.reformat(
            format=pixel_format(frame), dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG
        )
        frame.colorspace = _BT601
        frame.color_range = _LIMITED_RANGE
        self.write(frame, pts, time_base)

    def write(self, frame: av.VideoFrame, pts: int | None = None, time_base: Fraction | None = None) -> None:
        """Add a decoded frame at `pts`, in units of `time_base`; one frame after the last where pts is None.

        A timestamp that does not lie after the last one is moved to the next tick: containers require it.
        """
        size = (frame.height, frame.width)
        if self._size is None:
            self._size = size
        if size != self._size:
            raise ValueError(f"frame {self.frames}: expected [H, W] = {list(self._size)} as before, got {list(size)}")
        if frame.format.name != pixel_format(frame):
            frame = frame.reformat(format=pixel_format(frame))
        ticks = self._ticks(pts, time_base)
        with self._as_output_error():
            if self._stream is None:
                self._stream = self._add_stream(frame)
            frame.pts = ticks
            frame.time_base = self._time_base
            frame.pict_type = 0  # else the source's frame types are forced on the encoder
            self._container.mux(self._stream.encode(frame))
        self._last = ticks
        self.frames += 1

    def close(self) -> None:
        """Finish the file and put it in place.

        Raises:
            NoFramesError: no frame was written.
        """
        if self._stream is None:
            self.abort()
            raise NoFramesError(f"{self.path} was not written: there are no frames to write", path=self.path)
        try:
            with self._as_output_error():
                self._container.mux(self._stream.encode(None))
                self._container.close()
                os.replace(self._part, self.path)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Drop what was written."""
        with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
            self._container.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> H264Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _create(self) -> OutputContainer:
        if os.path.isdir(self.path):
            raise OutputError(f"{self.path} cannot be written: it is a folder, name a file", path=self.path)
        if not os.path.isdir(self.path.parent):
            raise OutputError(
                f"{self.path} cannot be written: there is no folder {self.path.parent}, make it first", path=self.path
            )
        options = {"movflags": "faststart"} if self.path.suffix in (".mp4", ".mov", ".m4v") else {}
        try:
            with contextlib.suppress(FileNotFoundError):
                os.stat(self.path)  # a name too long, a folder that may not be searched
            self._part.touch()  # PyAV opens the file no sooner than the first frame
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written ({error.strerror}): choose another place", path=self.path
            ) from error
        container: OutputContainer | None = None
        try:
            container = av.open(str(self._part), "w", container_options=options)
            if "h264" not in container.supported_codecs:
                raise ValueError
        except ValueError as error:
            if container is not None:
                container.close()
            self._part.unlink(missing_ok=True)
            raise OutputError(
                f"{self.path} cannot be written: no video container for H.264 has the ending "
                f"'{self.path.suffix}', name it .mp4",
                path=self.path,
            ) from error
        return container

    def _add_stream(self, frame: av.VideoFrame) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=self._rate, options=self._settings.options())
        context = stream.codec_context
        stream.width, stream.height = frame.width, frame.height
        stream.pix_fmt = frame.format.name
        stream.time_base = context.time_base = self._time_base
        # SLICE, PyAV's default, cuts every frame in slices.
        context.thread_type = "FRAME"
        if self._settings.bitrate is not None:
            context.bit_rate = self._settings.bitrate
        if self._settings.gop is not None:
            context.gop_size = self._settings.gop
        if self._settings.motion:
            context.max_b_frames = 0
        context.colorspace, context.color_range = frame.colorspace, frame.color_range
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        if self._pixel_aspect:
            context.sample_aspect_ratio = self._pixel_aspect
        if self._rotation:
            stream.set_display_rotation(self._rotation)
        return stream

    def _ticks(self, pts: int | None, time_base: Fraction | None) -> int:
        if pts is None:
            return 0 if self._last is None else self._last + self._step
        ticks = round(pts * (time_base or self._time_base) / self._time_base)
        return ticks if self._last is None else max(ticks, self._last + 1)

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


def as_rate(rate: Fraction | float) -> Fraction:
    """Frames per second as a fraction.

    Raises:
        ValueError: not a positive number.
    """
    try:
        fraction = Fraction(rate).limit_denominator(100_000)
    except (ValueError, OverflowError, TypeError):
        fraction = Fraction(0)
    if fraction <= 0:
        raise InputError(f"rate: expected frames per second above 0, got {rate!r}")
    return fraction


def pixel_format(frame: av.VideoFrame) -> str:
    return "yuv444p" if frame.width % 2 or frame.height % 2 else "yuv420p"
