"""What is shared: jobs, what is told of them, and who runs them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from arseg.errors import ArsegError, MemoryLimitError
from arseg.memory import is_out_of_memory
from arseg.video.errors import VideoError

if TYPE_CHECKING:
    from .worker import Worker

TRIES = 3
"""How often a job is begun whose worker dies, or has too little memory."""


class Job(Protocol):
    """A part of the work, which can be pickled.

    Attributes:
        name: for messages: the file, and which frames.
    """

    @property
    def name(self) -> str: ...

    def run(self, worker: Worker, tell: Callable[[Any], None]) -> None:
        """Calls `tell` with what it finds out, which can be pickled."""


@dataclass(frozen=True)
class Failed:
    """Why a job has no result.

    Attributes:
        sentence: for the user.
        ours: whether it is a fault of the program.
        memory: whether there was too little memory, so that it may go well another time.
        video: whether it is the video's fault.
    """

    sentence: str
    ours: bool = False
    memory: bool = False
    video: bool = False

    @classmethod
    def of(cls, error: BaseException) -> Failed:
        if isinstance(error, ArsegError | OSError):
            return cls(str(error), memory=isinstance(error, MemoryLimitError), video=isinstance(error, VideoError))
        return cls("".join(traceback.format_exception(error)), ours=True, memory=is_out_of_memory(error))

    def error(self) -> Exception:
        kind = RuntimeError if self.ours else VideoError if self.video else ArsegError
        return kind(self.sentence)


@dataclass(frozen=True)
class Told:
    """One thing told of a job.

    Attributes:
        job: its number among those that run together.
        message: what it told; None where it has ended, or failed.
        ended: no more comes of it.
        failed: why, where it is not done.
    """

    job: int
    message: Any = None
    ended: bool = False
    failed: Failed | None = None


class Runner(Protocol):
    """Runs jobs in processes, here or elsewhere.

    Attributes:
        slots: how many run at once.
        elsewhere: whether they may have another folder, so that names of files are to be whole ones.
    """

    slots: int
    elsewhere: bool

    def run(self, jobs: Iterable[Job]) -> Iterator[Told]:
        """What each job tells, in its order, and again from the beginning where it was begun again; its end once.

        Jobs begin in their order, and no more of them than a few for each slot after the first that has not ended; what
        they tell comes mixed.
        """


def in_order(told: Iterable[Told]) -> Iterator[Told]:
    """What is told, job after job; of later ones it is held meanwhile."""
    current = 0
    held: dict[int, list[Told]] = {}
    for one in told:
        held.setdefault(one.job, []).append(one)
        while held.get(current):
            first = held[current].pop(0)
            yield first
            if first.ended:
                held.pop(current)
                current += 1


def gave_up(job: Job, why: str) -> Failed:
    """After so many tries."""
    return Failed(f"{job.name}: given up after {TRIES} tries ({why}); give fewer --workers, or a smaller --height")
