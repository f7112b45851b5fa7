"""Jobs run by processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from queue import Queue
from typing import Any

import torch

from arseg.errors import ArsegError
from arseg.interruptions import SIGNALS, exit_on_signals, held_back
from arseg.memory import keep_pages

from .jobs import TRIES, Failed, Job, Told, gave_up
from .worker import MakeSegmenter, Worker, device_of

_AHEAD = 3
"""Jobs for each process that are begun at most while the first of them has not ended."""

_PATIENCE = 10.0
"""Seconds for a process to put its files in order, before it is killed."""


@dataclass
class _Process:
    process: Any
    connection: Connection
    number: int
    job: int | None = None


@dataclass
class _Try:
    job: Job
    begun: int = 0


class LocalPool:
    """`count` processes, each with a network of its own; the threads of torch are divided among them.

    A context: at its end all processes are at theirs. A process that dies is replaced, and its job begun again, `TRIES`
    times in all. Processes are spawned: a script that makes a pool has `if __name__ == "__main__":`.

    Args:
        make: the segmenter of a process on a device.
        count: of processes.
        device: see `device_of`: with "cuda" the processes take the cards in turn, with "cuda:1" they share that one.
        threads: of torch in each; None: those of this process divided by `count`, at least 1.

    Raises:
        ArsegError: from `run`, where no process can be had.
    """

    elsewhere = False

    def __init__(self, make: MakeSegmenter, count: int, *, device: str = "cpu", threads: int | None = None) -> None:
        self._make, self.slots, self._device = make, count, device
        self._threads = threads or max(1, torch.get_num_threads() // count)
        self._spawn = multiprocessing.get_context("spawn")
        self._processes: list[_Process] = []

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all processes, and waits for them."""
        self._end(self._processes)

    def _end(self, processes: list[_Process]) -> None:
        for one in processes:
            one.connection.close()
            one.process.terminate()
        for one in processes:
            one.process.join(_PATIENCE)
            if one.process.is_alive():
                one.process.kill()
                one.process.join()
        self._processes = [one for one in self._processes if one not in processes]

    def run(self, jobs: Iterable[Job]) -> Iterator[Told]:
        coming = enumerate(jobs)
        tries: dict[int, _Try] = {}
        again: deque[int] = deque()
        try:
            yield from self._run(coming, tries, again)
        finally:
            self._end([one for one in self._processes if one.job is not None])

    def _run(self, coming: Iterator[tuple[int, Job]], tries: dict[int, _Try], again: deque[int]) -> Iterator[Told]:
        number, exhausted = -1, False
        while True:
            while again and (free := self._free()) is not None:
                self._begin(free, again[0], tries[again.popleft()])
            # The first that has not ended is waited for: what later ones tell is held somewhere.
            while not exhausted and number + 1 < min(tries, default=number + 1) + _AHEAD * self.slots:
                if (free := self._free()) is None:
                    break
                number, job = next(coming, (number, None))
                if job is None:
                    exhausted = True
                    break
                tries[number] = _Try(job)
                self._begin(free, number, tries[number])
            if not tries:
                return
            for one in self._ready():
                yield from self._heard(one, tries, again)

    def _free(self) -> _Process | None:
        """Who may take a job; a new process where there are not all yet."""
        free = next((one for one in self._processes if one.job is None), None)
        if free is None and len(self._processes) < self.slots:
            numbers = {one.number for one in self._processes}
            # Whoever stops this process does not meet the new one before it can end well, nor leaves it without work,
            # nor without an end.
            with held_back():
                free = self._started(next(number for number in range(self.slots) if number not in numbers))
                self._processes.append(free)
        return free

    def _begin(self, one: _Process, number: int, attempt: _Try) -> None:
        attempt.begun += 1
        one.job = number
        with suppress(OSError):  # it is dead, which is heard next
            one.connection.send(attempt.job)

    def _ready(self) -> list[_Process]:
        there = wait([one.connection for one in self._processes if one.job is not None])
        return [one for one in self._processes if one.connection in there]

    def _heard(self, one: _Process, tries: dict[int, _Try], again: deque[int]) -> Iterator[Told]:
        number = one.job
        assert number is not None
        attempt = tries[number]
        try:
            kind, content = one.connection.recv()
        except (EOFError, OSError):
            kind, content = "failed", Failed(self._buried(one), memory=True)
        if kind == "message":
            yield Told(number, content)
            return
        one.job = None
        if kind == "failed" and content.memory:
            if attempt.begun < TRIES:
                again.append(number)
                return
            content = gave_up(attempt.job, " ".join(content.sentence.split()))
        del tries[number]
        yield Told(number, ended=True, failed=content if kind == "failed" else None)

    def _buried(self, one: _Process) -> str:
        """How a process died."""
        self._processes.remove(one)
        one.connection.close()
        one.process.join()
        code = one.process.exitcode
        if code is not None and code < 0:
            return f"its worker was ended by {signal.Signals(-code).name}, as where memory runs out"
        return f"its worker ended with code {code}"

    def _started(self, number: int) -> _Process:
        here, there = self._spawn.Pipe()
        arguments = there, self._make, device_of(self._device, number), self._threads
        process = self._spawn.Process(target=_work, args=arguments, name=f"arseg-{number}", daemon=True)
        try:
            with _blocked():
                process.start()
        except OSError as error:
            raise ArsegError(f"--workers: no process can be had ({error.strerror}); give fewer") from error
        there.close()
        return _Process(process, here, number)


@contextmanager
def _blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, make: MakeSegmenter, device: str, threads: int) -> None:
    """A process: a job comes, what it tells goes, until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal all get it: the main process ends the others
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with exit_on_signals():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        torch.set_num_threads(threads)
        keep_pages()
        worker = Worker(make, device)
        queue: Queue[Any] = Queue(2)  # the next results are made while these are sent
        threading.Thread(target=_send, args=(connection, queue), daemon=True).start()
        while True:
            try:
                job = connection.recv()
            except (EOFError, OSError):
                return
            try:
                job.run(worker, lambda message: queue.put(("message", message)))
                queue.put(("ended", None))
            except Exception as error:
                queue.put(("failed", Failed.of(error)))
                worker.close()
            del job


def _send(connection: Connection, queue: Queue[Any]) -> None:
    alone = False
    while True:
        item = queue.get()
        if alone:  # nothing that is told waits, so that what is written ends well
            continue
        try:
            connection.send(item)
        except OSError:  # nobody is there any more
            alone = True
            os.kill(os.getpid(), signal.SIGTERM)
