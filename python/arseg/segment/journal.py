"""What a run has found out, written down group by group, so that the next one goes on where it was killed.

A journal is a line of JSON (what it was made with), then records: a mark, length and CRC-32, and compressed label maps.
A record that is not whole, as a kill or a power cut leaves the last one, is dropped with what follows it.

Where there are several files to segment, a finished one has a second line of JSON in place of its records, until all
are: how many frames it has, and the outputs as they were put in place. The next run passes over it.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from arseg.errors import InputError, refuse_other_settings
from arseg.files import BusyError

from .clock import StageClock
from .finished import FinishedGroup
from .result import SegmentedFrame

if TYPE_CHECKING:
    from arseg.video import VideoFrame

    from .segmenter import VideoSegmenter

__all__ = ["FORMAT", "Journal", "with_journal"]

FORMAT = 2
"""Of the records; a journal of another one is refused."""

_MARK = b"ARGR"
_HEAD = struct.Struct("<4sQI")


class Journal:
    """The journal at `path`, begun or gone on with; one run at a time has it.

    Args:
        path: the file; made where it is not there.
        made: with what, as JSON has it: a journal that was made with anything else is refused.

    Attributes:
        frames: numbers of those that are in finished groups.
        done: what `finish` wrote, if the file is finished.

    Raises:
        InputError: it cannot be written, is no journal, or was made with other settings.
        BusyError: another run is at work with it.
    """

    def __init__(self, path: Path, made: Mapping[str, Any]) -> None:
        self.path = path
        self.frames: set[int] = set()
        self.done: dict[str, Any] | None = None
        self._places: dict[int, int] = {}
        try:
            self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); give the output another place") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._begin(json.loads(json.dumps(made)))
        except BlockingIOError:
            self._file.close()
            raise BusyError(f"{path}: another run is at work with it; wait for its end") from None
        except BaseException:
            self._file.close()
            raise

    def _begin(self, made: dict[str, Any]) -> None:
        line = self._file.readline()
        if not line.endswith(b"\n"):  # new, or killed at its very beginning
            self._file.seek(0)
            self._file.truncate()
            self._file.write(json.dumps(made).encode() + b"\n")
            self._file.flush()
            return
        try:
            before = json.loads(line)
        except ValueError:
            raise InputError(f"{self.path}: is no journal of a run to resume; move it away") from None
        refuse_other_settings(self.path, before, made)
        end = self._file.tell()
        second = self._file.readline()
        if second.startswith(b"{"):
            with suppress(ValueError):  # killed when it was written: as if nothing had been done
                self.done = json.loads(second)
        self._file.seek(end)
        if self.done is not None:
            return
        while (group := self._read()) is not None:
            self._note(group, end)
            end = self._file.tell()
        self._file.seek(end)
        self._file.truncate()

    @property
    def groups(self) -> list[int]:
        """Numbers of the groups that are finished: of their keyframes, in order."""
        return sorted(self._places)

    def take(self, key: int) -> FinishedGroup | None:
        """The group of this keyframe, if it is finished."""
        place = self._places.get(key)
        if place is None:
            return None
        self._file.seek(place)
        return self._read()

    def group_with(self, frame: int) -> FinishedGroup:
        """The finished group with a frame of `frames`."""
        keys = self.groups
        group = self.take(keys[bisect_right(keys, frame) - 1])
        assert group is not None
        return group

    def add(self, group: FinishedGroup) -> None:
        """Writes a finished group down."""
        data = group.to_bytes()
        place = self._file.seek(0, os.SEEK_END)
        self._file.write(_HEAD.pack(_MARK, len(data), zlib.crc32(data)) + data)
        self._file.flush()
        self._note(group, place)

    def _note(self, group: FinishedGroup, place: int) -> None:
        self._places[group.key] = place
        self.frames.update(group.frames)

    def finish(self, frames: int, keyframes: int, outputs: Sequence[Path]) -> None:
        """Keeps of a file whose outputs are in place how many frames it has, and how to know them again."""
        self._file.seek(0)
        end = len(self._file.readline())
        stamps = {str(path): _stamp(path) for path in outputs}
        self._file.seek(end)
        self._file.write(json.dumps({"frames": frames, "keyframes": keyframes, "outputs": stamps}).encode() + b"\n")
        self._file.truncate()
        self._file.flush()

    def finished(self, outputs: Sequence[Path]) -> tuple[int, int] | None:
        """Numbers of frames and keyframes, if the file is finished and all of `outputs` are as they were then.

        If it is finished and they are not, it is forgotten.
        """
        if self.done is None:
            return None
        if self.done["outputs"] == {str(path): _stamp(path) for path in outputs}:
            return self.done["frames"], self.done["keyframes"]
        self.done = None
        self._file.truncate()  # where the first line ends
        return None

    def remove(self) -> None:
        """All is done: it is not needed any more."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        self._file.close()

    def _read(self) -> FinishedGroup | None:
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        mark, length, check = _HEAD.unpack(head)
        data = self._file.read(length) if mark == _MARK else b""
        if mark != _MARK or len(data) < length or zlib.crc32(data) != check:
            return None
        return FinishedGroup.from_bytes(data)


def _stamp(path: Path) -> list[int] | None:
    """By which an output is known again: bytes and time of a file; of a folder, that it is there. None: it is not."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [] if path.is_dir() else [status.st_size, status.st_mtime_ns]


def with_journal(
    segmenter: VideoSegmenter,
    frames: Iterable[VideoFrame],
    journal: Journal,
    rotation: int,
    display_matrix: tuple[int, ...] | None,
) -> Iterator[SegmentedFrame]:
    """`segmenter.segment_all`, group by group: finished ones come from the journal, the others are added to it."""
    clock = StageClock()
    for key, members in groupby(clock.waiting_for(frames), lambda frame: frame.index - frame.distance):
        stored = journal.take(key)
        if stored is not None:
            for frame in members:
                yield answered(stored, frame, segmenter, rotation, display_matrix, clock)
                del frame
            continue
        done: list[SegmentedFrame] = []
        for result in segmenter.segment_all(members, rotation, display_matrix, clock=clock):
            done.append(kept(result))
            yield result
            del result
        journal.add(FinishedGroup.of(done))


def kept(result: SegmentedFrame) -> SegmentedFrame:
    """Without the picture, which the journal does not need."""
    return replace(result, image=result.image[:0], motion=None)


def answered(
    group: FinishedGroup,
    frame: VideoFrame,
    segmenter: VideoSegmenter,
    rotation: int,
    display_matrix: tuple[int, ...] | None,
    clock: StageClock,
) -> SegmentedFrame:
    """A frame with what its finished group has of it; raises `InputError` where that has nothing."""
    place = group.place_of(frame.index)
    if group.told["keyframe"][place] and not frame.keyframe:  # a stream's last frame, which a policy made one
        frame = replace(frame, keyframe=True, distance=0, motion=None, link=frame.motion)
    times = clock.of(frame) | {"network": float(group.told["network"][place])}
    logits = None if group.logits is None else group.logits[place]
    seen = group.labels[place], rotation, display_matrix, segmenter.label_set, times, logits
    return SegmentedFrame.of(frame, *seen)
