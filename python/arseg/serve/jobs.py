"""Jobs from their arrival to their end: a queue, workers, results that go after a while.

All that is told of a job changes in the event loop alone; threads hand their news over to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arseg.errors import ArsegError, InputError

from .fetch import fetch
from .limits import Limits
from .metrics import Metrics
from .process import WorkerProcess
from .results import RESULTS, ROWS
from .worker import Task

__all__ = ["ENDED", "BusyError", "Job", "Jobs"]

_log = logging.getLogger(__name__)
ENDED = ("done", "failed", "cancelled")
_GRACE = 5.0  # seconds that a worker has to stop a job in, before it is ended
_LATE = 10.0  # and beyond the time limit, which it keeps itself


class BusyError(ArsegError):
    """As many jobs as there may be."""


@dataclass(eq=False)
class Job:
    """One video.

    Attributes:
        id: cannot be guessed; who knows it may see the job.
        state: "fetching", "waiting", "running", or one of `ENDED`.
        results: bytes by name, once it is done.
    """

    name: str
    wanted: tuple[str, ...]
    opacity: float
    folder: Path
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: str = "waiting"
    url: str | None = None
    frames: int = 0
    about: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    results: dict[str, int] = field(default_factory=dict)
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    _watchers: set[asyncio.Event] = field(default_factory=set)

    def told(self) -> dict[str, Any]:
        """What clients are told, for JSON."""
        base = f"/jobs/{self.id}"
        passed = None if self.started is None else round((self.ended or time.time()) - self.started, 3)
        return {
            "id": self.id,
            "state": self.state,
            "name": self.name,
            "frames": self.frames,
            **{key: self.about.get(key) for key in ("total", "width", "height", "rate")},
            "seconds": passed,
            "error": self.error,
            "events": f"{base}/events",
            "results": {
                name: {"url": f"{base}/results/{RESULTS[name].file}", "bytes": size, "what": RESULTS[name].words}
                for name, size in self.results.items()
            },
        }

    @property
    def over(self) -> bool:
        return self.state in ENDED

    def notify(self) -> None:
        for watcher in self._watchers:
            watcher.set()

    async def changes(self, pause: float = 15.0) -> AsyncIterator[bool]:
        """True at first and after each change, the last being its end; False where nothing came for `pause` seconds."""
        watcher = asyncio.Event()
        self._watchers.add(watcher)
        try:
            yield True
            while not self.over:
                try:
                    await asyncio.wait_for(watcher.wait(), pause)
                except asyncio.TimeoutError:
                    yield False
                    continue
                watcher.clear()
                yield True
        finally:
            self._watchers.discard(watcher)


class Jobs:
    """All jobs of a server.

    Args:
        folder: for videos and results; what is made in it is removed again.
        limits: what is taken.
        settings: of `open_segmenter`, and `weights` and `device` among them.
        workers: processes, each with the network.
        allow_private: whether URLs may lead to private addresses.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        settings: dict[str, Any],
        *,
        workers: int = 1,
        allow_private: bool = False,
        metrics: Metrics | None = None,
    ) -> None:
        self.folder, self.limits, self.metrics = folder, limits, metrics or Metrics()
        self.allow_private = allow_private
        self.classes: tuple[str, ...] = ()
        self._jobs: dict[str, Job] = {}
        self._reserved = 0
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._workers = [WorkerProcess(settings, limits, workers) for _ in range(workers)]
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False

    # --- the server's life ---

    def start_workers(self) -> None:
        """Loads the networks; raises `InputError` where that fails."""
        for worker in self._workers:
            self.classes = tuple(worker.start())

    def end_workers(self) -> None:
        for worker in self._workers:
            worker.end()

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        for worker in self._workers:
            thread = threading.Thread(target=self._serve, args=(worker,), name="arseg worker", daemon=True)
            thread.start()
            self._threads.append(thread)

    def cancel_all(self) -> None:
        """From the loop or from a signal's handler: every job comes to its end."""
        self._closing = True
        for job in list(self._jobs.values()):
            job.stopped.set()

    async def close(self) -> None:
        self.cancel_all()
        for _ in self._threads:
            self._queue.put(None)
        await asyncio.gather(*(asyncio.to_thread(thread.join, _GRACE + 5) for thread in self._threads))
        self.end_workers()
        for job in self._jobs.values():
            if not job.over:
                self._end(job, "cancelled")
            shutil.rmtree(job.folder, ignore_errors=True)

    async def sweep(self, pause: float = 5.0) -> None:
        """Removes, for ever, what has been kept for long enough."""
        while True:
            await asyncio.sleep(min(pause, self.limits.kept_seconds / 4))
            self._forget()

    @property
    def healthy(self) -> bool:
        return not self._closing and any(worker.alive for worker in self._workers)

    # --- jobs ---

    @contextlib.contextmanager
    def room(self) -> Any:
        """A place for a job that is about to come; raises `BusyError` where there is none."""
        if self._closing:
            raise BusyError("the server is stopping; come back later")
        active = sum(not job.over for job in self._jobs.values()) + self._reserved
        if active >= len(self._workers) + self.limits.waiting:
            raise BusyError(f"{active} jobs are running or waiting, as many as there may be; come back later")
        self._reserved += 1
        try:
            yield
        finally:
            self._reserved -= 1

    def new(self, name: str, wanted: tuple[str, ...], opacity: float, url: str | None = None) -> Job:
        """A job whose video is to come at `video_of`; `submit` lets it go."""
        job = Job(name, wanted, opacity, self.folder, url=url, state="waiting" if url is None else "fetching")
        job.folder = self.folder / job.id
        (job.folder / "in").mkdir(parents=True, mode=0o700)
        return job

    def submit(self, job: Job) -> None:
        if self._closing:  # since its upload began
            job.stopped.set()
        self._jobs[job.id] = job
        if job.url is None:
            self._queue.put(job)
        else:
            threading.Thread(target=self._fetch, args=(job,), name="arseg fetch", daemon=True).start()
        self._count()

    def get(self, id: str) -> Job | None:
        return self._jobs.get(id)

    def cancel(self, job: Job) -> None:
        job.stopped.set()
        if job.state in ("waiting", "fetching"):
            self._end(job, "cancelled")

    def remove(self, job: Job) -> None:
        """Cancels it, and forgets what it made."""
        self.cancel(job)
        self._jobs.pop(job.id, None)
        if job.over:
            shutil.rmtree(job.folder, ignore_errors=True)
        self._count()

    def discard(self, job: Job) -> None:
        """What was begun for a job that is not submitted."""
        shutil.rmtree(job.folder, ignore_errors=True)

    # --- in threads ---

    def _fetch(self, job: Job) -> None:
        assert job.url is not None
        try:
            size = fetch(
                job.url,
                video_of(job),
                self.limits,
                allow_private=self.allow_private,
                stopped=job.stopped.is_set,
            )
        except (InputError, OSError) as error:
            self._tell(self._end, job, "cancelled" if job.stopped.is_set() else "failed", str(error))
            return
        self._tell(self._fetched, job, size)

    def _serve(self, worker: WorkerProcess) -> None:
        """A worker's thread: one job after the other."""
        while (job := self._queue.get()) is not None:
            if job.over:
                continue
            self._tell(self._started, job)
            task = Task(video_of(job), job.folder, job.wanted, job.opacity)
            try:
                for kind, value in worker.run(task, job.stopped, grace=_GRACE, longest=self.limits.job_seconds + _LATE):
                    self._tell(self._news, job, kind, value)
            except Exception:  # of ours: the job fails, the server goes on
                _log.exception("job %s", job.id)
                self._tell(self._news, job, "failed", "the server made a mistake; its log has more")
            self._revive(worker)

    def _revive(self, worker: WorkerProcess) -> None:
        """Another process in place of one that died, at once: who looks at `healthy` would send no job to start it."""
        if worker.alive or self._closing:
            return
        try:
            worker.start()
        except Exception:
            _log.exception("no other worker could be started")
        else:
            self._tell(self.metrics.restarts.inc)

    def _tell(self, what: Callable[..., None], *values: Any) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is at its end
                self._loop.call_soon_threadsafe(what, *values)

    # --- in the loop ---

    def _fetched(self, job: Job, size: int) -> None:
        self.metrics.received.inc(size)
        if job.stopped.is_set():
            self._end(job, "cancelled")
        elif not job.over:
            job.state = "waiting"
            self._queue.put(job)
            job.notify()

    def _started(self, job: Job) -> None:
        if not job.over:
            job.state, job.started = "running", time.time()
            self._count()
            job.notify()

    def _news(self, job: Job, kind: str, value: Any) -> None:
        if job.over:
            return
        if kind == "begun":
            job.about = value
        elif kind == "frames":
            self.metrics.frames.inc(value - job.frames)
            job.frames = value
        elif kind == "done":
            job.results = value
            self._end(job, "done")
            return
        elif kind == "restarted":
            self.metrics.restarts.inc()
            return
        elif kind in ("failed", "cancelled"):
            self._end(job, kind, value)
            return
        job.notify()

    def _end(self, job: Job, state: str, error: str | None = None) -> None:
        if job.over:
            return
        job.state, job.ended = state, time.time()
        job.error = error if state == "failed" else None
        self.metrics.jobs.labels(state).inc()
        if job.started is not None:
            self.metrics.seconds.observe(job.ended - job.started)
        shutil.rmtree(job.folder / "in", ignore_errors=True)
        if state != "done" or job.id not in self._jobs:
            shutil.rmtree(job.folder, ignore_errors=True)
        _log.info("job %s: %s, %d frames", job.id, state, job.frames)
        job.notify()
        self._forget()

    def _forget(self) -> None:
        """Results that are too old, and the oldest of too many."""
        over = sorted((job for job in self._jobs.values() if job.over), key=lambda job: job.ended or 0)
        size, now = sum(map(_bytes, over)), time.time()
        for number, job in enumerate(over):
            last = number == len(over) - 1
            if now - (job.ended or now) > self.limits.kept_seconds or (size > self.limits.kept_bytes and not last):
                size -= _bytes(job)
                self._jobs.pop(job.id, None)
                shutil.rmtree(job.folder, ignore_errors=True)
        self._count()

    def _count(self) -> None:
        jobs = self._jobs.values()
        self.metrics.running.set(sum(job.state == "running" for job in jobs))
        self.metrics.waiting.set(sum(job.state in ("waiting", "fetching") for job in jobs))
        self.metrics.kept.set(sum(map(_bytes, jobs)))


def video_of(job: Job) -> Path:
    """Where the video that came is."""
    return job.folder / "in" / job.name


def rows_of(job: Job) -> Path:
    return job.folder / ROWS


def _bytes(job: Job) -> int:
    return sum(job.results.values())
