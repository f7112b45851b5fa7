"""Files and folders that are there whole or not at all, whatever ends the run that writes them.

A file grows beside its target as `.NAME.part`, and so does a folder; the files for a folder that is there already, such
as a mount point, grow in its subfolder `.arseg.part`. All are locked (flock) for as long as the run lives: the next run
sees whether somebody is at work there, or begins anew in place of what a killed run left.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from arseg.errors import InputError

__all__ = [
    "BusyError",
    "PartFile",
    "StrPath",
    "check_writable",
    "filling",
    "is_special",
    "new_folder",
    "part_of",
    "replacing",
    "save_json",
    "save_png",
    "target_of",
    "working_in",
]

StrPath = str | os.PathLike[str]
"""A path as callers give it."""

_WORK = ".arseg.part"  # in a folder: what is not complete
_RECORD = ".arseg.lock"  # beside it: locked by the run at work; holds the names of what is being moved out
_ALWAYS_THERE = frozenset({_WORK, _RECORD, "lost+found"})  # in a folder that counts as empty; the last in a new ext4
_LONGEST_RECORD = 64 << 20  # bytes
_LONGEST_NAME = 255  # bytes, of most file systems


class BusyError(InputError):
    """Another run is writing the same file or folder."""


def target_of(path: Path) -> Path:
    """The file or folder that `path` leads to: symbolic links are followed, also to what does not exist yet.

    Raises `OSError` for links that lead to each other.
    """
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target


def is_special(path: Path) -> bool:
    """Whether `path` is there and neither a file nor a folder: a device such as /dev/null, a named pipe."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def same_file(one: StrPath, other: StrPath) -> bool:
    """Whether two names lead to one file or folder, links followed; links that lead to each other lead nowhere."""
    return os.path.realpath(one) == os.path.realpath(other)


def no_folder(folder: Path) -> str:
    """Why nothing can be written into what is no folder."""
    if folder.exists():
        return f"{folder} is no folder, give another name"
    return f"there is no folder {folder}, make it first"


def check_writable(path: Path) -> None:
    """Raises `InputError` where `path` cannot become a file, before the work whose result it is to hold."""
    try:
        target = target_of(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); give another name") from error
    folder = target.parent
    if is_special(target) and os.access(target, os.W_OK):
        return
    if target.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file")
    if not folder.is_dir():
        raise InputError(f"{path}: cannot be written: {no_folder(folder)}")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{path}: cannot be written: you may not write to the folder {folder}; give another name")


def part_of(path: Path) -> Path:
    """The name beside `path` that its content has until it is complete."""
    name = os.fsencode(path.name)
    if len(name) + len("..part") > _LONGEST_NAME:
        name = name[:200] + b"-" + hashlib.sha256(name).hexdigest()[:16].encode()
    return path.with_name(f".{os.fsdecode(name)}.part")


class PartFile:
    """An empty file that takes the place of `path` when it is complete.

    A target that is a link is followed. What a killed run left of the same target is removed.

    Args:
        path: the target.
        wait: for another run that writes the same target; else it is an error.

    Attributes:
        target: what is replaced.
        path: the file to write, of the same folder.

    Raises:
        BusyError: another run writes it.
        InputError: no file can come to be there.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        check_writable(path)
        self.target = target_of(path)
        self.path = part_of(self.target)
        self._lock: int | None = _lock(self.path, wait=wait, name=path)[0]

    def commit(self) -> None:
        """Put it in place."""
        try:
            os.replace(self.path, self.target)
        except OSError as error:
            # A single file that is mounted into a container can be written, not replaced.
            if error.errno not in (errno.EBUSY, errno.EXDEV) or not self.target.is_file():
                raise
            shutil.copyfile(self.path, self.target)
            self.path.unlink()
        self._release()

    def discard(self) -> None:
        """Remove it, unless it is in place."""
        if self._lock is not None:
            self.path.unlink(missing_ok=True)
            self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The name of a file to write, which takes the place of `path` if the block ends well; else nothing is left.

    A device or a pipe is written itself.
    """
    if is_special(path):
        yield path
        return
    part = PartFile(path, wait=True)
    try:
        yield part.path
        part.commit()
    finally:
        part.discard()


def save_json(path: Path, record: Any) -> None:
    """Indented JSON; refuses NaN, which JSON does not know."""
    text = json.dumps(record, indent=2, allow_nan=False) + "\n"
    with replacing(path) as part:
        part.write_text(text)


def save_png(path: Path, picture: np.ndarray) -> None:
    """uint8 `[H, W, 3]`."""
    with replacing(path) as part, part.open("wb") as file:
        Image.fromarray(picture).save(file, format="PNG")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to work in, whose files move into `path` when the block has ended well.

    `path` does not exist yet (nor need the folders above it) or is empty; it may be a mount point, a link to a folder,
    or ".". Raises `InputError` where it is anything else, or where another run is writing there.
    """

    def refuse(names: list[str]) -> None:
        if names:
            raise InputError(f"{path}: exists already and is not an empty folder; give another name or remove it")

    with filling(path, refuse) as part:
        yield part


@contextmanager
def filling(path: Path, refuse: Callable[[list[str]], object]) -> Iterator[Path]:
    """`new_folder` for a folder that may hold something.

    Args:
        path: the folder; made at the end where it does not exist, those above it at once.
        refuse: called with the names of what is there; raises where it may not be.
    """
    lock: int | None = None
    work = record = path
    try:
        try:
            if path.exists() and not path.is_dir():
                raise InputError(f"{path}: exists already and is not a folder; give another name or remove it")
            folder = Path(os.path.abspath(target_of(path)))
            work = part_of(folder) if folder.name else folder / _WORK
            record = work.with_suffix(".lock")
            if folder.exists():
                if record.exists():  # of a run that began when there was no folder yet
                    _end(work, record, _begin(folder, work, record, path))
                work, record = folder / _WORK, folder / _RECORD
                if not record.exists():
                    refuse(_names(folder))
            else:
                folder.parent.mkdir(parents=True, exist_ok=True)
            lock = _begin(folder, work, record, path)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); give a folder that you may write"
            ) from error
        if folder.exists():
            refuse(_names(folder))
        yield work
        _move(work, folder, record)
    finally:
        if lock is not None:
            _end(work, record, lock)


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """For a folder that a run adds to bit by bit, and a later one goes on with: two at once are refused.

    Raises:
        BusyError: another run is at work in it.
    """
    record = folder / _RECORD
    lock, _ = _lock(record, wait=False, name=folder)
    try:
        yield
    finally:
        with suppress(OSError):
            record.unlink()
        os.close(lock)


def _names(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name not in _ALWAYS_THERE)


def _begin(folder: Path, work: Path, record: Path, path: Path) -> int:
    """Makes an empty folder `work` and gives its lock; what a killed run left there and in `folder` is gone."""
    lock, left = _lock(record, wait=False, name=path)
    try:
        with suppress(ValueError):
            for name in json.loads(left or "[]"):
                if isinstance(name, str) and name == os.path.basename(name):
                    (folder / name).unlink(missing_ok=True)
        if work.is_dir() and not work.is_symlink():
            shutil.rmtree(work)
        else:
            work.unlink(missing_ok=True)
        work.mkdir()
    except BaseException:
        record.unlink(missing_ok=True)
        os.close(lock)
        raise
    return lock


def _end(work: Path, record: Path, lock: int) -> None:
    shutil.rmtree(work, ignore_errors=True)
    with suppress(OSError):
        record.unlink()
    os.close(lock)


def _move(work: Path, folder: Path, record: Path) -> None:
    """All files into `folder`, or none.

    Their names are written down first, for the case that the process is killed on the way.
    """
    if not folder.exists():
        with suppress(OSError):  # somebody made it just now
            work.rename(folder)
            return
    names = sorted(os.listdir(work))
    with suppress(OSError):  # a full disk
        record.write_text(json.dumps(names))
    moved = []
    try:
        for name in names:
            moved.append(name)
            shutil.move(work / name, folder / name)
    except BaseException:
        for name in moved:
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        raise


def _lock(path: Path, *, wait: bool, name: Path) -> tuple[int, str]:
    """Creates `path`, empty, and locks it.

    A file that is there without being locked is what a killed run left, and is removed.

    Returns:
        The descriptor, which holds the lock until it is closed, and the beginning of what was left.
    """
    left = ""
    while True:
        try:
            file, fresh = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), True
        except FileExistsError:
            try:
                file, fresh = os.open(path, os.O_RDWR | os.O_CLOEXEC), False
            except FileNotFoundError:
                continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(file)
            raise BusyError(f"{name}: another run is writing it; wait for its end, or give another name") from None
        except OSError:  # a file system without locks
            if not fresh and not wait:
                os.close(file)
                raise BusyError(
                    f"{name}: another run is writing it, or left {path} when it was killed; remove that in this case"
                ) from None
        if _is(file, path):
            if fresh:
                return file, left
            left = os.read(file, _LONGEST_RECORD).decode(errors="replace")
            path.unlink()
        os.close(file)


def _is(file: int, path: Path) -> bool:
    """Whether an open file still has that name: another run may have moved or removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
