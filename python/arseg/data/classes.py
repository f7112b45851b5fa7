"""`classes.json`, `.yaml` or `.txt` of a data set of one's own: names, colours, weights, and what is ignored."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from arseg.errors import InputError
from arseg.extras import needs
from arseg.labels import IGNORED, IMAGENET_MEAN, IMAGENET_STD, LabelSet

Colour = tuple[int, int, int]

FILES = tuple(f"classes.{ending}" for ending in ("json", "yaml", "yml", "txt"))

_SAME = {"names": "classes", "colours": "colors", "palette": "colors", "ignored": "ignore"}
_KEYS = ("classes", "colors", "weights", "ignore", "background", "name", "mean", "std")
_ELSEWHERE = ("path", "train", "val", "test", "nc", "download")  # in the data.yaml of other packages; not needed here
_ENTRY_KEYS = ("name", "id", "color", "colour", "weight", "ignore")
_LINE = re.compile(r"(?P<name>.+?)[\s,:;]+(?P<colour>#[0-9a-fA-F]{6}|\d+[\s,]+\d+[\s,]+\d+)[\s,:;]*")
_REVERSED = re.compile(r"(?P<colour>#[0-9a-fA-F]{6}|\d+[\s,]+\d+[\s,]+\d+)[\s,:;]+(?P<name>\D.*)")

HOW = (
    'expected a list of names, or {"classes": [names], "colors": [[r, g, b], …], "weights": […], "ignore": [ids, '
    "names or colours]}"
)


@dataclass(frozen=True)
class Classes:
    """What the stored values of a data set's labels mean.

    Attributes:
        labels: the classes in order; the place of one is its id in our terms.
        ids: the stored id of each.
        has_colours: whether the author gave colours; if not, `labels` has Pascal VOC's.
        weights: of the loss, one for each class; None where none are given.
        ignored_ids, ignored_colours, ignored_names: stored values that are ignored on purpose; 255 always is.
        background: the class of pixels that no polygon covers; None: they are ignored.
    """

    labels: LabelSet
    ids: tuple[int, ...]
    has_colours: bool = False
    weights: tuple[float, ...] | None = None
    ignored_ids: frozenset[int] = frozenset({IGNORED})
    ignored_colours: frozenset[Colour] = frozenset()
    ignored_names: frozenset[str] = frozenset()
    background: int | None = None


def find_classes(root: Path) -> Path | None:
    """The file of the classes in a folder; `InputError` where there are several."""
    found = [root / name for name in FILES if (root / name).is_file()]
    if len(found) > 1:
        raise InputError(f"{root}: has {' and '.join(path.name for path in found)}; keep one of them")
    return found[0] if found else None


def read_classes(path: Path) -> Classes:
    """The classes of a file; `InputError` names the file and what is wrong in it."""
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix == ".txt":
            record: Any = _of_lines(text)
        elif path.suffix == ".json":
            record = json.loads(text)
        else:
            with needs("data", path.name):
                import yaml
            try:
                record = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise InputError(f"not YAML ({' '.join(str(error).split())})") from error
        return classes_of(record, path.resolve().parent.name)
    except ValueError as error:  # of the JSON too, and of bytes that are no UTF-8
        raise InputError(f"{path}: {error}") from error


def classes_of(record: Any, name: str = "") -> Classes:
    """The classes that a parsed file says; `name`: of the data set, where the record has none."""
    settings = _settings(record)
    entries = _entries(settings.get("classes"))
    ignored = _Ignored(settings.get("ignore", ()))
    colours = _listed(settings, "colors", len(entries), [entry.get("color", entry.get("colour")) for entry in entries])
    weights = _listed(settings, "weights", len(entries), [entry.get("weight") for entry in entries])
    names = [str(entry["name"]).strip() for entry in entries]
    ids = _ids(entries)
    kept = []
    for place, entry in enumerate(entries):
        if entry.get("ignore") or names[place] in ignored.names or ids[place] in ignored.ids:
            ignored.add(names[place], ids[place], None if colours is None else _colour(colours[place]))
        else:
            kept.append(place)
    missing = ignored.names - set(names) - {"__ignore__"}
    if missing and all(isinstance(value, str) for value in missing):
        raise InputError(f"ignore: no class is named {min(missing)!r}; the names are {', '.join(names[:20])}")
    return _made(
        name=str(settings.get("name") or name),
        names=[names[place] for place in kept],
        ids=[ids[place] for place in kept],
        colours=None if colours is None else [_colour(colours[place]) for place in kept],
        weights=None if weights is None else [weights[place] for place in kept],
        ignored=ignored,
        settings=settings,
    )


def _made(
    name: str,
    names: list[str],
    ids: list[int],
    colours: list[Colour] | None,
    weights: list[Any] | None,
    ignored: _Ignored,
    settings: Mapping[str, Any],
) -> Classes:
    if not 1 <= len(names) <= IGNORED:
        raise InputError(f"classes: expected 1 to {IGNORED}, got {len(names)}")
    for what, values in (("name", names), ("id", ids), ("colour", colours or [])):
        value, count = Counter(values).most_common(1)[0] if values else (None, 0)  # type: ignore[call-overload]
        if count > 1:
            raise InputError(f"classes: {count} have the {what} {value}; give each its own")
    if IGNORED in ids:
        name = names[ids.index(IGNORED)]
        raise InputError(f"classes: {name} has the id {IGNORED}, which means ignored; give it another")
    shared = ignored.colours & set(colours or ())
    if shared:
        raise InputError(f"ignore: the colour {min(shared)} is that of a class; remove it from one of them")
    if weights is not None and not all(isinstance(w, (int, float)) and w > 0 for w in weights):
        raise InputError(f"weights: expected positive numbers, got {weights}")
    background = settings.get("background")
    if background is None:
        background = next((n for n in names if n.lower() in ("background", "_background_")), None)
    elif background not in names:
        raise InputError(f"background: expected one of the classes, {', '.join(names[:20])}, got {background!r}")
    labels = LabelSet.of(
        len(names),
        name=name,
        classes=names,
        palette=colours,
        mean=_numbers(settings, "mean", IMAGENET_MEAN),
        std=_numbers(settings, "std", IMAGENET_STD),
    )
    return Classes(
        labels,
        tuple(ids),
        colours is not None,
        None if weights is None else tuple(map(float, weights)),
        frozenset(ignored.ids | {IGNORED}),
        frozenset(ignored.colours),
        frozenset(ignored.names | {"__ignore__"}),
        None if background is None else names.index(background),
    )


class _Ignored:
    """Ids, names and colours that are ignored, told apart by their type."""

    def __init__(self, values: Any):
        self.ids: set[int] = set()
        self.names: set[str] = set()
        self.colours: set[Colour] = set()
        for value in values if isinstance(values, (list, tuple)) else [values]:
            if isinstance(value, bool) or not isinstance(value, (int, str, list, tuple)):
                raise InputError(f"ignore: expected ids, names or colours, got {value!r}")
            if isinstance(value, int):
                self.ids.add(value)
            elif isinstance(value, str) and not value.startswith("#"):
                self.names.add(value)
            else:
                self.colours.add(_colour(value))

    def add(self, name: str, id: int, colour: Colour | None) -> None:
        self.names.add(name)
        self.ids.add(id)
        if colour is not None:
            self.colours.add(colour)


def _settings(record: Any) -> dict[str, Any]:
    """The record as one with the keys `_KEYS`."""
    if isinstance(record, list):
        return {"classes": record}
    if not isinstance(record, dict) or not record:
        raise InputError(HOW)
    found = {_SAME.get(str(key), str(key)): value for key, value in record.items()}
    if "classes" not in found:
        # Names by id, ids by name, or colours by name, and nothing else.
        if all(str(key).isdigit() for key in record) or all(map(_id_or_colour, record.values())):
            return {"classes": record}
        slips = [key for key in found if get_close_matches(key, ["classes"])]
        raise InputError(f"no key is named {slips[0]!r}; did you mean 'classes'?" if slips else HOW)
    for key in found:
        if key not in _KEYS and key not in _ELSEWHERE:
            near = get_close_matches(key, [*_KEYS, *_SAME], 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; they are {', '.join(_KEYS)}"
            raise InputError(f"no key is named {key!r}{hint}")
    return {key: value for key, value in found.items() if key in _KEYS}


def _id_or_colour(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) == 3 and all(isinstance(part, int) for part in value)
    return isinstance(value, int) or (isinstance(value, str) and value.startswith("#"))


def _entries(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        if all(str(key).isdigit() for key in value):  # id -> name, or an entry
            pairs = sorted(((int(key), entry) for key, entry in value.items()), key=lambda pair: pair[0])
            return _named(
                [{"id": id, **entry} if isinstance(entry, dict) else {"id": id, "name": entry} for id, entry in pairs]
            )
        entries = [
            {"name": name, ("id" if isinstance(entry, int) else "color"): entry} for name, entry in value.items()
        ]
        return sorted(entries, key=lambda entry: entry.get("id", 0))
    if not isinstance(value, list):
        raise InputError(f"classes: {HOW}")
    return _named([dict(entry) if isinstance(entry, dict) else {"name": entry} for entry in value])


def _named(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries; raises `InputError` where one has no name, or a key that there is not."""
    for entry in entries:
        if not isinstance(entry.get("name"), (str, int, bool)) or not str(entry["name"]).strip():
            raise InputError(f"classes: expected a name for each, got {entry}")
        for key in entry.keys() - set(_ENTRY_KEYS):
            near = get_close_matches(str(key), _ENTRY_KEYS, 1)
            raise InputError(f"classes: no key of an entry is named {key!r}; {near[0] if near else _ENTRY_KEYS} is one")
    return entries


def _ids(entries: Sequence[Mapping[str, Any]]) -> list[int]:
    given = [entry["id"] for entry in entries if "id" in entry]
    if not given:
        return list(range(len(entries)))
    if len(given) != len(entries):
        raise InputError("classes: some have an id and some none; give one to each, or to none")
    if not all(isinstance(id, int) and 0 <= id < 1 << 16 for id in given):
        raise InputError(f"classes: expected ids from 0 to 65535, got {given}")
    return list(given)


def _listed(settings: Mapping[str, Any], key: str, count: int, of_entries: list[Any]) -> list[Any] | None:
    """Values of all classes, given in a list of their own or with each entry; None where they are not given."""
    values = settings.get(key)
    if values is None:
        if all(value is None for value in of_entries):
            return None
        values = of_entries
    if not isinstance(values, (list, tuple)) or len(values) != count or any(value is None for value in values):
        have = sum(value is not None for value in values) if isinstance(values, (list, tuple)) else values
        raise InputError(f"{key}: expected {count}, one for each class, got {have}")
    return list(values)


def _colour(value: Any) -> Colour:
    if isinstance(value, str):
        if re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            return tuple(bytes.fromhex(value[1:]))  # type: ignore[return-value]
        value = [int(part) for part in re.findall(r"\d+", value)]
    if (
        isinstance(value, (list, tuple))
        and len(value) == 3
        and all(isinstance(part, int) and 0 <= part <= 255 for part in value)
    ):
        return tuple(value)  # type: ignore[return-value]
    raise InputError(f"colors: expected [r, g, b] from 0 to 255 or '#rrggbb', got {value!r}")


def _numbers(settings: Mapping[str, Any], key: str, default: Sequence[float]) -> Sequence[float]:
    value = settings.get(key, default)
    if not isinstance(value, (list, tuple)) or not all(isinstance(part, (int, float)) for part in value):
        raise InputError(f"{key}: expected 3 numbers from 0 to 1, got {value!r}")
    return value


def _of_lines(text: str) -> list[dict[str, Any]]:
    """`NAME`, `NAME R G B`, `R G B NAME` or `NAME #rrggbb`, one a line; lines that begin with `# ` are remarks."""
    entries = []
    for line in map(str.strip, text.splitlines()):
        if not line or re.match(r"#(\s|$)", line):
            continue
        match = _LINE.fullmatch(line) or _REVERSED.fullmatch(line)
        entries.append({"name": line} if match is None else {"name": match["name"], "color": match["colour"]})
    return entries
