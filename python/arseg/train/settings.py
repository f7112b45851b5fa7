"""Recipes from presets, TOML files and `key=value` on the command line; what is unknown or unfit is refused."""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from arseg.errors import InputError
from arseg.files import StrPath

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Recipe = TypeVar("Recipe")

PHASES = ("hr", "ar")


def read_recipe_file(path: StrPath, phase: str) -> tuple[str | None, dict[str, Any]]:
    """The preset that a TOML file names, if it does, and its settings.

    Settings stand at the top, for either phase, or in the tables `[hr]` and `[ar]`, for one.
    """
    try:
        record = tomllib.loads(Path(path).read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; expected a TOML file of settings") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from error
    preset = record.pop("preset", None)
    if preset is not None and not isinstance(preset, str):
        raise InputError(f"{path}: preset: expected a name in quotes, got {preset!r}")
    tables = {name: record.pop(name, {}) for name in PHASES}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise InputError(f"{path}: {name}: expected a table [{name}], got {table!r}")
    return preset, {**record, **tables[phase]}


def read_settings(given: Iterable[str]) -> dict[str, Any]:
    """`key=value` each; a value is TOML's (8, 0.5, true, [720, 960]), or else a string as it stands."""
    settings = {}
    for item in given:
        key, equals, value = item.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InputError(f"--set: expected key=value, got {item!r}")
        try:
            settings[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            settings[key] = value.strip()
    return settings


def changed(recipe: Recipe, settings: Mapping[str, Any], where: str) -> Recipe:
    """The recipe with `settings` in place of its own.

    Raises `InputError`, which starts with `where`, for a key that the recipe does not have (it names the nearest one)
    and for a value of another type.
    """
    types = typing.get_type_hints(type(recipe))
    names = [field.name for field in fields(recipe)]  # type: ignore[arg-type]
    taken = {}
    for key, value in settings.items():
        if key not in names:
            near = get_close_matches(key, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(names)}"
            raise InputError(f"{where}: unknown key {key!r}; {hint}")
        taken[key] = _fitting(value, types[key], f"{where}: {key}")
    return replace(recipe, **taken)  # type: ignore[type-var]


def _fitting(value: Any, wanted: Any, what: str) -> Any:
    """`value` as the type `wanted` of a recipe's field: a number, a string, one of several, or a tuple of these."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Literal:
        if value not in arguments:
            raise InputError(f"{what}: expected one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        each = arguments[0]
        count = None if arguments[-1] is Ellipsis else len(arguments)
        if not isinstance(value, list | tuple) or (count is not None and len(value) != count):
            named = f"{count} values" if count is not None else "values"
            raise InputError(f"{what}: expected a list of {named}, such as [1, 2], got {value!r}")
        return tuple(_fitting(item, each, what) for item in value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # An int is no float and no bool here, as in TOML.
    if type(value) is not wanted:
        names = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
        raise InputError(f"{what}: expected {names.get(wanted, wanted)}, got {value!r}")
    return value


def preset_named(presets: Mapping[str, Recipe], name: str) -> Recipe:
    """The recipe of that name; raises `InputError` that names the nearest."""
    if name not in presets:
        near = get_close_matches(name, presets, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"preset: expected one of {', '.join(presets)}, got {name!r}{hint}")
    return presets[name]
