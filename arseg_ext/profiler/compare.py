"""Two reports: which rows of ours became slower or faster by more than noise makes.

A time has changed where the quartiles of then and now do not overlap and the medians differ by more than a threshold.
What the machine itself changed is left out of account: the change of ours must lie outside those of the controls, too,
which are a copy of the first map and plain PyTorch, timed in turn with ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from arseg_ext.profiler.results import Report, times

CONTROLS = ("control", "eager", "chain", "copy")
"""Versions that no change of ours makes faster; all that both rows have count."""


@dataclass(frozen=True)
class Ratio:
    """Now divided by then: of the medians, and the least and the most that the quartiles allow."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Change:
    name: str
    ours: Ratio
    control: Ratio | None
    verdict: str  # "slower", "faster", "same"

    def __str__(self) -> str:
        text = f"{self.verdict:6} {self.name}: {self.ours.middle:.3f} x"
        text += f" (quartiles {self.ours.low:.3f} - {self.ours.high:.3f})"
        return text + (f", controls {self.control.low:.3f} - {self.control.high:.3f}" if self.control else "")


def ratio(then: dict[str, Any], now: dict[str, Any]) -> Ratio:
    (then_low, then_high), (now_low, now_high) = then["quartiles us"], now["quartiles us"]
    return Ratio(now_low / then_high, now["us"] / then["us"], now_high / then_low)


def _timed(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return times(row) | ({"control": row["control"]} if "control" in row else {})


def _hull(ratios: list[Ratio]) -> Ratio | None:
    """The least and the most that any of them allows; the median that is farthest from 1."""
    if not ratios:
        return None
    middle = max((each.middle for each in ratios), key=lambda value: abs(math.log(value)))
    return Ratio(min(each.low for each in ratios), middle, max(each.high for each in ratios))


def compare(then: Report, now: Report, threshold: float = 0.03) -> list[Change]:
    """Of every row that both have."""
    old = {row["name"]: _timed(row) for row in then["rows"]}
    found = []
    for row in now["rows"]:
        before, after = old.get(row["name"], {}), _timed(row)
        if "ours" not in before or "ours" not in after:
            continue
        ours = ratio(before["ours"], after["ours"])
        control = _hull([ratio(before[n], after[n]) for n in CONTROLS if n in before and n in after])
        found.append(Change(row["name"], ours, control, _verdict(ours, control, threshold)))
    return found


def _verdict(ours: Ratio, control: Ratio | None, threshold: float) -> str:
    high, low, middle = 1.0, 1.0, 1.0
    if control is not None:
        high, low, middle = max(1.0, control.high), min(1.0, control.low), control.middle
    if ours.low > high and ours.middle > max(1.0, middle) * (1 + threshold):
        return "slower"
    if ours.high < low and ours.middle < min(1.0, middle) * (1 - threshold):
        return "faster"
    return "same"


def machines(then: Report, now: Report) -> list[str]:
    """What differs between the machines, a sentence each."""
    told = []
    for name in ("processor", "threads", "gpu", "torch", "allocator"):
        before, after = then["facts"].get(name), now["facts"].get(name)
        if before != after:
            told.append(f"{name} differs: {before} then, {after} now; times may differ for that alone")
    return told
