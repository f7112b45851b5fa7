"""Videos that are no name but the data themselves: bytes, or an open file."""

from __future__ import annotations

import io
import os
import threading
from typing import Any, Protocol, cast, runtime_checkable

from arseg.errors import InputError

__all__ = ["GivenFile", "Readable", "VideoSource", "as_source"]


@runtime_checkable
class Readable(Protocol):
    """An open file, as far as it is needed: `io.BytesIO`, `open(path, "rb")`, `fsspec`'s files."""

    def read(self, size: int = -1, /) -> bytes: ...


VideoSource = str | os.PathLike[str] | bytes | bytearray | memoryview | Readable
"""What names or is a video."""


class GivenFile(os.PathLike[str]):
    """Data of a video. As a path it is a name for messages alone.

    A file that can be sought may be read several times at once: each reading has a place of its own, and puts the file
    there before it reads. One that cannot, such as a pipe, is read once.
    """

    def __init__(self, data: bytes | bytearray | memoryview | Readable) -> None:
        self._file = cast("Any", data if isinstance(data, Readable) else io.BytesIO(data))
        name = getattr(self._file, "name", None)
        self._name = os.path.basename(name) if isinstance(name, str) and name else f"<{type(data).__name__}>"
        self._lock = threading.Lock()
        self._taken = False
        self._start: int | None = None
        try:
            self._start = self._file.tell() if self._file.seekable() else None
        except (AttributeError, OSError, ValueError):
            self._start = None

    def __fspath__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return self._name

    @property
    def repeatable(self) -> bool:
        """Whether it can be read more than once."""
        return self._start is not None

    def opened(self) -> View | Once:
        """The data from their start, for PyAV; `InputError` where they are gone."""
        if self._start is not None:
            return View(self._file, self._start, self._lock)
        if self._taken:
            raise InputError(
                f"{self._name}: was read already and cannot be sought; give bytes, a file that can, or a name"
            )
        self._taken = True
        return Once(self._file)


class Once:
    """A file that is read from front to back."""

    def __init__(self, file: Any) -> None:
        self.read = file.read


class View:
    """A reading of a file that others read as well."""

    def __init__(self, file: Any, start: int, lock: threading.Lock) -> None:
        self._file, self._start, self._lock = file, start, lock
        self._place = 0

    def read(self, size: int = -1) -> bytes:
        with self._lock:
            self._file.seek(self._start + self._place)
            data: bytes = self._file.read(size)
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            with self._lock:
                offset += self._file.seek(0, io.SEEK_END) - self._start
        elif whence == io.SEEK_CUR:
            offset += self._place
        self._place = max(0, offset)
        return self._place

    def tell(self) -> int:
        return self._place


def as_source(video: VideoSource) -> str | os.PathLike[str]:
    """`video` where it is a name, else the data with a name for messages.

    Raises:
        InputError: neither.
    """
    if isinstance(video, str | os.PathLike):
        return video
    if isinstance(video, io.TextIOBase):
        raise InputError(f'path: expected a file opened for reading in binary, "rb", got text ({type(video).__name__})')
    if isinstance(video, bytes | bytearray | memoryview | Readable):
        return GivenFile(video)
    raise InputError(
        f"path: expected the name of a video, bytes, or a file opened for reading in binary, got {type(video).__name__}"
    )
