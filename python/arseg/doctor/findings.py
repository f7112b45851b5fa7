"""What was found, and what looks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Check", "Finding", "Level", "fault", "ok", "warning"]

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
