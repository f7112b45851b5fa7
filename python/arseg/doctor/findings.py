"""What is looked at, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from arseg.errors import ArsegError

__all__ = ["Check", "Finding", "Level", "examine", "fault", "ok", "warning"]

Level = Literal["ok", "warning", "fault"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        part: what was looked at, in a word or two.
        level: "fault": something that the package promises does not work; "warning": it works, but slower or with less.
        found: what is there.
        cure: what to do, a sentence; None where all is well.
    """

    part: str
    level: Level
    found: str
    cure: str | None = None


Check = Callable[[], Iterable[Finding]]


def ok(part: str, found: str) -> Finding:
    return Finding(part, "ok", found)


def warning(part: str, found: str, cure: str) -> Finding:
    return Finding(part, "warning", found, cure)


def fault(part: str, found: str, cure: str) -> Finding:
    return Finding(part, "fault", found, cure)


def examine(checks: Iterable[tuple[str, Check]] | None = None) -> Iterator[Finding]:
    """What each check finds, one after the other; one that fails itself is a fault.

    Args:
        checks: names and checks; None: all that there are.
    """
    if checks is None:
        from .computing import COMPUTING
        from .installed import INSTALLED
        from .videos import VIDEOS

        checks = (*COMPUTING, *VIDEOS, *INSTALLED)
    for part, check in checks:
        try:
            yield from check()
        except (ArsegError, ImportError, OSError) as error:  # these say what to do
            yield fault(part, " ".join(str(error).split()), "Do what the message says, then run this again.")
        except Exception as error:
            what = f"{type(error).__name__}: {' '.join(str(error).split())}"
            yield fault(part, what, "Report it, with what `arseg doctor --json` prints.")
