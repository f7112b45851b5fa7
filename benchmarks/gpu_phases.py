"""Phases of gpu_check.py: each a process of its own with a time limit, its result in the report before the next begins.

A process each, since an error on a CUDA device stays with the process it happened in.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Report = dict[str, Any]
TICK = 10.0  # seconds between two looks at a phase under way
TAIL = 4000  # characters of a failed phase's output that the report keeps


@dataclass
class Outcome:
    """How a command ended: `code` is None where its time was over."""

    code: int | None
    output: str


@dataclass(frozen=True)
class Phase:
    """One step. `read` makes what the report keeps out of the outcome, and may find a failure in it (key "failure").

    `seconds` is the most it may take; less is left to it where the whole check's time runs out, but `at_least` is kept
    for it from those before. `missing` says why it cannot run here; it is skipped then.
    """

    name: str
    command: Sequence[str]
    seconds: float
    read: Callable[[Outcome], dict[str, Any]] = lambda outcome: {}
    environment: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()  # phases that must have passed
    missing: str = ""
    time_argument: str = ""  # an option of the command that takes the seconds it has
    background: bool = False  # the next ones do not wait for it; its own end, or the first that is `alone`, ends it
    alone: bool = False
    together: bool = False  # with its neighbours that are so too, at the same time: nothing is timed in them
    at_least: float = 0.0


def start(command: Sequence[str], log: Path, environment: dict[str, str], folder: Path) -> subprocess.Popen[Any]:
    """In a session of its own; its output goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as to:
        return subprocess.Popen(
            list(command),
            cwd=folder,
            env={**os.environ, **environment},
            stdout=to,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def run_command(
    command: Sequence[str],
    seconds: float,
    log: Path,
    environment: dict[str, str],
    folder: Path,
    tick: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run to its end, or end it and its children when the time is over. `tick` is called now and then meanwhile."""
    try:
        process = start(command, log, environment, folder)
    except OSError as error:
        return Outcome(127, f"{command[0]} could not be started: {error}")
    deadline = time.monotonic() + seconds
    code: int | None = None
    try:
        while code is None and time.monotonic() < deadline:
            try:
                code = process.wait(timeout=max(0.0, min(TICK, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                tick()
    finally:
        end(process)
    return Outcome(code, log.read_text(encoding="utf-8", errors="replace"))


def end(process: subprocess.Popen[Any]) -> None:
    """End a process that was started in a session of its own, and what it started."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
            process.wait(timeout=5)
        except (ProcessLookupError, PermissionError):
            return
        except subprocess.TimeoutExpired:
            continue


def write_json(path: Path, report: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def last_good(report: Report) -> dict[str, Any]:
    """By phase: the newest result of a report that passed, with the commit and the time it is of."""
    origin = {key: report.get("device", {}).get(key, "") for key in ("commit", "time")}
    passed = {name: {**origin, **found} for name, found in report["phases"].items() if found["status"] == "passed"}
    return {**report.get("last good", {}), **passed}


def keep_last_good(report: Report, earlier: dict[str, Any]) -> None:
    """What passed `earlier` and has not, or not yet, in this run stays in the report, under "last good"."""
    passed = {name for name, found in report["phases"].items() if found["status"] == "passed"}
    report["last good"] = {name: found for name, found in earlier.items() if name not in passed}


def reason_to_skip(phase: Phase, report: Report, seconds: float) -> str:
    unmet = [name for name in phase.needs if report["phases"].get(name, {}).get("status") != "passed"]
    if phase.missing or not unmet:
        return phase.missing or ("" if seconds >= 1 else "the time is over")
    return f"{unmet[0]} has not passed"


def log_of(phase: Phase, logs: Path) -> Path:
    return logs / f"{phase.name.replace(' ', '-')}.log"


def run_phase(
    phase: Phase, report: Report, seconds: float, save: Callable[[], None], logs: Path, folder: Path
) -> dict[str, Any]:
    """What the report says of a phase: its status (passed, failed, timeout), seconds, and what it found."""
    started = time.monotonic()
    command = [*phase.command, *([phase.time_argument, f"{seconds - 5:.0f}"] if phase.time_argument else [])]

    def look() -> None:
        """What a phase has written so far is in the report before its end: this process may be ended as well."""
        with contextlib.suppress(Exception):
            report["phases"][phase.name] = {"status": "under way", **phase.read(Outcome(None, ""))}
            save()

    tick = look if phase.time_argument else lambda: None
    outcome = run_command(command, seconds, log_of(phase, logs), phase.environment, folder, tick)
    found: dict[str, Any] = {"seconds": round(time.monotonic() - started, 1)}
    try:
        found |= phase.read(outcome)
    except Exception as error:  # whatever is wrong with one phase's output, the next one runs
        found["failure"] = f"its result could not be read: {type(error).__name__}: {error}"
    if outcome.code is None:
        status = "timeout"
        found.setdefault("failure", f"not ready after {seconds:.0f} s")
    else:
        status = "failed" if outcome.code or "failure" in found else "passed"
    if status != "passed":
        found.setdefault("failure", f"exit code {outcome.code}")
        found["output"] = outcome.output[-TAIL:]
    return {"status": status, "command": " ".join(command), **found}


def run_phases(
    phases: Sequence[Phase],
    report: Report,
    seconds: float,
    save: Callable[[], None],
    logs: Path,
    folder: Path,
    say: Callable[[str], None] = print,
) -> bool:
    """Run all, within `seconds` together; whether none failed. `save` is called after each, so that nothing is lost."""
    run = _Check(report, time.monotonic() + seconds, save, logs, folder, say, len(phases))
    first = 0
    try:
        for together, group in itertools.groupby(phases, key=lambda phase: phase.together):
            members = list(group)
            kept = [sum(later.at_least for later in phases[i + 1 :]) for i in range(first, first + len(members))]
            with ThreadPoolExecutor(len(members) if together else 1) as pool:
                list(pool.map(run.one, range(first + 1, first + 1 + len(members)), members, kept))
            first += len(members)
    finally:
        run.end_background()
    return all(found["status"] in ("passed", "skipped") for found in report["phases"].values())


class _Check:
    """What the phases of one run share; phases that run together take turns in writing the report."""

    def __init__(
        self,
        report: Report,
        deadline: float,
        save: Callable[[], None],
        logs: Path,
        folder: Path,
        say: Callable[[str], None],
        count: int,
    ):
        self.report, self.deadline, self.logs, self.folder, self.say = report, deadline, logs, folder, say
        self.count = count
        self._save, self._lock = save, threading.Lock()
        self._beside: list[subprocess.Popen[Any]] = []

    def save(self) -> None:
        with self._lock:
            self._save()

    def end_background(self) -> None:
        while self._beside:
            end(self._beside.pop())

    def one(self, number: int, phase: Phase, kept: float) -> None:
        """Run a phase, unless it cannot; `kept` seconds are those of later ones."""
        self.say(f"[{number}/{self.count}] {phase.name}")
        if phase.alone:
            self.end_background()
        left = min(phase.seconds, self.deadline - time.monotonic() - kept)
        reason = reason_to_skip(phase, self.report, left)
        if reason:
            found = {"status": "skipped", "reason": reason}
        elif phase.background:
            self._beside.append(start(phase.command, log_of(phase, self.logs), phase.environment, self.folder))
            found = {"status": "passed", "summary": "beside the others"}
        else:
            found = run_phase(phase, self.report, left, self.save, self.logs, self.folder)
        with self._lock:
            self.report["phases"][phase.name] = found
        self.save()
        told = found.get("failure") or found.get("reason") or found.get("summary")
        self.say(
            f"      {phase.name}: {found['status']} after {found.get('seconds', 0)} s" + (f": {told}" if told else "")
        )


def read_tests(report: Path) -> Callable[[Outcome], dict[str, Any]]:
    """Counts and failures out of pytest's JUnit report."""

    def read(outcome: Outcome) -> dict[str, Any]:
        if not report.exists():
            return {"failure": "pytest wrote no report"}
        counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
        failures, skipped = [], []
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            for name in counts:
                counts[name] += int(suite.get(name, 0))
            for case in suite.iter("testcase"):
                name = f"{case.get('classname')}::{case.get('name')}"
                for problem in [*case.iter("failure"), *case.iter("error")]:
                    failures.append({"test": name, "message": (problem.get("message") or "")[:300]})
                skipped += [f"{name}: {each.get('message')}" for each in case.iter("skipped")]
        ran = counts["tests"] - counts["skipped"]
        found: dict[str, Any] = {"summary": f"{ran} tests, {counts['skipped']} skipped", **counts}
        if failures:
            found |= {"failure": f"{len(failures)} of {ran} tests, {failures[0]['test']} first", "failed": failures}
        elif ran == 0:
            found["failure"] = "no test ran"
        return found | ({"skipped tests": skipped} if skipped else {})

    return read


def read_sanitizer(outcome: Outcome) -> dict[str, Any]:
    """compute-sanitizer's own summary; that the program under it came to its end is asked for as well."""
    summary = re.findall(r"=+ ((?:ERROR|RACECHECK) SUMMARY: .+)", outcome.output)
    if not summary:
        return {"failure": "compute-sanitizer gave no summary"}
    faults = [int(number) for number in re.findall(r"\d+", summary[-1])]
    if faults and faults[0]:
        return {"failure": summary[-1]}
    if "all operators ran" not in outcome.output:
        return {"failure": "the program under compute-sanitizer did not come to its end"}
    return {"summary": summary[-1]}


def read_json(path: Path) -> Callable[[Outcome], dict[str, Any]]:
    """What a phase wrote to a file of its own, as far as it came. Its keys "failure" and "summary" are ours."""

    def read(outcome: Outcome) -> dict[str, Any]:
        if not path.exists():
            return {"failure": "it wrote no result"}
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    return read
