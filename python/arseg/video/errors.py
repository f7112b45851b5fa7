"""What can be wrong with a video, each as one sentence for the person who gave the file."""

from __future__ import annotations

import os
import shlex

from arseg.errors import ArsegError

__all__ = [
    "BFramesError",
    "InterlacedError",
    "NoFramesError",
    "NoKeyframeError",
    "NotAVideoError",
    "OutputError",
    "ResolutionChangedError",
    "TruncatedStreamError",
    "UnsupportedCodecError",
    "UnsupportedStreamError",
    "VideoError",
    "encode_hint",
]


class VideoError(ArsegError):
    """Base of all errors of `arseg.video`.

    Attributes:
        path: the file in question.
        frame: 0-based index of the frame where it showed, None where that makes no sense.
    """

    def __init__(self, message: str, *, path: str | os.PathLike[str] | None = None, frame: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.frame = frame


class NotAVideoError(VideoError):
    """The file is missing, cannot be opened as a video, or has no video stream."""


class NoFramesError(VideoError):
    """A video stream without a single frame."""


class NoKeyframeError(NoFramesError):
    """A video stream with packets of which none can start decoding."""


class UnsupportedStreamError(VideoError):
    """A good video whose motion vectors cannot be used; `arseg encode` turns it into one whose vectors can."""


class UnsupportedCodecError(UnsupportedStreamError):
    """The codec is not H.264."""


class BFramesError(UnsupportedStreamError):
    """The stream has B frames."""


class InterlacedError(UnsupportedStreamError):
    """The stream is interlaced: its vectors count in field lines."""


class ResolutionChangedError(VideoError):
    """The frame size changes in mid-stream."""


class TruncatedStreamError(VideoError):
    """The file ends or breaks before the last frame; the frames before the break were delivered."""


class OutputError(VideoError):
    """A file cannot be written."""


def encode_hint(path: str | os.PathLike[str]) -> str:
    """The command that makes a readable video of `path`, to end a sentence with."""
    return f"run `arseg encode {shlex.quote(os.fspath(path))} OUT.mp4` and use OUT.mp4"
