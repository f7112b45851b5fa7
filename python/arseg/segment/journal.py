"""What a run has found out, written down group by group, so that the next one goes on where it was killed.

A journal is a line of JSON (what it was made with), then records: a mark, length and CRC-32, and compressed label maps.
A record that is not whole, as a kill or a power cut leaves the last one, is dropped with what follows it.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from arseg.errors import InputError, refuse_other_settings
from arseg.files import BusyError

from .clock import StageClock
from .result import SegmentedFrame

if TYPE_CHECKING:
    from arseg.video import VideoFrame

    from .segmenter import VideoSegmenter

__all__ = ["Journal", "with_journal"]

_MARK = b"ARGR"
_HEAD = struct.Struct("<4sQI")


@dataclass
class Group:
    """A finished group: indices `[n]`, labels `[n, H, W]`, milliseconds in the network `[n]`, logits or None."""

    frames: np.ndarray
    labels: np.ndarray
    network: np.ndarray
    logits: np.ndarray | None

    def to_bytes(self) -> bytes:
        file = io.BytesIO()
        for array in (self.frames, self.labels, self.network, np.array([]) if self.logits is None else self.logits):
            np.lib.format.write_array(file, array, allow_pickle=False)
        return zlib.compress(file.getvalue(), 1)

    @staticmethod
    def from_bytes(data: bytes) -> Group:
        file = io.BytesIO(zlib.decompress(data))
        frames, labels, network, logits = (np.lib.format.read_array(file, allow_pickle=False) for _ in range(4))
        return Group(frames, labels, network, logits if logits.ndim == 4 else None)


class Journal:
    """The journal at `path`, begun or gone on with; one run at a time has it.

    Args:
        path: the file; made where it is not there.
        made: with what, as JSON has it: a journal that was made with anything else is refused.

    Attributes:
        frames: how many are in the groups that are finished.

    Raises:
        InputError: it cannot be written, is no journal, or was made with other settings.
        BusyError: another run is at work with it.
    """

    def __init__(self, path: Path, made: Mapping[str, Any]) -> None:
        self.path = path
        self.frames = 0
        self._next = 0
        self._places: list[tuple[int, int]] = []
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
        while (group := self._read()) is not None:
            self._places.append((int(group.frames[0]), end))
            self.frames += len(group.frames)
            end = self._file.tell()
        self._file.seek(end)
        self._file.truncate()

    def take(self, frame: int) -> Group | None:
        """The group that begins with this frame, if it is finished; groups are asked for in their order."""
        if self._next == len(self._places) or self._places[self._next][0] != frame:
            return None
        self._file.seek(self._places[self._next][1])
        self._next += 1
        return self._read()

    def add(self, group: Group) -> None:
        """Writes a finished group down."""
        data = group.to_bytes()
        self._file.seek(0, os.SEEK_END)
        self._file.write(_HEAD.pack(_MARK, len(data), zlib.crc32(data)) + data)
        self._file.flush()

    def remove(self) -> None:
        """All is done: it is not needed any more."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        self._file.close()

    def _read(self) -> Group | None:
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        mark, length, check = _HEAD.unpack(head)
        data = self._file.read(length) if mark == _MARK else b""
        if mark != _MARK or len(data) < length or zlib.crc32(data) != check:
            return None
        return Group.from_bytes(data)


def with_journal(
    segmenter: VideoSegmenter,
    frames: Iterable[VideoFrame],
    journal: Journal,
    rotation: int,
    display_matrix: tuple[int, ...] | None,
) -> Iterator[SegmentedFrame]:
    """`segmenter.segment_all`, group by group: finished ones come from the journal, the others are added to it."""
    clock = StageClock()
    number = 0

    def group_of(frame: VideoFrame) -> int:
        nonlocal number
        number += frame.keyframe
        return number

    for _, members in groupby(clock.waiting_for(frames), group_of):
        first = next(members)
        stored = journal.take(first.index)
        group = chain([first], members)  # noqa: B031 - `members` begins after its first
        del first
        if stored is not None:
            yield from _stored(stored, group, segmenter, clock, rotation, display_matrix)
            continue
        done: list[SegmentedFrame] = []
        for result in segmenter.segment_all(group, rotation, display_matrix, clock=clock):
            done.append(_kept(result))
            yield result
            del result
        logits = [result.logits for result in done if result.logits is not None]
        journal.add(
            Group(
                np.array([result.index for result in done]),
                np.stack([result.labels for result in done]),
                np.array([result.times["network"] for result in done]),
                np.stack(logits) if logits else None,
            )
        )


def _kept(result: SegmentedFrame) -> SegmentedFrame:
    """Without the picture, which the journal does not need."""
    from dataclasses import replace

    return replace(result, image=result.image[:0], motion=None)


def _stored(
    group: Group,
    frames: Iterable[VideoFrame],
    segmenter: VideoSegmenter,
    clock: StageClock,
    rotation: int,
    display_matrix: tuple[int, ...] | None,
) -> Iterator[SegmentedFrame]:
    for place, frame in enumerate(frames):
        if place >= len(group.frames) or group.frames[place] != frame.index:
            raise InputError(f"frame {frame.index}: the video is not the one that the run to resume was of; begin anew")
        times = clock.of(frame) | {"network": float(group.network[place])}
        logits = None if group.logits is None else group.logits[place]
        labels = group.labels[place]
        yield SegmentedFrame.of(frame, labels, rotation, display_matrix, segmenter.label_set, times, logits)
        del frame
