"""The one format of measured results: JSON with a version, facts of the machine, ceilings, rows.

    {"format": "arseg profile", "version": 1, "facts": {...},
     "ceilings": {"cpu": {"copy GB/s": 11.2, "matmul GFLOP/s": {"float32": 98.1}}},
     "rows": [{"name", "op", "direction", "problem": {fields of Problem}, "flops", "bytes read", "bytes written",
               "versions": {"ours": {"us", "quartiles us": [low, high], "rounds", "host us", "peak MB", "GB/s",
                                     "GFLOP/s", "share of copy", "share of matmul", "difference", "timed by"},
                            "flex": {"failure": "why there is no time"}},
               "control": {"us", "quartiles us", "rounds"}}]}

Times are in microseconds, "us" is the median; "times ours" is how many times as long as ours a version takes, the
median of the ratios of the rounds. "control" is a copy of the first map, timed in turn with the versions. A row whose
"ours" is wrong or could not be measured says so in "wrong".
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

FORMAT, VERSION = "arseg profile", 1

Report = dict[str, Any]


class ResultsError(ValueError):
    """A file that does not hold results, with its name and the reason."""


def new(facts: dict[str, Any] | None = None) -> Report:
    return {"format": FORMAT, "version": VERSION, "facts": facts or {}, "ceilings": {}, "rows": []}


def read(path: str | Path) -> Report:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise ResultsError(f"{path}: expected results of the profiler as JSON, got something else") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ResultsError(f'{path}: expected results of the profiler ("format": "{FORMAT}"), got other JSON')
    if found.get("version") != VERSION:
        raise ResultsError(f"{path}: has version {found.get('version')} of the format, this profiler reads {VERSION}")
    return found


def write(path: str | Path, report: Report) -> None:
    """Whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    text = json.dumps(report, indent=1, allow_nan=False)
    text = re.sub(r"\[\s+([^][{}\"]*?)\s+\]", lambda found: "[" + " ".join(found[1].split()) + "]", text)  # [1, 2]
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, path)


def facts(devices: list[str]) -> dict[str, Any]:
    """Of the machine and the build, as far as they bear on times."""
    import datetime

    import torch

    import arseg_ext

    cuda = [name for name in devices if torch.device(name).type == "cuda"]
    found: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "gpu": {name: torch.cuda.get_device_name(name) for name in cuda},
        "torch": torch.__version__,
        "arseg_ext": arseg_ext.__version__,
        "commit": commit(),
        "build": {name: value for name, value in arseg_ext.build_config().items() if name != "library"},
        "allocator": {name: os.environ[name] for name in ALLOCATOR if name in os.environ},
    }
    return found


def commit() -> str:
    """Of the working tree that arseg_ext is run from; empty where it is installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}
"""An environment in which glibc keeps its pages."""


def processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Hardware")):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def put(report: Report, row: dict[str, Any]) -> None:
    """Add a row, in the place of one of the same name if there is one."""
    for i, other in enumerate(report["rows"]):
        if other["name"] == row["name"]:
            report["rows"][i] = row
            return
    report["rows"].append(row)


def times(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The versions of a row that were timed."""
    return {name: version for name, version in row["versions"].items() if "us" in version}
