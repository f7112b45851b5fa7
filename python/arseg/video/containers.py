"""The containers that are written, and what each can hold of a video."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from arseg.files import is_special, no_folder, target_of

from .errors import OutputError

_MILLISECOND = Fraction(1, 1000)
# MPEG's clock.
CLOCK = Fraction(1, 90_000)
# The finest unit of the time bases that are kept: pauses of five hours fit.
_FINEST = 120_000
_LONGEST_MP4_FRAME = 2**31 - 1  # ticks: FFmpeg's muxer writes 1 for a longer one, and says so in a log


@dataclass(frozen=True)
class Container:
    """A kind of file.

    Attributes:
        muxer: FFmpeg's name.
        unit: of its timestamps in seconds; None: what the video wants.
        has_matrix: whether it has a place for the display matrix; elsewhere the matrix goes into the stream.
        mp4: whether it is of MP4's family: its index can be put first, and a frame's duration has 31 bits.
        options: for the muxer.
    """

    muxer: str
    unit: Fraction | None = None
    has_matrix: bool = False
    mp4: bool = False
    options: dict[str, str] = field(default_factory=dict)

    def time_base(self, wanted: Fraction, rate: Fraction, duration: Fraction | None = None) -> Fraction:
        """The unit to count in, for timestamps in units of `wanted`; a coarser one where a long video may need it."""
        if self.unit is not None:
            return self.unit
        base = wanted if wanted.denominator <= _FINEST or rate > _FINEST else CLOCK
        for unit in (base * factor for factor in range(1, 10)):
            longest = self.longest_frame(unit)
            if longest is None or duration is None or duration < longest:
                return unit
        return base

    def longest_frame(self, time_base: Fraction) -> Fraction | None:
        """The longest time from one frame to the next in seconds; None without a limit."""
        if not self.mp4:
            return None
        scale = time_base.denominator
        while scale < 10_000:  # as the muxer does
            scale *= 2
        return Fraction(_LONGEST_MP4_FRAME, scale)


def _mp4(muxer: str) -> Container:
    return Container(muxer, has_matrix=True, mp4=True, options={"movflags": "faststart"})


_NO_CHANCE = {"fflags": "bitexact"}  # else Matroska has a random number in it
_RAW = Container("h264")
_TRANSPORT = Container("mpegts", unit=CLOCK, options={"mpegts_m2ts_mode": "0"})
CONTAINERS = {
    ".mp4": _mp4("mp4"),
    ".m4v": _mp4("ipod"),
    ".mov": _mp4("mov"),
    ".3gp": _mp4("3gp"),
    ".mkv": Container("matroska", unit=_MILLISECOND, has_matrix=True, options=_NO_CHANCE),
    ".ts": _TRANSPORT,
    ".mts": _TRANSPORT,
    ".m2ts": Container("mpegts", unit=CLOCK, options={"mpegts_m2ts_mode": "1"}),
    ".flv": Container("flv", unit=_MILLISECOND),
    ".nut": Container("nut"),
    ".264": _RAW,
    ".h264": _RAW,
}
# For pictures to look at, with codecs of their own.
WEBM = Container("webm", unit=_MILLISECOND, has_matrix=True, options=_NO_CHANCE)
GIF = Container("gif", unit=Fraction(1, 100))
# Endings of video files that people know, and why they are not written.
NOT_WRITTEN = {
    **dict.fromkeys((".webm", ".gif", ".ogv", ".ogg", ".y4m", ".yuv", ".apng"), "cannot hold H.264"),
    **dict.fromkeys((".avi", ".wmv", ".asf"), "does not keep the times of H.264's frames"),
    **dict.fromkeys((".mpg", ".mpeg", ".vob", ".m2p"), "does not keep the times of all of H.264's frames"),
    **dict.fromkeys((".mxf", ".m3u8"), "is not written here"),
}


def container_of(path: Path) -> Container:
    """What `path` is to be, by its ending, in upper or lower case.

    Raises:
        OutputError: it is no file that a video can be written to.
    """
    ending = path.suffix.lower()
    if path.name == "-":
        raise _refused(path, "video goes to files, not to the standard output: name a file, such as video.mp4")
    if ending not in CONTAINERS:
        known = f"a file of type {path.suffix} {NOT_WRITTEN[ending]}" if ending in NOT_WRITTEN else None
        unknown = f"'{path.suffix}' is no ending of a video container" if ending else "its name has no ending"
        raise _refused(path, f"{known or unknown}, name it .mp4 or .mkv")
    return CONTAINERS[ending]


def check_target(path: Path) -> None:
    """Raises `OutputError` where no file can come to be at `path`."""
    try:
        target = target_of(path)
        if target.is_dir():
            raise _refused(path, "it is a folder, name a file")
        if is_special(target):
            raise _refused(path, "it is a device or a pipe, and a video's index is written last: name a file")
        if not target.parent.is_dir():
            raise _refused(path, no_folder(target.parent))
        with contextlib.suppress(FileNotFoundError):
            os.stat(target)  # a name too long, a folder that may not be searched
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _refused(path, f"{error.strerror}: choose another place") from error


def _refused(path: Path, why: str) -> OutputError:
    return OutputError(f"{path} cannot be written: {why}", path=path)
