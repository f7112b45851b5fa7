"""What a job can make: a file of a fixed name for each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RESULTS", "ROWS", "Result", "safe_name"]

ROWS = "frames.jsonl"
"""The rows of the frames so far, a line each, while the job runs."""


@dataclass(frozen=True)
class Result:
    """A file.

    Attributes:
        file: its name in the job's folder, and the last part of its address.
        kind: its media type.
        words: what it is, for people.
    """

    file: str
    kind: str
    words: str


RESULTS = {
    "overlay": Result("overlay.mp4", "video/mp4", "video with colours"),
    "report": Result("report.html", "text/html; charset=utf-8", "report"),
    "labels": Result("labels.mkv", "video/x-matroska", "label video (FFV1)"),
    "table": Result("frames.csv", "text/csv; charset=utf-8", "table of frames"),
}
"""By the name that is asked for."""


def outputs(folder: Path, wanted: tuple[str, ...], opacity: float) -> list:  # type: ignore[type-arg]
    """The outputs of `arseg.segment` for a job."""
    from arseg.segment.outputs import LabelVideo, Overlay, Report, Table

    made: dict[str, Callable[[Path], object]] = {
        "overlay": lambda path: Overlay(path, opacity),
        "report": lambda path: Report(path, opacity),
        "labels": LabelVideo,
        "table": Table,
    }
    return [made[name](folder / RESULTS[name].file) for name in wanted]


def safe_name(name: str | None) -> str:
    """A name for a file that was sent: its last part, of letters, digits and . _ -, 80 signs at most."""
    last = re.split(r"[/\\]", name or "")[-1]
    return re.sub(r"[^\w.-]+", "_", last, flags=re.ASCII).strip("._-")[-80:].lstrip("._-") or "video"
