"""What the user can mend, as opposed to faults of ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ArsegError(Exception):
    """Base of our exceptions for the user: the message is one sentence, and the command line prints just that."""


class MemoryLimitError(ArsegError):
    """Something does not fit into the memory of the machine or the GPU."""


class InputError(ArsegError, ValueError):
    """An argument or file that cannot be used."""


def refuse_other_settings(place: Path, made: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raises `InputError`, which names them, where what is in `place` was made with other settings than those asked."""
    other = [
        f"{key} {made.get(key)} (asked for {asked.get(key)})"
        for key in sorted({*made, *asked})
        if made.get(key) != asked.get(key)
    ]
    if other:
        raise InputError(
            f"{place}: made with {', '.join(other)}; give the same settings to go on, or another folder to start anew"
        )
