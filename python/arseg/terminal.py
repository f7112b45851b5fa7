"""What the commands show while they work."""

from __future__ import annotations

from rich.console import Console
from rich.progress import Progress


def progress_bar(console: Console) -> Progress:
    """A bar that disappears when it is done; nothing at all where nobody watches (a pipe, a log)."""
    return Progress(console=console, transient=True, disable=not console.is_terminal)
