"""Label pictures of a data set of one's own: ids, or colours, in whatever mode a PNG has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from arseg.errors import InputError
from arseg.labels import IGNORED

from .classes import Classes, Colour

IGNORED_ENTRY = -1
"""The value of pixels whose palette entry means by its id that they are ignored."""


@dataclass(frozen=True)
class Stored:
    """A label picture's values.

    Attributes:
        kind: what they are.
        values: int32 `[H, W]`; colours are `R << 16 | G << 8 | B`.
    """

    kind: Literal["ids", "colours"]
    values: np.ndarray


def stored_values(file: Image.Image, classes: Classes) -> Stored:
    """What a label picture holds; `InputError` where its mode is no label's, or has colours of which none are known."""
    if file.mode in ("RGB", "RGBA", "CMYK", "YCbCr"):
        return _of_colours(np.asarray(file.convert("RGB")), classes)
    if file.mode in ("LA", "La", "PA"):
        return Stored("ids", np.asarray(file)[..., 0].astype(np.int32))
    if file.mode == "P" and _means_colours(file, classes):
        return Stored("colours", _palette_colours(file, classes))
    if file.mode == "F":
        raise InputError("expected a picture of ids or of colours, got one of floating-point numbers")
    return Stored("ids", np.asarray(file).astype(np.int32))


def ids_of(stored: Stored, classes: Classes) -> np.ndarray:
    """uint8 `[H, W]`: the place of each value's class, 255 where it has none."""
    known = known_values(stored.kind, classes)
    if stored.kind == "ids" and stored.values.min(initial=0) >= 0 and stored.values.max(initial=0) < 1 << 16:
        table = np.full(1 << 16, IGNORED, np.uint8)
        table[known] = np.arange(len(known))
        return table[stored.values]
    order = np.argsort(known, kind="stable")
    place = np.minimum(np.searchsorted(known[order], stored.values), len(known) - 1)
    return np.where(known[order][place] == stored.values, order[place], IGNORED).astype(np.uint8)


def strangers(stored: Stored, classes: Classes) -> dict[int | Colour, int]:
    """Values that are neither a class's nor ignored on purpose, and how many pixels have each."""
    values, counts = np.unique(stored.values, return_counts=True)
    if stored.kind == "ids":
        known = {*classes.ids, *classes.ignored_ids}
        return {int(v): int(n) for v, n in zip(values, counts, strict=True) if int(v) not in known}
    meant = {IGNORED_ENTRY, *_meant_colours(classes)}
    return {_unpacked(int(v)): int(n) for v, n in zip(values, counts, strict=True) if int(v) not in meant}


def known_values(kind: str, classes: Classes) -> np.ndarray:
    """int32 `[classes]`: what each class is stored as."""
    if kind == "ids":
        return np.array(classes.ids, np.int32)
    return packed(classes.labels.palette[: len(classes.ids)])


def _meant_colours(classes: Classes) -> set[int]:
    """Those of classes, and those that are ignored on purpose."""
    return {*known_values("colours", classes).tolist(), *map(pack, classes.ignored_colours)}


def packed(colours: np.ndarray) -> np.ndarray:
    """Colours as one number each: uint8 `[..., 3]` -> int32 `[...]`."""
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue


def pack(colour: Colour) -> int:
    """A colour as one number."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _unpacked(value: int) -> Colour:
    return value >> 16, value >> 8 & 255, value & 255


def _of_colours(picture: np.ndarray, classes: Classes) -> Stored:
    colours, ids = packed(picture), picture[..., 0].astype(np.int32)
    grey = bool((picture == picture[..., :1]).all())
    if not classes.has_colours:
        if grey:
            return Stored("ids", ids)
        raise InputError("is in colours, but the classes have none; give a colour for each class in classes.json")
    are_ids = grey and set(np.unique(ids).tolist()) <= {*classes.ids, *classes.ignored_ids}
    if are_ids and not set(np.unique(colours).tolist()) <= _meant_colours(classes):
        return Stored("ids", ids)  # that were saved with three channels
    return Stored("colours", colours)


def _means_colours(file: Image.Image, classes: Classes) -> bool:
    """Whether a palette picture means its colours: all that it uses are known, but for entries whose id is ignored."""
    if not classes.has_colours:
        return False
    used = np.unique(np.asarray(file)).tolist()
    known = _known_entry(file, classes)[used].tolist()
    return any(known) and all(found or i in classes.ignored_ids for i, found in zip(used, known, strict=True))


def _known_entry(file: Image.Image, classes: Classes) -> np.ndarray:
    """bool `[256]`: whether an entry of the palette has the colour of a class, or one that is ignored."""
    table = packed(np.array(file.getpalette("RGB") or [], np.uint8).reshape(-1, 3))
    return np.concatenate([np.isin(table, list(_meant_colours(classes))), np.zeros(256 - len(table), np.bool_)])


def _palette_colours(file: Image.Image, classes: Classes) -> np.ndarray:
    colours = packed(np.asarray(file.convert("RGB")))
    return np.where(_known_entry(file, classes)[np.asarray(file)], colours, IGNORED_ENTRY)
