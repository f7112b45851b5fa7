"""Before all requests: who may ask, and headers that every answer has."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from .metrics import Metrics

__all__ = ["Guard"]

_DRAINED = 3.0  # seconds for what still comes of a body that is refused
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """ASGI: refuses hosts that are not ours and pages of others.

    A server on this machine can be reached by any page that a browser here shows. Such a page names another host (as
    where its own name resolves to this machine), or is told of in `Origin`.

    Args:
        app: what comes after.
        hosts: names that the server may be called by, in lower case; "*": any.
        metrics: counts what is refused, here and later.
    """

    def __init__(self, app: Any, hosts: frozenset[str], metrics: Metrics) -> None:
        self.app, self.hosts, self.metrics = app, hosts, metrics

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        body = _Body(receive, headers)

        async def answered(message: Any) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in _HEADERS if pair[0] not in present)]
                if message["status"] >= 400:
                    if not await body.drained():
                        message["headers"].append((b"connection", b"close"))
                    self.metrics.refused.labels(str(message["status"])).inc()
            await send(message)

        host = headers.get(b"host", "").lower()
        origin = headers.get(b"origin")
        if "*" not in self.hosts and _name(host) not in self.hosts:
            await _refuse(answered, 421, "this server has another name; start it with --allow-host to give it this one")
        elif origin is not None and scope["method"] != "GET" and urlsplit(origin).netloc.lower() != host:
            await _refuse(answered, 403, "pages of other sites may not use this server")
        else:
            await self.app(scope, body.receive, answered)


class _Body:
    """Of a request: whether there is more of it.

    A client that is still sending hears no answer where the connection is closed, so the rest is read first; but not
    for long.
    """

    def __init__(self, receive: Callable[[], Awaitable[Any]], headers: dict[bytes, str]) -> None:
        self._receive = receive
        self._more = b"transfer-encoding" in headers or headers.get(b"content-length", "0") != "0"
        self._waits = headers.get(b"expect", "").lower() == "100-continue"  # until it is asked for the body

    async def receive(self) -> Any:
        message = await self._receive()
        self._waits = False
        self._more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def drained(self) -> bool:
        """Reads the rest; whether that was all of it."""
        end = time.monotonic() + _DRAINED
        while self._more and not self._waits and (left := end - time.monotonic()) > 0:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.receive(), left)
        return not self._more


def _name(host: str) -> str:
    """Without the port."""
    return host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


async def _refuse(send: Callable[[Any], Awaitable[None]], status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
