"""Fetching a video from a URL that somebody else named."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urljoin

from arseg.errors import InputError

from .addresses import SCHEMES, Place, place_of
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
    watch = _Watch(limits, stopped)
    with watch:
        return _fetch(text, target, limits, allow_private, watch)


def _fetch(text: str, target: Path, limits: Limits, allow_private: bool, watch: _Watch) -> int:
    for _ in range(REDIRECTS + 1):
        place = place_of(text, allow_private=allow_private)
        try:
            connection = _connected(place, watch)
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
                return _save(answer, target, limits, watch)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, UnicodeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            watch.check()
            raise InputError(f"url: the video could not be fetched ({_words(error)})") from error
    raise InputError(f"url: more than {REDIRECTS} redirections")


class _Watch:
    """Shuts the connection down where time is up or the job is no longer wanted, whatever is waited for.

    A silent server meets the socket's timeout; one that sends a byte now and then would never.
    """

    def __init__(self, limits: Limits, stopped: Callable[[], bool]) -> None:
        self.end = time.monotonic() + limits.upload_seconds
        self.socket: socket.socket | None = None
        self._limits, self._stopped = limits, stopped
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Raises `InputError` where it is to end."""
        if self._stopped():
            raise InputError("url: was cancelled")
        if time.monotonic() > self.end:
            raise InputError(f"url: took longer than {self._limits.upload_seconds:g} s")

    def _look(self) -> None:
        while not self._over.wait(0.2):
            if (self._stopped() or time.monotonic() > self.end) and self.socket is not None:
                with suppress(OSError):
                    # That of ssl would let a reader go on in the clear.
                    socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


def _save(answer: http.client.HTTPResponse, target: Path, limits: Limits, watch: _Watch) -> int:
    count = 0
    if int(answer.getheader("Content-Length") or 0) > limits.upload_bytes:
        raise InputError(f"url: is larger than {limits.upload_mb:g} MB")
    with target.open("wb") as file:
        while piece := answer.read1(_PIECE):
            count += len(piece)
            if count > limits.upload_bytes:
                raise InputError(f"url: is larger than {limits.upload_mb:g} MB")
            watch.check()
            file.write(piece)
    watch.check()
    if not count:
        raise InputError("url: gives nothing")
    if answer.length:  # which counts down what was promised
        raise InputError(f"url: the connection broke off after {count} bytes; {answer.length} were to come; try again")
    return count


def _connected(place: Place, watch: _Watch) -> http.client.HTTPConnection:
    """To one of the addresses that were checked."""
    failed: OSError | None = None
    for address in place.addresses:
        left = min(_SILENCE, watch.end - time.monotonic())
        if left <= 0:
            break
        try:
            raw = socket.create_connection((address, place.port), timeout=left)
        except OSError as error:
            failed = error
            continue
        host = place.url.hostname or ""
        connection = http.client.HTTPConnection(f"[{host}]" if ":" in host else host, place.port, timeout=_SILENCE)
        # Of the instance: else `Host` names the port of https, which servers do not expect.
        connection.default_port = SCHEMES[place.url.scheme]  # type: ignore[misc]
        try:
            watch.socket = connection.sock = raw
            if place.url.scheme == "https":
                context = ssl.create_default_context()
                secure = context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)
                watch.socket = connection.sock = secure
                secure.do_handshake()
        except BaseException:
            raw.close()
            raise
        return connection
    raise failed or TimeoutError("no answer")


def _words(error: BaseException) -> str:
    return "no data in time" if isinstance(error, TimeoutError) else type(error).__name__
