"""Codec motion vectors to block fields, and H.264's headers: numpy in, numpy out. Use arseg.video, which documents it.

The work is done in C++ (`csrc/motion`). Its library has a C boundary (`csrc/motion/c_api.h`) and links nothing of
Python, so that one serves every Python: pybind11 has no stable ABI, and Python's own has no buffers before 3.11. What
comes from callers is checked here; behind the boundary shapes and sizes are trusted. Calls release the GIL.
"""

from __future__ import annotations

import ctypes
import operator
import threading
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_int32, c_int64, c_uint8, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from arseg_ext import _library_file

if TYPE_CHECKING:
    from typing_extensions import Buffer

    # A way to the keyframe: True for the keyframe itself, None where there is none, or vectors and mask.
    Way = bool | tuple[np.ndarray, np.ndarray] | None
    # Buffer, bytes from row to row, bytes a sample.
    Luma = tuple[Buffer, int, int] | None

CELL = 4
"""Video pixels a cell."""
MAX_SIDE = 32767
MAX_REFERENCES = 64
INTERFACE = 2
"""kInterface of c_api.h."""


class _Frame(ctypes.Structure):
    _fields_ = (
        ("width", c_int32),
        ("height", c_int32),
        ("crop_left", c_int32),
        ("crop_top", c_int32),
        ("luma", c_void_p),
        ("pitch", c_int64),
        ("sample_bytes", c_int32),
    )


class _Reference(ctypes.Structure):
    _fields_ = (
        ("reach", c_int32),
        ("time", c_int32),
        ("vectors", c_void_p),
        ("valid", c_void_p),
        ("luma", c_void_p),
        ("pitch", c_int64),
        ("sample_bytes", c_int32),
    )


_KEY, _FIELD, _NOTHING = range(3)  # reach

_WIDE = ("index", "poc", "sequence")
_LISTS = ("past", "future")
_TEXTS = ("kind", "error")
_NUMBERS = ("recovery", "frame_num", "entries", "gap", "references", "slices")
_SIDES = ("crop_left", "crop_top", "crop_right", "crop_bottom", "width", "height")
_FLAGS = ("idr", "reference", "weighted", "started", "interlaced", "changed", "reorders")


class _Picture(ctypes.Structure):
    _fields_ = (
        *((name, c_int64) for name in _WIDE),
        *((name, POINTER(c_int64)) for name in _LISTS),
        *((f"{name}_count", c_int64) for name in _LISTS),
        *((name, c_char_p) for name in _TEXTS),
        *((name, c_int32) for name in (*_NUMBERS, *_SIDES)),
        *((name, c_uint8) for name in _FLAGS),
    )


_SIGNATURES: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "arseg_motion_error": (c_char_p, ()),
    "arseg_motion_rasterize": (c_int32, (c_void_p, c_int64, c_int32, c_int32, c_void_p, c_void_p)),
    "arseg_motion_step": (
        c_int32,
        (
            c_void_p,
            c_int64,
            POINTER(_Frame),
            POINTER(_Frame),
            POINTER(_Reference),
            c_int64,
            c_int64,
            c_void_p,
            c_void_p,
            POINTER(c_int64),
        ),
    ),
    "arseg_motion_fill_holes": (c_int32, (c_void_p, c_void_p, c_int64, c_int64, c_void_p)),
    "arseg_motion_chain": (
        c_int32,
        (c_void_p, c_void_p, c_void_p, c_void_p, c_int64, c_int64, c_void_p, c_void_p),
    ),
    "arseg_motion_unchain": (
        c_int32,
        (c_void_p, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p, c_void_p),
    ),
    "arseg_motion_pool": (c_int32, (c_void_p, c_void_p, c_int64, c_int64, c_int32, c_void_p, c_void_p)),
    "arseg_h264_open": (c_int32, (c_void_p, c_int64, POINTER(c_void_p))),
    "arseg_h264_close": (None, (c_void_p,)),
    "arseg_h264_set_extradata": (c_int32, (c_void_p, c_void_p, c_int64)),
    "arseg_h264_extradata_error": (c_char_p, (c_void_p,)),
    "arseg_h264_push": (c_int32, (c_void_p, c_void_p, c_int64, POINTER(_Picture))),
}


def load_library(folder: Path) -> ctypes.CDLL:
    """The library in `folder`; ImportError that says what is wrong with it."""
    found = sorted(path for path in folder.glob("_libmotion.*") if path.suffix in {".so", ".dylib", ".pyd"})
    if not found:
        raise ImportError(f"there is no _libmotion library in {folder}")
    broken = _library_file.damage(found[0])
    if broken:
        raise ImportError(f"{found[0]} is damaged: {broken}")
    try:
        library = ctypes.CDLL(str(found[0]))
    except OSError as error:
        raise ImportError(f"{found[0]} is damaged or of another platform: {error}") from error
    interface = getattr(library, "arseg_motion_interface", None)
    if interface is None or interface() != INTERFACE:
        raise ImportError(f"{found[0]} was built from other sources than {Path(__file__).name} beside it")
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_library = load_library(Path(__file__).parent)


def _call(function: Any, *arguments: Any) -> None:
    status = function(*arguments)
    if status == 2:
        raise MemoryError
    if status:
        text = _library.arseg_motion_error().decode()
        raise ValueError(text) if status == 1 else RuntimeError(text)


# --- arguments ---------------------------------------------------------------------------------------------------


def _refuse(name: str, expected: str, came: str) -> ValueError:
    return ValueError(f"{name}: expected {expected}, got {came}")


def _shape_of(array: np.ndarray) -> str:
    return f"[{', '.join(map(str, array.shape))}]"


def _describe(array: np.ndarray) -> str:
    kind = f"{array.dtype.itemsize}-byte records" if array.dtype.fields else str(array.dtype)
    return f"{kind} {_shape_of(array)}"


def _array(name: str, given: object) -> np.ndarray:
    if not isinstance(given, np.ndarray):
        raise TypeError(f"{name}: expected an array of numpy, got {type(given).__name__}")
    return given


def _at(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _cells(side: int, block: int) -> int:
    return -(-side // block)


_INT16, _BOOL = np.dtype(np.int16), np.dtype(np.bool_)


class _Field:
    """Vectors and mask, contiguous, and their addresses; valid as long as this lives."""

    __slots__ = ("cols", "rows", "valid", "vectors")

    def __init__(self, vectors: np.ndarray, valid: np.ndarray, prefix: str = "") -> None:
        _array(f"{prefix}vectors", vectors)
        _array(f"{prefix}valid", valid)
        shape = vectors.shape
        if vectors.dtype != _INT16 or len(shape) != 3 or shape[2] != 2 or shape[0] < 1 or shape[1] < 1:
            raise _refuse(f"{prefix}vectors", "int16 [Hb, Wb, 2] with Hb, Wb >= 1", _describe(vectors))
        self.rows, self.cols = shape[:2]
        if self.rows > MAX_SIDE or self.cols > MAX_SIDE:
            raise _refuse(f"{prefix}vectors", f"at most {MAX_SIDE} cells a side", _describe(vectors))
        if valid.dtype != _BOOL or valid.shape != shape[:2]:
            raise _refuse(f"{prefix}valid", f"bool [{self.rows}, {self.cols}]", _describe(valid))
        self.vectors = np.ascontiguousarray(vectors)
        self.valid = np.ascontiguousarray(valid)

    @property
    def addresses(self) -> tuple[int, int]:
        return _at(self.vectors), _at(self.valid)


def _new_field(rows: int, cols: int) -> tuple[np.ndarray, np.ndarray]:
    return np.empty((rows, cols, 2), np.int16), np.empty((rows, cols), np.bool_)


_MEMBERS = (
    ("source", 0, "i", 4),
    ("w", 4, "u", 1),
    ("h", 5, "u", 1),
    ("dst_x", 10, "i", 2),
    ("dst_y", 12, "i", 2),
    ("motion_x", 24, "i", 4),
    ("motion_y", 28, "i", 4),
    ("motion_scale", 32, "u", 2),
)
"""What is read of a record: name, place, kind, bytes."""


@lru_cache(maxsize=8)
def _trouble_with(dtype: np.dtype) -> str | None:
    fields: Any = dtype.fields
    for name, place, kind, size in _MEMBERS:
        if name not in fields:
            return f"no member '{name}'"
        member, offset = fields[name][:2]
        if (offset, member.kind, member.itemsize) != (place, kind, size) or member.byteorder == ">":
            return f"member '{name}' of another type or place"
    return None


def _records(given: np.ndarray) -> np.ndarray:
    """The layout that FFmpeg and PyAV use; anything else would be read as garbage."""
    expected = "a 1-D array of FFmpeg's 40-byte AVMotionVector records"
    records = _array("records", given)
    if records.ndim != 1 or records.dtype.itemsize != 40 or not records.dtype.fields:
        raise _refuse("records", expected, _describe(records))
    trouble = _trouble_with(records.dtype)
    if trouble:
        raise _refuse("records", expected, trouble)
    return np.ascontiguousarray(records)


def _size(width: int, height: int) -> tuple[int, int]:
    width, height = operator.index(width), operator.index(height)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise _refuse("width, height", f"1..{MAX_SIDE}", f"{width}, {height}")
    return width, height


def _bytes(given: object) -> np.ndarray:
    """The bytes of a buffer object, without a copy."""
    try:
        view = memoryview(given)  # type: ignore[arg-type]
        if not view.c_contiguous:
            raise TypeError
    except (TypeError, BufferError):
        raise TypeError(f"expected bytes or another contiguous buffer, got {type(given).__name__}") from None
    return np.frombuffer(view, np.uint8) if view.nbytes else np.empty(0, np.uint8)


def _luma(given: Luma, width: int, height: int, kept: list[np.ndarray]) -> tuple[int | None, int, int]:
    """Address, bytes from row to row, bytes a sample; the memory is kept alive by `kept`."""
    if given is None:
        return None, 0, 1
    buffer, pitch, sample_bytes = given
    samples = _bytes(buffer)
    pitch, sample_bytes = operator.index(pitch), operator.index(sample_bytes)
    row, size = width * sample_bytes, samples.size
    if sample_bytes not in (1, 2) or not row <= pitch <= size or pitch % sample_bytes:
        good = False
    else:
        good = (height - 1) * pitch + row <= size
    if not good:
        raise _refuse(
            "luma",
            f"{height} rows of {width} samples of 1 or 2 bytes",
            f"{size} bytes, {pitch} a row, {sample_bytes} a sample",
        )
    kept.append(samples)
    return _at(samples), pitch, sample_bytes


def _reference(given: tuple[Way, Luma, int], width: int, height: int, kept: list[Any]) -> _Reference:
    if len(given) != 3:
        raise _refuse("references", "(field, luma, time)", f"{len(given)} items")
    way, luma, time = given
    reach, vectors, valid = _NOTHING, 0, 0
    if isinstance(way, bool):
        reach = _KEY
    elif way is not None:
        field = _Field(way[0], way[1], "reference_")
        rows, cols = _cells(height, CELL), _cells(width, CELL)
        if (field.rows, field.cols) != (rows, cols):
            raise _refuse("reference_vectors", f"[{rows}, {cols}, 2]", _shape_of(way[0]))
        kept.append(field)
        reach = _FIELD
        vectors, valid = field.addresses
    return _Reference(reach, operator.index(time), vectors, valid, *_luma(luma, width, height, kept))


# --- block fields ------------------------------------------------------------------------------------------------


def rasterize(records: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    width, height = _size(width, height)
    given = _records(records)
    vectors, valid = _new_field(_cells(height, CELL), _cells(width, CELL))
    _call(_library.arseg_motion_rasterize, _at(given), len(given), width, height, _at(vectors), _at(valid))
    return vectors, valid


def step(
    records: np.ndarray,
    width: int,
    height: int,
    crop_left: int,
    crop_top: int,
    luma: Luma,
    key: Luma,
    past: Sequence[tuple[Way, Luma, int]],
    future: Sequence[tuple[Way, Luma, int]],
) -> tuple[np.ndarray, np.ndarray, int]:
    width, height = _size(width, height)
    crop_left, crop_top = operator.index(crop_left), operator.index(crop_top)
    if not (0 <= crop_left <= MAX_SIDE and 0 <= crop_top <= MAX_SIDE):
        raise _refuse("crop_left, crop_top", f"0..{MAX_SIDE}", f"{crop_left}, {crop_top}")
    given = _records(records)
    kept: list[Any] = []
    frame = _Frame(width, height, crop_left, crop_top, *_luma(luma, width, height, kept))
    key_frame = _Frame(width, height, 0, 0, *_luma(key, width, height, kept))
    references = [_reference(item, width, height, kept) for item in (*past, *future)]
    if len(references) > MAX_REFERENCES:
        raise _refuse("past, future", f"at most {MAX_REFERENCES} frames", str(len(references)))
    vectors, valid = _new_field(_cells(height, CELL), _cells(width, CELL))
    holes = c_int64()
    _call(
        _library.arseg_motion_step,
        _at(given),
        len(given),
        byref(frame),
        byref(key_frame),
        (_Reference * len(references))(*references),
        len(past),
        len(future),
        _at(vectors),
        _at(valid),
        byref(holes),
    )
    return vectors, valid, holes.value


def fill_holes(vectors: np.ndarray, valid: np.ndarray) -> np.ndarray:
    field = _Field(vectors, valid)
    filled = np.empty((field.rows, field.cols, 2), np.int16)
    _call(_library.arseg_motion_fill_holes, *field.addresses, field.rows, field.cols, _at(filled))
    return filled


def chain(
    step_vectors: np.ndarray, step_valid: np.ndarray, reference_vectors: np.ndarray, reference_valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    hop = _Field(step_vectors, step_valid, "step_")
    reference = _Field(reference_vectors, reference_valid, "reference_")
    if (hop.rows, hop.cols) != (reference.rows, reference.cols):
        raise _refuse(
            "reference_vectors", f"the shape of step_vectors, {_shape_of(step_vectors)}", _shape_of(reference_vectors)
        )
    vectors, valid = _new_field(hop.rows, hop.cols)
    addresses = (*hop.addresses, *reference.addresses)
    _call(_library.arseg_motion_chain, *addresses, hop.rows, hop.cols, _at(vectors), _at(valid))
    return vectors, valid


def unchain(
    now_vectors: np.ndarray, now_valid: np.ndarray, other_vectors: np.ndarray, block: int
) -> tuple[np.ndarray, np.ndarray]:
    now = _Field(now_vectors, now_valid, "now_")
    other = _Field(other_vectors, np.ones(other_vectors.shape[:2], np.bool_), "other_")
    if (now.rows, now.cols) != (other.rows, other.cols):
        raise _refuse("other_vectors", f"the shape of now_vectors, {_shape_of(now_vectors)}", _shape_of(other_vectors))
    vectors, valid = _new_field(now.rows, now.cols)
    out = (now.rows, now.cols, 4 * block, _at(vectors), _at(valid))
    _call(_library.arseg_motion_unchain, *now.addresses, other.addresses[0], *out)
    return vectors, valid


def pool(vectors: np.ndarray, valid: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    field = _Field(vectors, valid)
    if operator.index(factor) not in (1, 2, 4):
        raise _refuse("factor", "1, 2 or 4", str(factor))
    pooled, mask = _new_field(_cells(field.rows, factor), _cells(field.cols, factor))
    _call(_library.arseg_motion_pool, *field.addresses, field.rows, field.cols, factor, _at(pooled), _at(mask))
    return pooled, mask


# --- H.264's headers ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class H264Picture:
    """What the headers of one packet say. Made by H264Headers.push."""

    index: int
    poc: int
    sequence: int
    past: tuple[int, ...]
    future: tuple[int, ...]
    kind: str
    error: str
    recovery: int
    frame_num: int
    entries: int
    gap: int
    references: int
    slices: int
    crop: tuple[int, int, int, int]
    size: tuple[int, int]
    idr: bool
    reference: bool
    weighted: bool
    started: bool
    interlaced: bool
    changed: bool
    reorders: bool

    def __repr__(self) -> str:
        if self.kind:
            text = (
                f"{' IDR' if self.idr else ''} {self.kind} {self.size[0]}x{self.size[1]} frame_num {self.frame_num} "
                f"sequence {self.sequence} poc {self.poc} past {self.past} future {self.future}"
            )
            text += f" gap {self.gap}" if self.gap > 0 else ""
        else:
            text = " no picture"
        return f"<H264Picture {self.index}:{text}{f', {self.error}' if self.error else ''}>"


def _picture(c: _Picture) -> H264Picture:
    values: dict[str, Any] = {name: getattr(c, name) for name in (*_WIDE, *_NUMBERS)}
    values |= {name: bool(getattr(c, name)) for name in _FLAGS}
    values |= {name: getattr(c, name).decode() for name in _TEXTS}
    values["past"] = tuple(c.past[: c.past_count])
    values["future"] = tuple(c.future[: c.future_count])
    return H264Picture(crop=(c.crop_left, c.crop_top, c.crop_right, c.crop_bottom), size=(c.width, c.height), **values)


class H264Headers:
    """Reads the headers of H.264 packets, in decoding order."""

    def __init__(self, extradata: Buffer = b"") -> None:
        self._reader = c_void_p()
        self._lock = threading.Lock()  # a call releases the GIL, and its lists are valid until the next
        data = _bytes(extradata)
        _call(_library.arseg_h264_open, _at(data), data.size, byref(self._reader))

    def __del__(self) -> None:
        if getattr(self, "_reader", None):
            _library.arseg_h264_close(self._reader)

    @property
    def extradata_error(self) -> str:
        """Why the extradata cannot be used, "" where it can."""
        with self._lock:
            text: bytes = _library.arseg_h264_extradata_error(self._reader)
        return text.decode()

    def push(self, packet: Buffer) -> H264Picture:
        data = _bytes(packet)
        picture = _Picture()
        with self._lock:
            _call(_library.arseg_h264_push, self._reader, _at(data), data.size, byref(picture))
            return _picture(picture)

    def set_extradata(self, extradata: Buffer) -> None:
        """Parameter sets and length size from the next packet on; sets that it lacks stay."""
        data = _bytes(extradata)
        with self._lock:
            _call(_library.arseg_h264_set_extradata, self._reader, _at(data), data.size)
