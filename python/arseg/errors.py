"""Which exceptions are the user's to mend."""

from __future__ import annotations


class InputError(ValueError):
    """An argument or file that cannot be used; the message is one sentence for the person who gave it."""


def user_errors() -> tuple[type[Exception], ...]:
    """Exceptions whose message is written for the user; the command line prints it as one line."""
    from arseg.models.checkpoint import CheckpointError
    from arseg.video.errors import VideoError

    # ImportError: what is not installed or not built says so in a sentence of ours.
    return (InputError, VideoError, CheckpointError, OSError, ImportError)
