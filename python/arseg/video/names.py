"""What a user calls a video: a file, a URL or a device; how FFmpeg is told, and what may be shown of it."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from arseg.errors import InputError

__all__ = [
    "default_stem",
    "ffmpeg_name",
    "is_url",
    "local_path",
    "output_path",
    "shown",
    "video_file",
    "without_secrets",
]

# FFmpeg's protocols that are written without "//".
_BARE_PROTOCOLS = ("concat", "concatf", "crypto", "data", "async", "cache", "subfile", "pipe", "fd", "tee")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.,_-]*://")
_HIDDEN = "***"
# A URL inside a sentence, such as an error of FFmpeg; closing quotes and brackets end it. One slash is what
# `pathlib.Path` leaves of two.
_URL_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/+[^\s'\"<>]+")
_DATA_URL = re.compile(r"data:([^,\s]*),\S*", re.IGNORECASE)


def local_path(source: str | os.PathLike[str], *, format: str | None = None) -> Path | None:
    """The file that `source` names, or None for a URL, a device or one of FFmpeg's protocols.

    A `PathLike` is always a file, and so is a string that names one that exists, whatever signs are in it
    ("10:00.mp4"). "file:NAME" and "file:///NAME" are files; "%20" and the like are decoded where no file has the
    literal name.

    Args:
        format: the name of FFmpeg's demuxer where the caller chose one: names of devices are its own.
    """
    if not isinstance(source, str):
        return Path(os.fsdecode(source))
    if os.path.lexists(source):
        return Path(source)
    if source[:5].lower() == "file:":
        return _file_url(source[5:])
    if _URL.match(source):
        return None
    protocol = re.split("[:,]", source, maxsplit=1)[0].lower()
    if protocol != source.lower() and protocol in _BARE_PROTOCOLS:
        return None
    return None if format is not None else Path(source)


def _file_url(rest: str) -> Path:
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        rest = slash + path if host.lower() in ("", "localhost") else rest
    return Path(rest) if os.path.lexists(rest) else Path(unquote(rest))


def output_path(target: str | os.PathLike[str]) -> Path:
    """The file or folder to write that `target` names, also as "file:NAME" or "file:///NAME".

    Raises:
        InputError: another URL.
    """
    if isinstance(target, str) and not target.lower().startswith("file:") and _URL.match(target):
        if not os.path.lexists(target):
            raise InputError(f"{without_secrets(target)}: results go to files, not to URLs; name a file")
        return Path(target)
    if isinstance(target, str) and target[:5].lower() == "file:" and not os.path.lexists(target):
        return _file_url(target[5:])
    return Path(os.fsdecode(target))


def video_file(source: str | os.PathLike[str]) -> Path:
    """The file that `source` names, for what reads it more than once.

    Raises:
        InputError: a URL.
    """
    path = local_path(source)
    if path is None:
        raise InputError(f"{shown(source)}: is a URL, and this needs a file; save the video and give its name")
    return path


def is_url(source: str | os.PathLike[str]) -> bool:
    """Whether `source` is a URL ("rtsp://…") or a protocol of FFmpeg's ("concat:…"), not a file."""
    return local_path(source) is None


def ffmpeg_name(source: str | os.PathLike[str], *, format: str | None = None) -> str:
    """`source` as FFmpeg takes it: a file keeps its name, though a colon is in it."""
    path = local_path(source, format=format)
    if path is None:
        return os.fspath(source)  # type: ignore[return-value]
    name = str(path)
    return f"file:{name}" if ":" in name else name


def shown(source: str | os.PathLike[str]) -> str:
    """`source` for messages, logs and file names: a URL loses its user, its password and the values of its query.

    Signs that a terminal or a text file cannot take (control characters, bytes that are no text) become escapes.
    """
    text = os.fsdecode(source)
    path = local_path(source)
    if path is None or not os.path.lexists(path):
        text = without_secrets(text)
    return "".join(_escaped(sign) if unicodedata.category(sign) in ("Cc", "Cs") else sign for sign in text)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape", "surrogatepass").decode("ascii")


def without_secrets(text: str) -> str:
    """`text`, such as an error of FFmpeg, with the URLs in it as `shown` gives them."""
    text = _DATA_URL.sub(rf"data:\1,{_HIDDEN}", text)
    return _URL_IN_TEXT.sub(lambda match: _masked(match[0]), text)


def _masked(url: str) -> str:
    scheme, slashes, rest = re.split("(:/+)", url, maxsplit=1)
    # Several in one: "concat:http://…|http://…".
    rest, bar, more = rest.partition("|")
    end = next((place for place, sign in enumerate(rest) if sign in "/?#"), len(rest))
    authority, tail = rest[:end], rest[end:]
    if "@" in authority:
        user, _, host = authority.rpartition("@")
        authority = f"{_HIDDEN}@{host}" if user else authority
    elif "@" in tail and ":" in authority and not re.search(r":\d*$", authority):
        # A password with an unescaped "/", "?" or "#": everything up to the last "@" is taken for it.
        authority, tail = f"{_HIDDEN}@", tail.rpartition("@")[2]
    if scheme.lower() != "file":
        tail = re.sub(r"=[^&;#\s]*", f"={_HIDDEN}", tail)
        tail = re.sub(r"([?&;#])[^=&;#?]+(?=[&;#]|$)", rf"\1{_HIDDEN}", tail)  # a value without a name
    return f"{scheme}{slashes}{authority}{tail}{bar}{without_secrets(more)}"


def default_stem(source: str | os.PathLike[str]) -> str:
    """A file name without folder and ending for what is made of `source`; nothing secret, no signs of a path."""
    path = local_path(source)
    if path is not None and shown(path) == os.fspath(path):
        return path.stem or "video"
    if path is not None and os.path.lexists(path):
        return Path(shown(path)).stem.replace("\\", "_") or "video"
    text = without_secrets(os.fsdecode(source)).rpartition("|")[2]
    parts = urlsplit(text)
    last = unquote(parts.path).partition(";")[0].partition(",")[0]
    last = Path(last).stem if parts.scheme != "data" else ""
    return re.sub(r"[^\w.-]+", "_", last or parts.hostname or "").strip("._") or "video"
