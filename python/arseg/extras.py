"""What is installed on demand: the extras of the package, and what is said where one is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["loaded", "needs"]


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """Around imports of packages that only `extra` of pyproject.toml installs.

    Args:
        extra: its name, such as "plot".
        what: needs them, as the sentence begins: "--plot".

    Raises `ImportError`, what to install in one sentence, where one of them is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{what} needs {error.name}, which is not installed: pip install 'arseg[{extra}]'", name=error.name
        ) from error


def loaded(module: str, *names: str) -> tuple[Any, ...]:
    """Classes of another package for `isinstance`: none where it is not imported, for then no object is one of them."""
    found = sys.modules.get(module)
    return () if found is None else tuple(getattr(found, name) for name in names if hasattr(found, name))
