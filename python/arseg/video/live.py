"""Sources that have no end: cameras and network streams."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from fractions import Fraction

from arseg.files import is_special

from .given import GivenFile
from .names import local_path

# Schemes of FFmpeg's protocols that deliver as it happens.
_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srtp", "udp", "srt", "tcp", "mms", "mmsh")
# Demuxers of cameras and screens.
_DEVICES = ("v4l2", "video4linux2", "avfoundation", "dshow", "x11grab", "gdigrab")


def is_live(path: str | os.PathLike[str], format: str | None) -> bool:
    """Whether `path` names a camera or a network stream, which may break off and come back."""
    if format in _DEVICES:
        return True
    if local_path(path, format=format) is not None:
        return False
    scheme, separator, _ = os.fsdecode(path).partition("://")
    return bool(separator) and scheme.lower() in _SCHEMES


def may_fall_silent(path: str | os.PathLike[str], format: str | None) -> bool:
    """Whether `path` is a URL or a device; no file, and no pipe, whose writer may take its time."""
    if format in _DEVICES:
        return True
    pipe = os.fsdecode(path).lower().startswith(("pipe:", "fd:"))
    return not pipe and local_path(path, format=format) is None


def can_read_again(path: str | os.PathLike[str], duration: int | Fraction | None, *, live: bool) -> bool:
    """Whether whoever is stopped can begin anew: with a file, here or on a server; not with what happens once.

    Args:
        duration: that the container states; None: it has no end, as far as is known.
        live: as `is_live` says.
    """
    if isinstance(path, GivenFile):
        return path.repeatable
    place = local_path(path)
    return not live and (duration is not None if place is None else not is_special(place))


def pauses(attempts: int, first: float = 0.5, longest: float = 8.0) -> Iterator[int]:
    """`attempts` numbers from 1, with a growing pause before each."""
    for attempt in range(attempts):
        time.sleep(min(longest, first * 2**attempt))
        yield attempt + 1
