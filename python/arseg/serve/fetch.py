"""Fetching a video from a URL that somebody else named."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

from arseg.errors import InputError

from .addresses import Place, place_of
from .limits import Limits

__all__ = ["fetch"]

REDIRECTS = 5
_SILENCE = 15.0  # seconds without data
_PIECE = 1 << 18


def fetch(
    text: str,
    target: Path,
    limits: Limits,
    *,
    allow_private: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Writes what the URL gives to `target`; returns the number of bytes.

    Each redirection is checked as the URL itself is. Proxies of the environment are not used.

    Raises `InputError`, a sentence, for a URL that may not be fetched, and for what does not come, or too much of it.
    """
    end = time.monotonic() + limits.upload_seconds
    for _ in range(REDIRECTS + 1):
        place = place_of(text, allow_private=allow_private)
        try:
            connection = _connected(place, end)
            try:
                path = (place.url.path or "/") + (f"?{place.url.query}" if place.url.query else "")
                connection.request("GET", path, headers={"User-Agent": "arseg", "Accept": "*/*"})
                answer = connection.getresponse()
                location = answer.getheader("Location")
                if answer.status in (301, 302, 303, 307, 308) and location:
                    text = urljoin(text, location)
                    continue
                if answer.status != 200:
                    raise InputError(f"url: the server answered {answer.status}; give one that gives the video")
                return _save(answer, target, limits, end, stopped)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, UnicodeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"url: the video could not be fetched ({_words(error)})") from error
    raise InputError(f"url: more than {REDIRECTS} redirections")


def _save(
    answer: http.client.HTTPResponse, target: Path, limits: Limits, end: float, stopped: Callable[[], bool]
) -> int:
    count = 0
    if int(answer.getheader("Content-Length") or 0) > limits.upload_bytes:
        raise InputError(f"url: is larger than {limits.upload_mb:g} MB")
    with target.open("wb") as file:
        while piece := answer.read1(_PIECE):
            count += len(piece)
            if count > limits.upload_bytes:
                raise InputError(f"url: is larger than {limits.upload_mb:g} MB")
            if time.monotonic() > end:
                raise InputError(f"url: took longer than {limits.upload_seconds:g} s")
            if stopped():
                raise InputError("url: was cancelled")
            file.write(piece)
    if not count:
        raise InputError("url: gives nothing")
    return count


def _connected(place: Place, end: float) -> http.client.HTTPConnection:
    """To one of the addresses that were checked."""
    failed: OSError | None = None
    for address in place.addresses:
        left = min(_SILENCE, end - time.monotonic())
        if left <= 0:
            break
        try:
            raw = socket.create_connection((address, place.port), timeout=left)
        except OSError as error:
            failed = error
            continue
        host = place.url.hostname or ""
        connection = http.client.HTTPConnection(f"[{host}]" if ":" in host else host, place.port, timeout=_SILENCE)
        try:
            secure = place.url.scheme == "https"
            connection.sock = ssl.create_default_context().wrap_socket(raw, server_hostname=host) if secure else raw
        except BaseException:
            raw.close()
            raise
        return connection
    raise failed or TimeoutError("no answer")


def _words(error: BaseException) -> str:
    return "no data in time" if isinstance(error, TimeoutError) else type(error).__name__
