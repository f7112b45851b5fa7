"""A worker process from the server's side: started, asked, and started again where it died."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

from arseg.errors import InputError
from arseg.interruptions import held_back

from .limits import Limits
from .worker import Task, work

__all__ = ["WorkerProcess"]

_TICK = 0.1  # seconds from one look at the job's wishes to the next
_ENDINGS = ("done", "failed", "cancelled")


class WorkerProcess:
    """One process, of which one thread asks.

    Args:
        settings: of `open_segmenter`, and `weights` and `device` among them.
        limits: what it takes.
        workers: how many of them share the machine's cores.
    """

    def __init__(self, settings: dict[str, Any], limits: Limits, workers: int = 1) -> None:
        self._settings, self._limits = settings, limits
        self._threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None

    def start(self) -> tuple[str, ...]:
        """Starts it and waits until its network is loaded; returns its classes.

        Raises `InputError` where that cannot be.
        """
        self._pipe, theirs = self._context.Pipe()
        self._cancelled = self._context.Event()
        arguments = (theirs, self._cancelled, self._settings, self._limits, self._threads)
        self._process = self._context.Process(target=work, args=arguments, name="arseg worker", daemon=True)
        with held_back():  # half-started, it would end with a traceback
            self._process.start()
        theirs.close()
        try:
            kind, value = self._pipe.recv()
        except EOFError:
            self._process.join(5)
            code = self._process.exitcode
            self.end()
            raise InputError(f"the worker ended at its start, with code {code}") from None
        if kind != "ready":
            self.end()
            raise InputError(value)
        classes: tuple[str, ...] = value["classes"]
        return classes

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def run(self, task: Task, stopped: Event, *, grace: float, longest: float) -> Iterator[tuple[str, Any]]:
        """What it says of a task, to the end.

        Args:
            stopped: is set where the task is no longer wanted.
            grace: seconds that it then has.
            longest: seconds for the task, after which the process is ended.
        """
        if not self.alive:
            self.start()
            yield "restarted", None
        self._cancelled.clear()
        until, asked = time.monotonic() + longest, False
        try:
            self._pipe.send(task)
            while True:
                if stopped.is_set() and not asked:
                    self._cancelled.set()
                    until, asked = min(until, time.monotonic() + grace), True
                if self._pipe.poll(_TICK):
                    kind, value = self._pipe.recv()
                    yield kind, value
                    if kind in _ENDINGS:
                        return
                elif time.monotonic() > until:
                    self.end()
                    late = f"{Path(task.video).name}: took longer than the limit; send a part of it"
                    yield ("cancelled", None) if asked else ("failed", late)
                    return
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join(5)
            code = self._process.exitcode
            self.end()
            how = f"signal {-code}" if code is not None and code < 0 else f"code {code}"
            name = Path(task.video).name
            yield "failed", f"{name}: the process that read it died ({how}); the server goes on without it"

    def end(self) -> None:
        """Ends the process, whatever it is at."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()
        self._process = None
