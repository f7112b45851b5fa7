"""Sources that have no end: cameras and network streams."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

# Schemes of FFmpeg's protocols that deliver as it happens.
_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srtp", "udp", "srt", "tcp", "mms", "mmsh")
# Demuxers of cameras and screens.
_DEVICES = ("v4l2", "video4linux2", "avfoundation", "dshow", "x11grab", "gdigrab")


def is_live(path: str | os.PathLike[str], format: str | None) -> bool:
    """Whether `path` names a camera or a network stream, which may break off and come back."""
    scheme, separator, _ = os.fspath(path).partition("://")
    return format in _DEVICES or (bool(separator) and scheme.lower() in _SCHEMES)


def pauses(attempts: int, first: float = 0.5, longest: float = 8.0) -> Iterator[int]:
    """`attempts` numbers from 1, with a growing pause before each."""
    for attempt in range(attempts):
        time.sleep(min(longest, first * 2**attempt))
        yield attempt + 1
