"""Recipes from TOML files and `key=value` on the command line; what is unknown or unfit is refused.

Recipes are dataclasses. Their fields' types say what is allowed; ranges stand in `Annotated`, as pydantic has them.
"""

from __future__ import annotations

import sys
import typing
import warnings
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

from arseg.errors import InputError
from arseg.extras import needs
from arseg.files import StrPath

with needs("train", "training"):
    from pydantic import Field, TypeAdapter, ValidationError
    from pydantic_core import to_json

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

Settings = TypeVar("Settings")
"""A recipe: a dataclass of settings."""

AtLeast0 = Annotated[int, Field(ge=0)]
AtLeast1 = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]

PHASES = ("hr", "ar")

RENAMED: Mapping[str, tuple[str, ...]] = {
    "rate": ("lr",),
    "low_rate": ("low_lr", "low_lr_scale"),
    "branch_rate": ("branch_lr_scale",),
    "overlap": ("iou_loss_weight",),
    "average": ("ema_decay",),
    "clip": ("max_grad_norm",),
    "statistics": ("normalization",),
    "budget": ("cache_gb",),
}
"""Names of settings in files and runs of version 0.1, and what they are now: the one that the recipe has."""


def with_new_names(settings: Mapping[str, Any], names: Container[str]) -> dict[str, Any]:
    """`settings` with names of version 0.1 replaced by those of today that are among `names`."""
    new = {key: next((name for name in RENAMED[key] if name in names), key) for key in RENAMED if key not in names}
    return {new.get(key, key): value for key, value in settings.items()}


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


def _warn(line: str) -> None:
    warnings.warn(line, DeprecationWarning, stacklevel=3)


def changed(
    recipe: Settings, settings: Mapping[str, Any], where: str, report: Callable[[str], object] = _warn
) -> Settings:
    """The recipe with `settings` in place of its own.

    Args:
        where: the beginning of messages, such as the name of a file; empty: they begin with the setting.
        report: is given a line for each setting that stands under a name of version 0.1.

    Raises `InputError` for a key that the recipe does not have (it names the nearest one) and for a value of another
    type or out of range.
    """
    names = [field.name for field in fields(recipe)]  # type: ignore[arg-type]
    types = _types(recipe)
    before = f"{where}: " if where else ""
    taken = {}
    for given, value in settings.items():
        (key,) = with_new_names({given: None}, names)
        if key != given:
            if key in settings:
                raise InputError(f"{before}{given} is {key} now; give {key} alone")
            report(f"{before}{given} is {key} now; the old name goes in version 0.3")
        if key not in names:
            near = get_close_matches(key, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(names)}"
            raise InputError(f"{before}unknown key {key!r}; {hint}")
        taken[key] = _fitting(value, types[key], f"{before}{given}")
    return replace(recipe, **taken)  # type: ignore[type-var]


def check(recipe: Any) -> None:
    """Raises `InputError` where a setting's value is of another type, or out of range."""
    for name, kind in _types(recipe).items():
        _fitting(getattr(recipe, name), kind, name)


def _types(recipe: Any) -> dict[str, Any]:
    return typing.get_type_hints(type(recipe), include_extras=True)


def _fitting(value: Any, kind: Any, what: str) -> Any:
    """`value` as a field's type has it; as in TOML, lists do for tuples, and whole numbers for others."""
    try:
        return TypeAdapter(kind).validate_json(to_json(value, inf_nan_mode="constants"), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        expected, got = _expected(first["type"], first.get("ctx", {}), kind), first["input"]
        if expected is None:
            expected, got = _listed(kind) or first["msg"].removeprefix("Input should be "), value
        raise InputError(f"{what}: expected {expected}, got {got!r}") from None


def _listed(kind: Any) -> str | None:
    """What the type of a tuple, or of one or None, expects: as a list, with an example in TOML; None: another type."""
    parts = next(
        (typing.get_args(one) for one in (kind, *typing.get_args(kind)) if typing.get_origin(one) is tuple), None
    )
    if parts is None:
        return None
    count = "" if Ellipsis in parts else f"{len(parts)} "
    example = '["a", "b"]' if parts[0] is str else "[1, 2]"
    return f"a list of {count}{'names' if parts[0] is str else 'numbers'}, such as {example}"


def _expected(fault: str, context: Mapping[str, Any], kind: Any) -> str | None:
    """What pydantic expected, by its names of faults; None: a list of another length, or none at all."""
    if fault == "literal_error":
        return f"one of {', '.join(map(str, typing.get_args(kind)))}"
    ranges = {"greater_than_equal": ("at least", "ge"), "less_than_equal": ("at most", "le")}
    ranges |= {"greater_than": ("a number above", "gt"), "less_than": ("a number below", "lt")}
    if fault in ranges:
        words, bound = ranges[fault]
        return f"{words} {context[bound]:g}"
    return {
        "int_type": "a whole number",
        "float_type": "a number",
        "string_type": "a string",
        "bool_type": "true or false",
    }.get(fault)
