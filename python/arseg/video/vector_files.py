"""Vectors written: .npz for each group, Parquet, or a stream of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from arseg.errors import InputError
from arseg.extras import needs
from arseg.files import check_writable, new_folder, replacing

from .motion import RECORD, BlockField
from .vectors import FrameVectors

__all__ = ["FIELDS", "frame_array", "group_arrays", "read_stream", "stream", "writer"]

FIELDS = ("to_keyframe", "to_previous")

Write = Callable[[FrameVectors], None]


def writer(path: Path, *, compress: bool = False) -> AbstractContextManager[Write]:
    """What takes frames, in their order, and writes them to `path` when the block ends well; else nothing is left.

    Args:
        path: ends in .parquet, or .npy for a stream; without an ending, a new folder of .npz, one for each group.
        compress: the .npz.

    Raises:
        InputError: another ending, or a place that cannot be written; ImportError without pyarrow for .parquet.
    """
    ending = path.suffix.lower()
    if compress and ending:
        raise InputError(f"{path}: only a folder of .npz can be compressed; leave --compress out")
    if ending == ".parquet":
        return _parquet(path)
    if ending == ".npy":
        return _stream_file(path)
    if ending:
        raise InputError(f"{path}: expected .parquet, .npy, or a folder (no ending), got {ending}")
    return _folder(path, np.savez_compressed if compress else np.savez)


# --- a folder ---


def group_arrays(frames: list[FrameVectors]) -> dict[str, np.ndarray]:
    """The arrays of a group of n frames, by name.

    index, pts (int64, lowest number: none), time (float64 seconds, NaN: none), frame_type, keyframe, distance: `[n]`.
    size: (width, height). records: those of all frames, `[m]` of `RECORD`; those of frame i are
    `records[offsets[i] : offsets[i + 1]]`. Of each field its int16 vectors `[n, Hb, Wb, 2]`, NAME_valid `[n, Hb, Wb]`,
    NAME_origin `[n]`, "none" where a frame has no such field: its vectors are 0 then; and block. images `[n, H, W, 3]`.
    What no frame has is left out.
    """
    first = frames[0]
    arrays: dict[str, Any] = {
        "index": np.array([f.index for f in frames], np.int64),
        "pts": np.array([_NO_PTS if f.pts is None else f.pts for f in frames], np.int64),
        "time": np.array([np.nan if f.time is None else f.time for f in frames]),
        "frame_type": np.array([f.frame_type for f in frames], "U1"),
        "keyframe": np.array([f.keyframe for f in frames]),
        "distance": np.array([f.distance for f in frames], np.int32),
        "size": np.array([first.width, first.height], np.int32),
    }
    if first.records is not None:
        records = [np.empty(0, RECORD) if f.records is None else f.records for f in frames]
        arrays["records"] = np.concatenate(records).astype(RECORD, copy=False)
        arrays["offsets"] = np.cumsum([0, *map(len, records)], dtype=np.int64)
    for name in FIELDS:
        fields: list[BlockField | None] = [getattr(f, name) for f in frames]
        like = next((field for field in fields if field is not None), None)
        if like is None:
            continue
        empty = BlockField(np.zeros_like(like.vectors), np.zeros_like(like.valid), like.block)
        arrays[name] = np.stack([(field or empty).vectors for field in fields])
        arrays[f"{name}_valid"] = np.stack([(field or empty).valid for field in fields])
        arrays[f"{name}_origin"] = np.array(["none" if field is None else field.origin for field in fields], _ORIGIN)
        arrays["block"] = np.int32(like.block)
    if first.image is not None:
        arrays["images"] = np.stack([f.image for f in frames if f.image is not None])
    return arrays


@contextmanager
def _folder(path: Path, save: Callable[..., None]) -> Iterator[Write]:
    with new_folder(path) as part, _by_group() as (add, groups):

        def flush() -> None:
            for group in groups():
                save(part / f"{group[0].index:08d}.npz", **group_arrays(group))

        def write(frame: FrameVectors) -> None:
            add(frame)
            flush()

        yield write
        add(None)
        flush()


@contextmanager
def _by_group() -> Iterator[tuple[Callable[[FrameVectors | None], None], Callable[[], list[list[FrameVectors]]]]]:
    """Where frames go in, None at the end, and what takes out the groups that are whole."""
    here: list[FrameVectors] = []
    whole: list[list[FrameVectors]] = []

    def add(frame: FrameVectors | None) -> None:
        if here and (frame is None or frame.keyframe):
            whole.append(here.copy())
            here.clear()
        if frame is not None:
            here.append(frame)

    def groups() -> list[list[FrameVectors]]:
        taken = whole.copy()
        whole.clear()
        return taken

    yield add, groups


# --- Parquet ---


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    """A row for each frame, a row group for each group; `records` is a list of structs, fields are flat lists."""
    with needs("parquet", f"{path.suffix}: Parquet"):
        import pyarrow
        import pyarrow.parquet
    check_writable(path)
    out: Any = None
    with replacing(path) as part, _by_group() as (add, groups):

        def flush() -> None:
            nonlocal out
            for group in groups():
                table = _table(pyarrow, group)
                if out is None:
                    out = pyarrow.parquet.ParquetWriter(part, table.schema)
                out.write_table(table)

        def write(frame: FrameVectors) -> None:
            add(frame)
            flush()

        try:
            yield write
            add(None)
            flush()
        finally:
            if out is not None:
                out.close()


def _table(pyarrow: Any, frames: list[FrameVectors]) -> Any:
    columns: dict[str, Any] = {
        "index": pyarrow.array([f.index for f in frames], pyarrow.int64()),
        "pts": pyarrow.array([f.pts for f in frames], pyarrow.int64()),
        "time": pyarrow.array([f.time for f in frames], pyarrow.float64()),
        "frame_type": pyarrow.array([f.frame_type for f in frames]),
        "keyframe": pyarrow.array([f.keyframe for f in frames]),
        "distance": pyarrow.array([f.distance for f in frames], pyarrow.int32()),
        "width": pyarrow.array([f.width for f in frames], pyarrow.int32()),
        "height": pyarrow.array([f.height for f in frames], pyarrow.int32()),
    }
    if frames[0].records is not None:
        arrays = group_arrays(frames)
        rows = [pyarrow.array(np.ascontiguousarray(arrays["records"][name])) for name in RECORD.names or ()]
        structs = pyarrow.StructArray.from_arrays(rows, names=list(RECORD.names or ()))
        columns["records"] = pyarrow.ListArray.from_arrays(arrays["offsets"].astype(np.int32), structs)
    for name in FIELDS:
        fields: list[BlockField | None] = [getattr(f, name) for f in frames]
        flat = [None if field is None else field.vectors.ravel() for field in fields]
        mask = [None if field is None else field.valid.ravel() for field in fields]
        columns[name] = pyarrow.array(flat, pyarrow.list_(pyarrow.int16()))
        columns[f"{name}_valid"] = pyarrow.array(mask, pyarrow.list_(pyarrow.bool_()))
        columns[f"{name}_origin"] = pyarrow.array([field and field.origin for field in fields], pyarrow.string())
        columns[f"{name}_block"] = pyarrow.array([field and field.block for field in fields], pyarrow.int32())
    pictures = [None if f.image is None else f.image.tobytes() for f in frames]
    columns["image"] = pyarrow.array(pictures, pyarrow.binary())
    return pyarrow.table(columns)


# --- a stream ---


def frame_array(frame: FrameVectors) -> np.ndarray:
    """All of a frame but its records, as one structured array without dimensions; names are those of `group_arrays`."""
    arrays = group_arrays([frame])
    kept = {name: np.asarray(a) for name, a in arrays.items() if name not in ("records", "offsets")}
    one = {name: a if name in ("size", "block") else a[0] for name, a in kept.items()}
    made = np.zeros((), [(name, a.dtype, a.shape) for name, a in one.items()])
    for name, a in one.items():
        made[name] = a
    return made


@contextmanager
def stream(file: BinaryIO) -> Iterator[Write]:
    """Writes to an open file, which may be a pipe: for each frame `frame_array`, then its records; as .npy."""

    def write(frame: FrameVectors) -> None:
        records = np.empty(0, RECORD) if frame.records is None else frame.records
        for array in (frame_array(frame), records.astype(RECORD, copy=False)):
            np.lib.format.write_array(file, array, allow_pickle=False)
        file.flush()

    yield write


@contextmanager
def _stream_file(path: Path) -> Iterator[Write]:
    check_writable(path)
    with replacing(path) as part, part.open("wb") as file, stream(file) as write:
        yield write


def read_stream(file: BinaryIO) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What `stream` wrote, such as `arseg vectors -o -` through a pipe: for each frame `frame_array` and records.

    Raises `InputError` where it breaks off.
    """
    while start := file.read(1):
        try:
            first = np.lib.format.read_array(_Begun(start, file), allow_pickle=False)
            yield first, np.lib.format.read_array(_Begun(b"", file), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise InputError("the stream of vectors breaks off, or is none; give what `arseg vectors` wrote") from error


class _Begun:
    """A file of which the start was read already."""

    def __init__(self, start: bytes, file: BinaryIO) -> None:
        self._start, self._file = start, file

    def read(self, size: int = -1, /) -> bytes:
        start, self._start = self._start, b""  # one byte, and none asks for less
        return start + self._file.read(size - len(start) if size >= 0 else size)


_NO_PTS = np.iinfo(np.int64).min
_ORIGIN = "U10"
