"""Amounts of compute as users write them, and what a network's ways to see a frame cost in the same unit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Context
from typing import Any, Literal

from arseg.errors import InputError

Unit = Literal["gmacs", "ms", "hr"]
"""10^9 multiply-accumulates, milliseconds, or shares of what the network costs on every frame."""

_WRITTEN = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(gmacs?|ms|%)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Amount:
    """Of compute, for one frame; `value` of `unit`."""

    value: float
    unit: Unit

    @classmethod
    def parse(cls, text: str | Amount, name: str = "budget") -> Amount:
        """`"2gmacs"`, `"40ms"` or `"25%"` (of the network on every frame); raises `InputError` that names `name`."""
        if isinstance(text, Amount):
            return text
        found = _WRITTEN.fullmatch(text) if isinstance(text, str) else None
        if found is None or float(found[1]) == 0:
            raise InputError(
                f"{name}: expected an amount of compute for a frame such as 2gmacs, 40ms or 25% (of the network on "
                f"every frame), got {text!r}"
            )
        unit = found[2].lower()
        return (
            cls(float(found[1]) / 100, "hr") if unit == "%" else cls(float(found[1]), "ms" if unit == "ms" else "gmacs")
        )

    def of(self, value: float) -> Amount:
        """So much of the same unit, to three digits; a little more, for sentences that tell a limit."""
        return Amount(float(Context(prec=3, rounding=ROUND_CEILING).create_decimal(f"{value:.9g}")), self.unit)

    def __str__(self) -> str:
        return f"{100 * self.value:g}%" if self.unit == "hr" else f"{self.value:g}{self.unit}"


@dataclass(frozen=True)
class Costs:
    """What frames cost, in one unit.

    Attributes:
        key: a keyframe: the network at full resolution.
        ways: a frame in each other way that was counted; 0 for what is not in `ways`.
    """

    key: float
    ways: Mapping[str, float] = field(default_factory=dict)

    def of(self, way: str) -> float:
        return self.ways.get(way, 0.0)


class LaterCosts(Costs):
    """The same, counted or measured when they are first looked at: that takes seconds, and not every policy asks."""

    def __init__(self, make: Callable[[], Costs]) -> None:
        object.__setattr__(self, "_make", make)

    def __getattr__(self, name: str) -> Any:
        if name not in ("key", "ways"):
            raise AttributeError(name)
        found = self._make()
        for each in ("key", "ways"):
            object.__setattr__(self, each, getattr(found, each))
        return getattr(found, name)
