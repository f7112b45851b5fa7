"""What the user can mend, as opposed to faults of ours."""

from __future__ import annotations


class ArsegError(Exception):
    """Base of our exceptions for the user: the message is one sentence, and the command line prints just that."""


class MemoryLimitError(ArsegError):
    """Something does not fit into the memory of the machine or the GPU."""


class InputError(ArsegError, ValueError):
    """An argument or file that cannot be used."""
