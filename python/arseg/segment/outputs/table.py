"""A row for each frame: type, time, stages, warp error, class shares (`arseg.segment.records`)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arseg.extras import needs
from arseg.files import StrPath, check_writable, replacing
from arseg.labels import LabelSet
from arseg.segment.records import FrameRecords
from arseg.segment.result import SegmentedFrame
from arseg.video import VideoReader
from arseg.video.properties import VideoProperties

from .base import OUTPUTS, Output, Write

ROWS = 4096
"""That a Parquet file holds in one group, and that wait in memory."""


@OUTPUTS.register("table")
class Table(Output):
    """CSV with a head, or Parquet by the ending; columns are those of `FrameRecords.columns`, empty where unknown."""

    endings = chosen_by = (".csv", ".parquet")
    last = True

    def __init__(self, target: StrPath) -> None:
        super().__init__(target)

    @contextmanager
    def opened(self, reader: VideoReader | VideoProperties, label_set: LabelSet) -> Iterator[Write]:
        records = FrameRecords(label_set.classes)
        check_writable(self.target)
        rows = _parquet if self.target.suffix.lower() == ".parquet" else _csv
        with replacing(self.target) as part, rows(part, records) as add:

            def write(result: SegmentedFrame) -> None:
                add(records.of(result).row())

            yield write


@contextmanager
def _csv(path: Path, records: FrameRecords) -> Iterator[Any]:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, records.columns())
        table.writeheader()
        yield lambda row: table.writerow({name: _text(name, value) for name, value in row.items()})


def _text(name: str, value: Any) -> Any:
    """As CSV has it: `true`, `false`, numbers to six digits, and the time to a microsecond, however late."""
    if isinstance(value, bool):
        return str(value).lower()
    if name == "time" and isinstance(value, float):
        return repr(round(value, 6))
    return f"{value:.6g}" if isinstance(value, float) else value


@contextmanager
def _parquet(path: Path, records: FrameRecords) -> Iterator[Any]:
    with needs("parquet", f"{path.suffix}: Parquet"):
        import pyarrow
        import pyarrow.parquet

    kinds = {
        "frame": pyarrow.int64(),
        "distance": pyarrow.int64(),
        "type": pyarrow.string(),
        "keyframe": pyarrow.bool_(),
    }
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.float64())) for name in records.columns()])
    waiting: list[dict[str, Any]] = []
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:

        def flush() -> None:
            if waiting:
                writer.write_table(pyarrow.Table.from_pylist(waiting, schema))
                waiting.clear()

        def add(row: dict[str, Any]) -> None:
            waiting.append(row)
            if len(waiting) >= ROWS:
                flush()

        yield add
        flush()
