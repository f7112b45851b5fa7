"""A line of text such as `timm:mobilenetv3_small_050?num_classes=11` into a call of a table's entry."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl

from torch import nn

from arseg.errors import InputError
from arseg.registry import Registry

Builders = Registry[Callable[..., nn.Module]]


def from_line(table: Builders, line: str, *, fetch: bool = False, **options: Any) -> nn.Module:
    """What the entry makes that a line names.

    Args:
        table: its entries are called with what follows the colon, and with the options.
        line: `NAME`, `LIBRARY:NAME`, with options `NAME?width=32&deep=true`: numbers, true, false, none, lists and
            tables as JSON (`depths=[1,2]`), or text.
        fetch: whether the line may ask for pretrained weights; if not, an entry's parameter `pretrained` is False.
        options: more options, which count before those of the line.

    Raises `InputError` that begins with the table's kind, for a name that it lacks or that cannot be built.
    """
    entry_name, colon, rest = line.partition("?")[0].partition(":")
    entry, name = table[entry_name], rest or entry_name
    options = {**_options(line.partition("?")[2]), **options}
    if not fetch and "pretrained" in inspect.signature(entry).parameters:
        options["pretrained"] = False
    first = next(iter(inspect.signature(entry).parameters.values()), None)
    if not rest and first is not None and first.name == "name" and first.default is first.empty:
        raise InputError(f"{table.kind}: expected {entry_name}:NAME, got {line!r}")
    try:
        return entry(*([rest] if colon else []), **options)
    except InputError:
        raise
    except (TypeError, ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{table.kind}: {name} cannot be built: {reason[0]}") from error
    except OSError as error:
        raise InputError(
            f"{table.kind}: the pretrained weights of {name} cannot be fetched ({error}); give options such as "
            "?num_classes=21 to build it without them"
        ) from error


def _options(query: str) -> dict[str, Any]:
    words = {"true": True, "false": False, "none": None}
    options: dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        options[key] = words[text.lower()] if text.lower() in words else _json(text)
    return options


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def check_known(argument: str, library: str, name: str, names: Sequence[str]) -> None:
    """Raises `InputError` that names what is close where a library has no `name`."""
    if name not in names:
        close = get_close_matches(name, names) or [known for known in names if name and known.startswith(name)][:3]
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise InputError(f"{argument}: {library} has no {name!r}{hint}")
