"""All checks, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from arseg.errors import ArsegError

from .computing import COMPUTING
from .findings import Check, Finding, fault
from .installed import INSTALLED
from .videos import VIDEOS

__all__ = ["examine"]


def examine(checks: Iterable[tuple[str, Check]] | None = None) -> Iterator[Finding]:
    """What each check finds, one after the other; one that fails itself is a fault.

    Args:
        checks: names and checks; None: all that there are.
    """
    if checks is None:
        checks = (*COMPUTING, *VIDEOS, *INSTALLED)
    for part, check in checks:
        try:
            yield from check()
        except (ArsegError, ImportError, OSError) as error:  # these say what to do
            yield fault(part, " ".join(str(error).split()), "Do what the message says, then run this again.")
        except Exception as error:
            what = f"{type(error).__name__}: {' '.join(str(error).split())}"
            yield fault(part, what, "Report it, with what `arseg doctor --json` prints.")
