"""What a training run tells: `log.jsonl`, TensorBoard and the progress line."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from arseg.files import replacing

from . import distributed
from .events import Events, TensorBoardEvents
from .schedule import Schedule


class RunLog:
    """Writes figures as they come; of several processes, only the first does."""

    def __init__(
        self, folder: Path, schedule: Schedule, first: int, report: Callable[[str], None], tensorboard: bool
    ) -> None:
        self._schedule, self._first, self._report = schedule, first, report
        self._sums: dict[str, float] = {}
        self._summed = 0
        self._started = time.monotonic()
        self._events: Events | None = None
        self._file: Any = None
        if not distributed.is_main_process():
            return
        if tensorboard:
            self._events = TensorBoardEvents(folder / "tensorboard", first)
        _drop_lines_after(folder / "log.jsonl", first)
        self._file = open(folder / "log.jsonl", "a")  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()
        if self._events is not None:
            self._events.close()

    def add(self, done: int, terms: Mapping[str, float], lr: float) -> None:
        """A step's terms; a line every `log_every` steps."""
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._summed += 1
        every = self._schedule.log_every
        if done % every:
            return
        means = {name: round(value / self._summed, 4) for name, value in self._sums.items()}
        self._sums, self._summed = {}, 0
        pace = (time.monotonic() - self._started) / (done - self._first)
        self._write({"step": done, **means, "seconds_a_step": round(pace, 3)}, {**means, "lr": lr})
        shown = " ".join(f"{name} {value:.3f}" for name, value in means.items())
        left = duration(pace * (self._schedule.steps - done))
        self._report_first(f"step {done}/{self._schedule.steps}  {shown}  {pace:.2f} s a step, {left} left")

    def validation(self, done: int, stage: str, figures: Mapping[str, float], better: bool) -> None:
        known = {f"{stage} {name}": round(value, 3) for name, value in figures.items() if not math.isnan(value)}
        self._write({"step": done, "validation": stage, **known}, known)
        shown = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
        self._report_first(f"step {done}: validation of {stage}: {shown}{', the best so far' if better else ''}")

    def _write(self, line: Mapping[str, Any], figures: Mapping[str, float]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        if self._events is not None:
            self._events.write(line["step"], figures)

    def _report_first(self, line: str) -> None:
        if distributed.is_main_process():
            self._report(line)


def duration(seconds: float) -> str:
    """'40 s', '12 min', '3 h 05 min'."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _drop_lines_after(log: Path, step: int) -> None:
    """A run that was stopped between two saves logs the steps since the last one again; half a line is none."""
    if log.exists():
        lines = [line for line in log.read_text().splitlines(keepends=True) if _step(line) <= step]
        with replacing(log) as part:
            part.write_text("".join(lines))


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
