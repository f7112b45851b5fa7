"""What the page knows of each frame, in little memory: ten numbers and a share for each class."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from arseg.segment.records import STAGES

__all__ = ["Columns"]

_NUMBERS = ("frame", "time", "distance", "intra", "warp_error", *(f"{stage}_ms" for stage in STAGES))
_WHOLE = 10_000  # shares are kept in these parts of 1


class Columns:
    """Grows by rows, as `FrameRecord.row` gives them, and is written column by column.

    Args:
        classes: their names.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.frames = self.keyframes = 0
        self._numbers = {name: array("d") for name in _NUMBERS}
        self._types = bytearray()
        self._keyframes = bytearray()
        self._shares = [array("H") for _ in classes]

    def add(self, row: Mapping[str, Any]) -> None:
        for name, values in self._numbers.items():
            value = row.get(name)
            values.append(float("nan") if value is None else value)
        self._types += (row["type"] or "?")[:1].encode("ascii", "replace")
        self._keyframes += b"1" if row["keyframe"] else b"0"
        for name, shares in zip(self.classes, self._shares, strict=True):
            shares.append(round(_WHOLE * (row.get(f"share_{name}") or 0)))
        self.frames += 1
        self.keyframes += bool(row["keyframe"])

    def json(self) -> Iterator[str]:
        """Members of a JSON object, without its brackets; null for what is not known."""
        yield f'"types":"{self._types.decode()}","keyframes":"{self._keyframes.decode()}"'
        for name, values in self._numbers.items():
            yield f',"{name}":['
            exact = name in ("frame", "time")
            yield from _listed(
                "null" if value != value else repr(value) if exact else f"{value:.5g}" for value in values
            )
            yield "]"
        yield ',"shares":['
        for number, shares in enumerate(self._shares):
            yield "," * (number > 0) + "["
            if any(shares):
                yield from _listed(map(str, shares))
            yield "]"
        yield "]"


def _listed(texts: Iterator[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield f",{text}" if number else text
