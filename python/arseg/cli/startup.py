"""A quick start: what a command imports and builds lives until its end."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept() -> Iterator[None]:
    """What is made within it is never walked by the garbage collector, neither meanwhile nor at exit.

    For a program at its start, whose largest part is importing torch; where that is done already, this does nothing.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
