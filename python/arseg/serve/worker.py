"""The process that holds the network and segments one video after the other; what it dies of, the server outlives."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from arseg.errors import ArsegError, InputError

from .limits import Limits
from .results import ROWS, outputs

__all__ = ["Task", "work"]

_PAUSE = 0.2  # seconds from one word on the progress to the next
_LOOK = 64  # frames from one look at the disk to the next


@dataclass(frozen=True)
class Task:
    """What a worker is asked for: `video` segmented into files of `folder`."""

    video: Path
    folder: Path
    wanted: tuple[str, ...]
    opacity: float


class _Cancelled(Exception):
    pass


def work(pipe: Connection, cancelled: Event, settings: Mapping[str, Any], limits: Limits, threads: int | None) -> None:
    """Sends ("ready", …), then for each `Task` ("begun", …), ("frames", n)…, and how it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        import torch

        from arseg.segment.opened import open_segmenter

        if threads is not None:
            torch.set_num_threads(threads)
        made = dict(settings)
        segmenter = open_segmenter(made.pop("device", "cpu"), made.pop("weights", None), None, made)
    except (ArsegError, OSError, ImportError) as error:
        pipe.send(("unfit", str(error)))
        return
    pipe.send(("ready", {"classes": segmenter.label_set.classes}))
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the server has gone
        while True:
            task = pipe.recv()
            pipe.send(_done(task, segmenter, pipe, cancelled, limits))


def _done(task: Task, segmenter: Any, pipe: Connection, cancelled: Event, limits: Limits) -> tuple[str, Any]:
    from rich.console import Console

    from arseg.memory import is_out_of_memory
    from arseg.segment.outputs import Output
    from arseg.segment.records import FrameRecords
    from arseg.segment.result import SegmentedFrame
    from arseg.segment.run import segment_file
    from arseg.video.properties import VideoProperties

    from .untrusted import check, check_length, check_size, reading

    name, end = task.video.name, time.monotonic() + limits.job_seconds

    class Watched(Output):
        """Takes each frame first: limits hold for what comes, whatever the head of the file says."""

        @contextmanager
        def opened(self, reader: Any, label_set: Any) -> Iterator[Any]:
            about = VideoProperties.of(reader)
            check_size(name, about.width, about.height, limits)
            check_length(name, None if about.duration is None else float(about.duration), 0, limits)
            known = {"width": about.width, "height": about.height, "rate": float(about.rate)}
            pipe.send(("begun", {**known, "total": about.frame_count}))
            records, told, count, first = FrameRecords(label_set.classes), 0.0, 0, None
            with (task.folder / ROWS).open("w") as rows:

                def write(result: SegmentedFrame) -> None:
                    nonlocal told, count, first
                    count += 1
                    first = result.time if first is None else first
                    check_size(name, result.image.shape[1], result.image.shape[0], limits)
                    check_length(name, None if result.time is None else result.time - (first or 0), count, limits)
                    if cancelled.is_set():
                        raise _Cancelled
                    now = time.monotonic()
                    if now > end:
                        raise InputError(f"{name}: took longer than {limits.job_seconds:g} s; send a part of it")
                    if count % _LOOK == 0 and _size(task.folder) > limits.kept_bytes:
                        raise InputError(
                            f"{name}: its results are larger than {limits.kept_mb:g} MB; send a part of it"
                        )
                    rows.write(json.dumps(records.of(result).row(), allow_nan=False) + "\n")
                    if now - told > _PAUSE:
                        rows.flush()
                        pipe.send(("frames", count))
                        told = now

                yield write
                rows.flush()
                pipe.send(("frames", count))

    try:
        if cancelled.is_set():
            raise _Cancelled
        check(task.video, limits)
        made = outputs(task.folder, task.wanted, task.opacity)
        watched = Watched(task.folder / f".{ROWS}")
        silent = Console(quiet=True)
        segment_file(segmenter, task.video, [watched, *made], console=silent, options=reading(limits))
        return "done", {wanted: out.target.stat().st_size for wanted, out in zip(task.wanted, made, strict=True)}
    except _Cancelled:
        return "cancelled", None
    except (ArsegError, OSError) as error:
        return "failed", _without_folders(str(error), task)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return "failed", f"{name}: does not fit into the memory; send it smaller"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _without_folders(text: str, task: Task) -> str:
    """A sentence for somebody to whom this machine's folders are nothing."""
    for folder in (task.video.parent, task.folder):
        text = text.replace(f"{folder}/", "")
    return " ".join(text.split())
