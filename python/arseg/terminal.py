"""What people see while a command works, and at its end: consoles, bars, remarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["counting", "err_console", "frames_bar", "out_console", "progress_bar", "say"]


def out_console() -> Console:
    """For results: the standard output."""
    return Console()


def err_console() -> Console:
    """For all that is no result, so that results can be piped on: the standard error."""
    return Console(stderr=True)


def progress_bar(console: Console) -> Progress:
    """A bar that disappears when it is done; nothing at all where nobody watches (a pipe, a log)."""
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def frames_bar(console: Console) -> Progress:
    """`progress_bar` for frames: how many a second, the time left, and the share of keyframes (`keyframes=` so far)."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(show_speed=False), _Rate())
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)


class _Rate(ProgressColumn):
    """Such as "31.2 frames/s, 8 % keyframes, 66 % of the compute saved"."""

    def render(self, task: Task) -> Text:
        rate = task.speed or 0.0
        share = 100 * task.fields.get("keyframes", 0) / max(1, task.completed)
        saved = task.fields.get("saved")
        text = "" if saved is None else f", {100 * saved:.0f} % of the compute saved"
        return Text(f"{rate:.1f} frames/s, {share:.0f} % keyframes{text}")


@contextmanager
def counting(console: Console, what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar named `what`; the function that the block gets moves it to (number done, number in all or None)."""
    with progress_bar(console) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def say(console: Console, sentence: str) -> None:
    """A remark, in yellow, on one line whatever the console's width."""
    console.print(sentence, style="yellow", highlight=False, soft_wrap=True, markup=False)
