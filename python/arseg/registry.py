"""Tables of what has a name (losses, recipes, networks, data sets, codecs, outputs); scripts of users add to them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar, overload

from .errors import InputError

Entry = TypeVar("Entry")
Given = TypeVar("Given")


class Registry(Generic[Entry]):
    """Names and their entries, in the order in which they were added. `kind` says in messages what the entries are."""

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    @overload
    def register(self, name: str) -> Callable[[Given], Given]: ...
    @overload
    def register(self, name: str, entry: Entry) -> Entry: ...
    def register(self, name: str, entry: Any = None) -> Any:
        """Adds and returns `entry`; without one, a decorator that does. A name that is taken raises `InputError`."""
        if entry is None:
            return lambda decorated: self.register(name, decorated)
        if name in self._entries:
            raise InputError(f"{self.kind}: {name!r} is registered already; take another name")
        self._entries[name] = entry
        return entry

    def __getitem__(self, name: str) -> Entry:
        """The entry of that name; `InputError` lists the names where there is none."""
        if name in self._entries:
            return self._entries[name]
        near = get_close_matches(str(name), self._entries, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"{self.kind}: expected one of {', '.join(self._entries)}, got {name!r}{hint}")

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def imported(path: str) -> Callable[..., Any]:
    """The function `package.module:name`, imported when it is first called.

    With it a table names what lies above it, or costs time to import.
    """

    def call(*arguments: Any, **options: Any) -> Any:
        module, _, name = path.partition(":")
        return getattr(import_module(module), name)(*arguments, **options)

    return call


def module_of_file(path: Path, kind: str) -> ModuleType:
    """The module in a user's file, run; `kind` begins its name, so that it hides no other."""
    found = importlib.util.spec_from_file_location(f"{kind}_{path.stem}", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module  # dataclasses and pickles look their module up
    found.loader.exec_module(module)
    return module
