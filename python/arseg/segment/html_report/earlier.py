"""A page from what an earlier `arseg segment` wrote: its label maps and its table, with the video."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from arseg.errors import InputError
from arseg.extras import needs
from arseg.files import StrPath
from arseg.labels import CAMVID, CITYSCAPES, LabelSet
from arseg.segment.outputs.reading import read_labels
from arseg.video import VideoReader
from arseg.video.names import local_path, shown
from arseg.video.properties import VideoProperties

from .page import page

__all__ = ["report_of", "rows_of"]

_SHARE = "share_"
_WHOLE = ("frame", "distance")


def report_of(
    video: StrPath,
    labels: StrPath,
    table: StrPath,
    target: Path,
    *,
    colours: Callable[[int], np.ndarray] | None = None,
    opacity: float = 0.55,
    stream: int | None = None,
    say: Callable[[str], object] = lambda sentence: None,
    **player: Any,
) -> int:
    """Writes the page to `target`; returns the number of frames.

    Args:
        video: that was segmented, a file.
        labels: what `arseg.segment.outputs.read_labels` reads, as coded, a map for each row of `table`.
        table: .csv or .parquet, as `arseg.segment.outputs.Table` writes it.
        colours: of so many classes, uint8 `[K, 3]`; None: CamVid's or Cityscapes' where the names are theirs, else
            Pascal VOC's.
        opacity: of the colours at first, 0..1.
        stream: of several video streams.
        say: told what there is to say, a sentence.
        player: `player_height`, `player_limit`, as for `arseg.segment.html_report.page.page`.

    Raises `InputError` where the three do not go together.
    """
    if local_path(video) is None:
        raise InputError(f"{shown(video)}: --labels and --table go with a video file; save the video and give its name")
    names, rows = rows_of(Path(table))
    label_set = _label_set(names)
    if colours is not None:
        label_set = replace(label_set, palette=colours(len(names)))
    count = 0
    with VideoReader(video, transcode=True, stream=stream) as reader:
        about = VideoProperties.of(reader)
        frames = iter(reader)
        with page(target, about, label_set, opacity=opacity, say=say, **player) as made:
            maps = read_labels(labels)
            for row in rows:
                ids = next(maps, None)
                frame = next((frame for frame in frames if frame.index == row["frame"]), None)
                if ids is None or frame is None:
                    where, what = (labels, "label map") if ids is None else (shown(video), "frame")
                    raise InputError(
                        f"{where}: has no {what} for frame {row['frame']} of {table}; give outputs of one run"
                    )
                if ids.shape != frame.image.shape[:2]:
                    (height, width), (rows_, columns) = frame.image.shape[:2], ids.shape
                    raise InputError(
                        f"{labels}: frame {frame.index}: expected {width}x{height} as in the video, got "
                        f"{columns}x{rows_}; give the label maps of this video, --orientation coded"
                    )
                made.add(frame.image, ids, row, frame.pts, frame.time_base)
                count += 1
            if next(maps, None) is not None:
                raise InputError(f"{labels}: has more label maps than {table} has rows; give outputs of one run")
    return count


def rows_of(table: Path) -> tuple[tuple[str, ...], Iterator[dict[str, Any]]]:
    """Names of the classes, and the rows as `FrameRecord.row` gives them, of .csv or .parquet.

    Raises `InputError` for another file.
    """
    ending = table.suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise InputError(f"{table}: expected a table of `arseg segment`, .csv or .parquet, got {ending or 'no ending'}")
    try:
        columns, rows = (_csv if ending == ".csv" else _parquet)(table)
    except (OSError, ValueError, UnicodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{table}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    names = tuple(column[len(_SHARE) :] for column in columns if column.startswith(_SHARE))
    if not names or not {"frame", "type", "keyframe"} <= {*columns}:
        raise InputError(f"{table}: has not the columns of `arseg segment`'s tables (frame, type, keyframe, share_…)")
    return names, rows


def _csv(table: Path) -> tuple[list[str], Iterator[dict[str, Any]]]:
    with table.open(newline="") as file:
        columns = next(csv.reader(file), [])

    def rows() -> Iterator[dict[str, Any]]:
        with table.open(newline="") as file:
            for number, row in enumerate(csv.DictReader(file), 2):
                try:
                    yield {name: _value(name, text) for name, text in row.items()}
                except (ValueError, TypeError, AttributeError) as error:
                    raise InputError(f"{table}: line {number} is no row of such a table ({error})") from None

    return columns, rows()


def _value(name: str, text: str) -> Any:
    if name == "type":
        return text
    if name == "keyframe":
        return text == "true"
    if text == "":
        return None
    return int(text) if name in _WHOLE else float(text)


def _parquet(table: Path) -> tuple[list[str], Iterator[dict[str, Any]]]:
    with needs("parquet", f"{table.suffix}: Parquet"):
        import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(table)
    return file.schema_arrow.names, (row for batch in file.iter_batches(1024) for row in batch.to_pylist())


def _label_set(names: tuple[str, ...]) -> LabelSet:
    for known in (CAMVID, CITYSCAPES):
        if known.classes == names:
            return known
    return LabelSet.of(len(names), classes=names)
