"""Why a video could not be opened or read on, in words that are true of files and of the network."""

from __future__ import annotations

import errno
import os
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import av

from .names import local_path, shown, without_secrets

_WORDS = {
    errno.ECONNREFUSED: "the connection was refused: check that the server runs, and the port",
    errno.ECONNRESET: "the server broke the connection off: try again",
    errno.EPIPE: "the server broke the connection off: try again",
    errno.EHOSTUNREACH: "the host cannot be reached: check the network and the address",
    errno.ENETUNREACH: "the network cannot be reached: check the network and the address",
    errno.EADDRNOTAVAIL: "the address is not one of this machine's: check it",
    errno.EADDRINUSE: "the port is taken on this machine: check which program listens there",
    errno.EINVAL: "the address or an option in it is not valid: check it",
    errno.ENOENT: "there is no such file or device: check the name",
}

_HTTP: tuple[tuple[type[Exception], str], ...] = (
    (
        av.error.HTTPUnauthorizedError,
        "the server wants a name and a password, or refuses those given (401): check them",
    ),
    (av.error.HTTPForbiddenError, "the server forbids it (403): check name, password or token"),
    (av.error.HTTPNotFoundError, "the server has no such file or stream (404): check the path"),
    (av.error.HTTPBadRequestError, "the server did not understand the request (400): check the address"),
    (av.error.HTTPClientError, "the server refuses the request (4xx): check the address, or wait"),
    (av.error.HTTPServerError, "the server has a fault of its own (5xx): try again later"),
)

# What `pathlib.Path` makes of a URL.
_URL_AS_PATH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")

_TLS = ("https", "rtsps", "rtmps", "rtmpts", "tls", "ftps", "wss")


def not_opened(
    source: str | os.PathLike[str],
    error: Exception,
    *,
    format: str | None = None,
    waited: float = 0.0,
    timeout: float | None = None,
) -> str:
    """The sentence for a source that could not be opened, after `waited` of at most `timeout` seconds."""
    name, path = shown(source), local_path(source, format=format)
    if not os.fspath(source):
        return "'' names no video: give a video file"
    if path is None:
        return f"{name} cannot be opened: {_url_reason(os.fspath(source), error, waited, timeout)}"
    if isinstance(error, FileNotFoundError) and _URL_AS_PATH.match(str(path)):
        return f"{name} does not exist: check the path; a URL is given as a string with two slashes, not as a path"
    return _file_reason(name, path, error)


def broken_off(error: BaseException, waited: float, timeout: float | None) -> str:
    """What ended a stream that came over the network, as the middle of a sentence."""
    if is_timeout(error, waited, timeout):
        return f"gave no data for {timeout:g} s"
    return "broke the connection off"


def is_timeout(error: BaseException | None, waited: float, timeout: float | None) -> bool:
    """Whether reading ended because nothing came; FFmpeg's demuxers give that various names."""
    if isinstance(error, (av.error.TimeoutError, av.error.ExitError)):
        return True
    return timeout is not None and waited >= 0.95 * timeout


def without_urls(error: Exception) -> Exception | None:
    """An error of FFmpeg as it may be shown: its copy without what is secret in a URL; None for another error."""
    if not isinstance(error, OSError | av.error.FFmpegError):
        return None
    code, words = getattr(error, "errno", None) or 0, without_secrets(getattr(error, "strerror", None) or str(error))
    name = getattr(error, "filename", None)
    return type(error)(code, words, None if name is None else shown(str(name)))


def _url_reason(url: str, error: Exception, waited: float, timeout: float | None) -> str:
    for kind, words in _HTTP:
        if isinstance(error, kind):
            return words
    if isinstance(error, av.error.ProtocolNotFoundError):
        return f"this build of FFmpeg does not know the protocol {url.partition(':')[0]}: check how the URL begins"
    if is_timeout(error, waited, timeout):
        return (
            f"it gave no data for {timeout or waited:g} s: check that it sends, or wait longer (`timeout`, --timeout)"
        )
    code = getattr(error, "errno", None)
    if code in _WORDS:
        return _WORDS[code]
    if isinstance(error, av.error.EOFError):
        return "the server ended the connection before anything came: check the address"
    if isinstance(error, av.error.InvalidDataError):
        return "what comes from there is no video that FFmpeg knows, or breaks off: check the address, or try again"
    if code == errno.EIO:
        parts = urlsplit(url)
        if parts.hostname and not _resolves(parts.hostname):
            return f"the name {parts.hostname} is not known (DNS): check it, and the network"
        if parts.scheme.lower() in _TLS:
            return "the secure connection (TLS) cannot be made: check that the server speaks TLS on this port"
    reason = getattr(error, "strerror", None) or str(error)
    return f"no video could be read from it ({_lower(without_secrets(reason))}): check the address and the server"


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False
    return True


def _file_reason(name: str, path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{name} does not exist: check the path"
    if isinstance(error, IsADirectoryError) or os.path.isdir(path):
        return f"{name} is a folder: give a video file"
    if isinstance(error, PermissionError):
        return f"{name} may not be read: check its permissions"
    try:
        if os.path.isfile(path) and os.path.getsize(path) == 0:
            return f"{name} is an empty file: give a video file"
    except OSError:
        pass
    reason = _lower(getattr(error, "strerror", None) or str(error))
    if isinstance(error, av.error.InvalidDataError | av.error.EOFError):
        return f"{name} cannot be opened as a video ({reason}): it is no video file or is cut off"
    return f"{name} cannot be read ({reason}): check the file and the disk it lies on"


def _lower(sentence: str) -> str:
    return f"{sentence[:1].lower()}{sentence[1:]}"
