"""What can be wrong with a video, each as one sentence for the person who gave the file."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass

from arseg.errors import ArsegError

from .names import local_path, shown

__all__ = [
    "ConnectionLostError",
    "Discontinuity",
    "InterlacedError",
    "Loss",
    "NoFramesError",
    "NoKeyframeError",
    "NotAVideoError",
    "OutputError",
    "ReferenceGapError",
    "ResolutionChangedError",
    "TruncatedStreamError",
    "UnsupportedCodecError",
    "UnsupportedStreamError",
    "VideoError",
    "encode_hint",
    "transcode_hint",
]


class VideoError(ArsegError):
    """Base of all errors of `arseg.video`.

    Attributes:
        path: the file in question; of a URL, what may be shown.
        frame: 0-based index of the frame where it showed, None where that makes no sense.
    """

    def __init__(self, message: str, *, path: str | os.PathLike[str] | None = None, frame: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.frame = frame


@dataclass(frozen=True)
class Loss:
    """Frames that a reader with `on_error="resync"` could not deliver.

    Attributes:
        frame: index of the first frame concerned, or of the first one after it where nothing was dropped.
        count: number of frames lost, None where that cannot be known.
        reason: why.
    """

    frame: int
    count: int | None
    reason: str

    def __str__(self) -> str:
        count = "an unknown number of frames" if self.count is None else f"{self.count} frame{'s'[: self.count != 1]}"
        return f"frame {self.frame}: {count} lost ({self.reason})"


@dataclass(frozen=True)
class Discontinuity:
    """A place where the container's timestamps do not go on, and other times were given. No frame is missing for that.

    Attributes:
        frame: index of the frame.
        seconds: from the time where it was to follow to its timestamp; below 0 where the timestamps go back.
        lasting: it and all later frames are shifted, so that it follows the one before; else it alone is out of place,
            and is put between its neighbours.
    """

    frame: int
    seconds: float
    lasting: bool = True

    def __str__(self) -> str:
        seconds = f"{abs(self.seconds):.3f}".rstrip("0").rstrip(".")
        if not self.lasting:
            return f"frame {self.frame}: its timestamp is out of place by {seconds} s (put between its neighbours')"
        jump = f"{'back' if self.seconds < 0 else 'ahead'} by {seconds} s"
        return f"frame {self.frame}: timestamps jump {jump} (shifted from here on to follow the frame before)"


class NotAVideoError(VideoError):
    """The file is missing, cannot be opened as a video, or has no video stream."""


class NoFramesError(VideoError):
    """A video stream without a single frame."""


class NoKeyframeError(NoFramesError):
    """A video stream with packets of which none can start decoding."""


class UnsupportedStreamError(VideoError):
    """A good video whose motion vectors cannot be used as it is; transcoding finds others."""


class UnsupportedCodecError(UnsupportedStreamError):
    """The codec has no motion vectors, or FFmpeg does not tell them (HEVC, VP9, AV1 …)."""


class InterlacedError(UnsupportedStreamError):
    """The stream is interlaced: its vectors count in field lines."""


class ResolutionChangedError(VideoError):
    """The frame size changes in mid-stream."""


class ReferenceGapError(VideoError):
    """Frames that others are predicted from are missing; the frames before the gap were delivered."""


class ConnectionLostError(VideoError):
    """A live source went away and did not come back."""


class TruncatedStreamError(VideoError):
    """The file ends, breaks or is damaged before the last frame; the frames before that were delivered."""


class OutputError(VideoError):
    """A file cannot be written."""


RESYNC_HINT = "`segment --on-error resync` (`on_error='resync'` of VideoReader)"
"""What reads on after damage, to speak of in a sentence."""


def encode_hint(path: str | os.PathLike[str]) -> str:
    """The command that makes a readable video of `path`, to end a sentence with."""
    name = shown(path)
    if name.startswith("-") and local_path(path) is not None:
        name = f"./{name}"  # no option
    return f"run `arseg encode {shlex.quote(name)} -o OUT.mp4` and use OUT.mp4"


def transcode_hint(path: str | os.PathLike[str]) -> str:
    """What makes a stream readable whose vectors cannot be used, to end a sentence with."""
    return f"leave transcode on (--transcode) to find motion vectors while reading, or {encode_hint(path)}"
