"""Writing pictures, such as overlays, as a video for people to watch."""

from __future__ import annotations

import os
from fractions import Fraction
from types import TracebackType

import numpy as np

from arseg.errors import InputError

from .coding import GIF, VP9, Coding, h264
from .colours import Colours
from .containers import GIF as GIF_FILE
from .containers import WEBM, Container
from .names import output_path
from .orientation import Matrix, checked, turned
from .properties import VideoProperties
from .reader import VideoReader
from .settings import Settings, as_rate
from .sink import VideoSink, size_remark
from .sound import Sound

__all__ = ["VideoWriter"]


_OTHERS: dict[str, tuple[Container, Coding]] = {".webm": (WEBM, VP9), ".gif": (GIF_FILE, GIF)}


class VideoWriter:
    """Writes RGB frames as H.264; as VP9 for .webm, and with 256 colours a frame for .gif.

    The file appears when the `with` block ends well; else nothing is left.

    Args:
        path: target; its ending names the container: .mp4, .m4v, .mov, .mkv, .ts, .m2ts, .flv, .nut, or .264, which
            has no timestamps; .mkv and .flv round them to milliseconds. A link is followed.
        rate: frames per second, for frames without a timestamp.
        size: (height, width) of every frame. Even sizes become 4:2:0, which every player takes; odd ones 4:4:4, which
            some refuse (`remark` says so).
        rotation: degrees counter-clockwise by which a player turns the frames (metadata only).
        crf: x264's quality, 0 (lossless) to 51.
        pixel_aspect: width to height of a pixel as shown; None: square.
        display_matrix: in place of `rotation`, FFmpeg's nine numbers, which can mirror, too.
        from_zero: whether the first frame is at 0, whatever its timestamp, and the others as long after it as theirs
            say; else at their timestamps.
        colours: what the RGB values mean, as `VideoReader.colours`; None: not said.
        duration: seconds that the video will last, where that is known: an MP4 that has to hold a pause of many hours
            counts in a coarser unit.
        sound: a source's sound, copied beside the pictures; closed with the file.

    Raises:
        OutputError: `path` cannot be written; found out before the first frame where possible.
        BusyError: another run is writing it.
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        rate: Fraction | float,
        size: tuple[int, int],
        rotation: int = 0,
        crf: float = 20,
        pixel_aspect: Fraction | None = None,
        *,
        display_matrix: Matrix | None = None,
        from_zero: bool = False,
        colours: Colours | None = None,
        duration: float | Fraction | None = None,
        sound: Sound | None = None,
    ) -> None:
        height, width = size
        if height < 1 or width < 1:
            raise InputError(f"size: expected (height, width) of at least 1x1, got {size!r}")
        if not 0 <= crf <= 51:
            raise InputError(f"crf: expected 0..51, got {crf!r}")
        self.path = path
        self._size = (height, width)
        container, coding = _OTHERS.get(output_path(path).suffix.lower(), (None, None))
        self._is_h264 = coding is None
        self._sink = VideoSink(
            path,
            coding or h264(Settings(crf=crf, preset="veryfast")),
            rate=as_rate(rate),
            matrix=turned(rotation) if display_matrix is None else checked(display_matrix),
            pixel_aspect=pixel_aspect,
            from_zero=from_zero,
            colours=colours,
            duration=None if duration is None else Fraction(duration),
            container=container,
            sound=sound,
        )

    @classmethod
    def like(
        cls,
        reader: VideoReader | VideoProperties,
        path: str | os.PathLike[str],
        *,
        sound: Sound | None = None,
        size: tuple[int, int] | None = None,
    ) -> VideoWriter:
        """A writer for frames of the size of `reader`'s, or of `size`, shown as those are; the first is at 0."""
        return cls(
            path,
            reader.rate,
            size or (reader.height, reader.width),
            pixel_aspect=reader.pixel_aspect,
            display_matrix=reader.display_matrix,
            from_zero=True,
            colours=reader.colours,
            duration=reader.duration,
            sound=sound,
        )

    @property
    def remark(self) -> str | None:
        """A sentence on what not every player takes; None where all do."""
        if not self._is_h264:
            return None
        return size_remark(self.path, *self._size)

    @property
    def frames(self) -> int:
        """Number of frames written."""
        return self._sink.frames

    def write(self, image: np.ndarray, pts: int | None = None, time_base: Fraction | None = None) -> None:
        """Add a frame.

        Args:
            image: uint8 `[H, W, 3]` RGB.
            pts: timestamp in units of `time_base` (1/rate where that is None); None: one frame after the last. The
                time base of the first frame becomes the file's.

        Raises:
            ValueError: another dtype or shape.
            OutputError: the file cannot be written.
        """
        shape = getattr(image, "shape", None)
        if shape is not None and tuple(shape[:2]) != self._size:
            raise InputError(
                f"frame {self.frames}: expected uint8 [{self._size[0]}, {self._size[1]}, 3], got {list(shape)}"
            )
        if self.frames == 0 and pts is not None and time_base is not None:
            self._sink.set_time_base(time_base)
        self._sink.write_rgb(image, pts, time_base)

    def close(self) -> None:
        """Finish the file and put it in place.

        Raises:
            NoFramesError: no frame was written.
            OutputError: the file cannot be written.
        """
        self._sink.close()

    def abort(self) -> None:
        """Drop what was written."""
        self._sink.abort()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
