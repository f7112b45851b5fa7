"""Two reports: which rows of ours became slower or faster by more than noise makes.

A time has changed where the quartiles of then and now do not overlap and the medians differ by more than a threshold.
Where both reports have plain PyTorch in the row, what the machine itself changed is left out of account: the change of
ours must lie outside that of eager, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from arseg_ext.profiler.results import Report, times

CONTROLS = ("eager", "chain", "copy")
"""Versions that no change of ours makes faster, the first that both rows have is taken."""


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
        return text + (f", PyTorch {self.control.middle:.3f} x" if self.control else "")


def ratio(then: dict[str, Any], now: dict[str, Any]) -> Ratio:
    (then_low, then_high), (now_low, now_high) = then["quartiles us"], now["quartiles us"]
    return Ratio(now_low / then_high, now["us"] / then["us"], now_high / then_low)


def compare(then: Report, now: Report, threshold: float = 0.03) -> list[Change]:
    """Of every row that both have."""
    old = {(row["name"]): times(row) for row in then["rows"]}
    found = []
    for row in now["rows"]:
        before, after = old.get(row["name"], {}), times(row)
        if "ours" not in before or "ours" not in after:
            continue
        ours = ratio(before["ours"], after["ours"])
        control = next((ratio(before[n], after[n]) for n in CONTROLS if n in before and n in after), None)
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
