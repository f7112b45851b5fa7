"""What a run writes down of itself: `fit.json` (what it is, and its phases), `config.toml`, `events.jsonl`."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from arseg.errors import InputError, refuse_other_settings
from arseg.files import replacing, save_json

from .config import FitConfig, as_toml
from .plan import Phase


class RunRecord:
    """The record of a run in its folder; one that is there is gone on with.

    Raises `InputError` for a folder that holds something else, or whose record cannot be read.
    """

    def __init__(self, folder: Path):
        self.folder, self._path = folder, folder / "fit.json"
        self._found: dict[str, Any] = {"phases": {}}
        if self._path.is_file():
            try:
                self._found = json.loads(self._path.read_text())
                dict(self._found["phases"])
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{self._path}: cannot be read ({error}); give another output") from error
        elif folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise InputError(f"{folder}: exists already and is no run of `arseg fit`; give another output")

    def begin(self, config: FitConfig, made: Mapping[str, Any]) -> None:
        """Writes the resolved config and what the run is made of."""
        self._found |= {"made": {**made, "recipe": config.record()}}
        save_json(self._path, self._found)
        with replacing(self.folder / "config.toml") as part:
            part.write_text(as_toml(config.record()), "utf-8")

    def status(self, phase: Phase) -> Literal["done", "begun", ""]:
        """Where a phase stands.

        Raises `InputError`, which names them, where it was begun with other settings; a report is written anew then.
        """
        found = self._found["phases"].get(phase.name)
        if found is None:
            return ""
        made = {key: value for key, value in _lasting(found["settings"]).items() if key != "teacher"}
        done = self._path_of(found) is not None
        if phase.name == "report":
            return "done" if done and made == phase.settings else ""
        if not done and not any(phase.folder.rglob("state.pt")):
            return ""
        refuse_other_settings(phase.folder, made, phase.settings)
        return "done" if done else "begun"

    def result(self, phase: Phase, before: Path | None) -> Path | None:
        """What a finished phase made; None where it is to be run, or gone on with."""
        found = self._found["phases"].get(phase.name)
        same = found is not None and _lasting(found["settings"]) == self._settings(phase, before)
        return self._path_of(found) if found is not None and same else None

    def _path_of(self, found: Mapping[str, Any]) -> Path | None:
        path = self.folder / found["result"] if "result" in found else None
        return path if path is not None and path.is_file() else None

    @contextmanager
    def running(self, phase: Phase, before: Path | None) -> Iterator[Callable[[Path], None]]:
        """Around a phase; the function that the block gets is called with its result, a file in the run's folder."""
        phases, begun = self._found["phases"], time.monotonic()
        self.event(phase.name, "resumed" if phase.name in phases else "started")
        kept = phases.setdefault(phase.name, {"seconds": 0.0})
        kept["settings"] = self._settings(phase, before)
        kept.pop("result", None)  # of other settings
        save_json(self._path, self._found)
        how = "interrupted"

        def finished(result: Path) -> None:
            nonlocal how
            kept["result"], how = str(result.relative_to(self.folder)), "finished"

        try:
            yield finished
        finally:
            seconds = time.monotonic() - begun
            kept["seconds"] = round(kept["seconds"] + seconds, 1)
            save_json(self._path, self._found)
            self.event(phase.name, how, seconds=round(seconds, 1))

    def event(self, phase: str, what: str, **more: Any) -> None:
        """A line of `events.jsonl`."""
        line = {"time": datetime.now(timezone.utc).isoformat(timespec="seconds"), "phase": phase, "event": what, **more}
        with open(self.folder / "events.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")

    def record(self) -> dict[str, Any]:
        """All of `fit.json`."""
        return self._found

    @staticmethod
    def _settings(phase: Phase, before: Path | None) -> dict[str, Any]:
        # Weights that were made again by the same settings are the same to the bit, and so is their checksum.
        teacher = None if before is None else f"{zlib.crc32(before.read_bytes()):08x}"
        return {**phase.settings, **({"teacher": teacher} if teacher else {})}


def _lasting(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Without what runs of before wrote down, though the result does not depend on it."""
    return {key: value for key, value in settings.items() if key != "workers"}
