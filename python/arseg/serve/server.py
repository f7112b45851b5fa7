"""The server from its start to its end."""

from __future__ import annotations

import logging
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from arseg.errors import InputError
from arseg.extras import needs

from .limits import Limits

__all__ = ["serve"]

_GRACE = 12  # seconds for requests to end


@contextmanager
def _spooled(folder: str) -> Iterator[None]:
    """Uploads wait in our folder until they are whole, not in the system's, which may be memory."""
    before, tempfile.tempdir = tempfile.tempdir, folder
    try:
        yield
    finally:
        tempfile.tempdir = before


def serve(
    settings: dict[str, Any],
    limits: Limits,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    allow_private: bool = False,
    hosts: tuple[str, ...] = (),
    folder: Path | None = None,
    say: Callable[[str], object] = print,
) -> None:
    """Serves until a signal ends it: SIGINT or SIGTERM cancel all jobs, and what was kept is removed.

    Args:
        settings: of `open_segmenter`, and `weights` and `device` among them.
        limits: what is taken.
        host, port: where it listens; port 0: any that is free.
        workers: processes, each with the network.
        allow_private: whether URLs may lead to private addresses.
        hosts: further names that it may be called by; "*": any.
        folder: where a folder for videos and results is made; None: the system's for temporary files.
        say: is told the address once it listens.

    Raises `InputError` where it cannot listen, or the network cannot be loaded.
    """
    with needs("serve", "arseg serve"):
        import uvicorn

    from .app import LOCAL, make_app
    from .jobs import Jobs

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            jobs.cancel_all()  # streams of events end with their jobs
            super().handle_exit(sig, frame)

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"--host, --port: cannot listen at {host}:{port} ({reason}); give others") from error
        with (
            tempfile.TemporaryDirectory(prefix="arseg-serve-", dir=folder, ignore_cleanup_errors=True) as place,
            _spooled(place),
        ):
            jobs = Jobs(Path(place), limits, settings, workers=workers, allow_private=allow_private)
            try:
                jobs.start_workers()
                shown = f"[{host}]" if family == socket.AF_INET6 else host
                names = LOCAL | {shown.lower()} | {name.lower() for name in hosts}
                config = uvicorn.Config(
                    make_app(jobs, names),
                    log_level="warning",
                    timeout_graceful_shutdown=_GRACE,
                    timeout_keep_alive=10,
                    limit_concurrency=200,
                    server_header=False,
                    proxy_headers=False,
                )
                listening.listen(128)
                say(f"http://{shown}:{listening.getsockname()[1]}/")
                sys.stdout.flush()
                Server(config).run(sockets=[listening])
            finally:
                jobs.end_workers()
    logging.getLogger(__name__).info("stopped")
