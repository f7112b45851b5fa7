"""Signals that end a run, where what it has written so far is to be finished first."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

__all__ = ["Interruptions", "exit_on_signals", "held_back"]

Value = TypeVar("Value")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Signalled(SystemExit):
    """A signal's exit code."""

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.number = number


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise `SystemExit` with the shell's code, 128 and the signal's number.

    What is half-written is removed on the way out. A signal that is ignored, as by `nohup`, stays so. One that arrives
    where Python drops exceptions (a finaliser, the callback of a weak reference, of which each import has one, or of a
    C library) is sent again.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise _Signalled(number)

    def dropped(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, _Signalled):
            return hook(unraisable)
        # Not from here: an exception of the hook is dropped, too.
        again = threading.Timer(0.05, os.kill, (os.getpid(), unraisable.exc_value.number))
        again.daemon = True
        again.start()

    before = {number: signal.getsignal(number) for number in SIGNALS}
    hook, sys.unraisablehook = sys.unraisablehook, dropped
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, leave)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


class Interruptions:
    """Lets signals through to their handlers only where the program waits; elsewhere they come a little later.

    So that no file is left between two states: a frame is in all of the results, or in none. Does nothing outside the
    main thread, where no handlers run, and to signals that no Python function handles.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._waiting = False
        self._late: int | None = None

    def __enter__(self) -> Interruptions:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._on)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Signals are let through in this block, and those that came before it at its beginning."""
        self._waiting = True
        try:
            self.raise_late()
            yield
        finally:
            self._waiting = False

    def each(self, items: Iterable[Value]) -> Iterator[Value]:
        """The items; signals are let through while the next one is waited for."""
        iterator, end = iter(items), object()
        while True:
            with self.waiting():
                item = next(iterator, end)
            if item is end:
                return
            yield item  # type: ignore[misc]

    def raise_late(self) -> None:
        """Hands a signal that came where nobody waited to its handler, which raises."""
        number, self._late = self._late, None
        if number is not None:
            self._handlers[number](number, None)

    def _on(self, number: int, frame: FrameType | None) -> None:
        if self._waiting:
            self._handlers[number](number, frame)
        else:
            self._late = number


@contextmanager
def held_back() -> Iterator[None]:
    """Signals reach their Python handlers after this block: of other threads, too, which no mask of this one stops."""
    stops = Interruptions()
    try:
        with stops:
            yield
    finally:
        stops.raise_late()
