"""One file and what is made of it: a job by itself where there are many files."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from arseg.segment.outputs.base import Output
from arseg.segment.outputs.chosen import kind_of, outputs_for
from arseg.segment.run import segment_file
from arseg.segment.segmenter import VideoSegmenter
from arseg.segment.sources import Source
from arseg.video.names import local_path, shown
from arseg.video.picture_reader import PictureReader

from .jobs import Failed, Runner
from .worker import Worker, reachable

_OFTEN = 0.5
"""Seconds from one word on how far it is to the next."""


@dataclass(frozen=True)
class Progress:
    """How far a file is.

    Attributes:
        frames: that are written.
        keyframes: among them.
        said: remarks for the user, with its end.
    """

    frames: int
    keyframes: int
    said: str = ""


@dataclass(frozen=True)
class FileJob:
    """A source, its outputs as the command line names them, and how it is segmented.

    Attributes:
        targets: `TARGET` or `KIND:TARGET`.
        settings: of the outputs.
        how: arguments of `segment_file`.
        folders: whether to make the folders of the outputs.
    """

    source: Source
    targets: tuple[str, ...]
    settings: dict[str, Any]
    how: dict[str, Any]
    folders: bool = False

    @property
    def name(self) -> str:
        return str(shown(self.source.video))

    def anywhere(self) -> FileJob:
        """The same with whole names of local files."""
        path = local_path(self.source.video)
        source = self.source if path is None else replace(self.source, video=os.path.abspath(path))
        source = replace(source, pictures=tuple(Path(os.path.abspath(file)) for file in source.pictures))
        named = map(kind_of, self.targets)
        return replace(self, source=source, targets=tuple(f"{kind}:{os.path.abspath(path)}" for kind, path in named))

    def outputs(self) -> list[Output]:
        return outputs_for(self.targets, self.settings)

    def segment(self, segmenter: VideoSegmenter, **how: Any) -> int:
        """Number of frames; raises what `segment_file` does."""
        outputs = self.outputs()
        if self.folders:
            for out in outputs:
                out.target.parent.mkdir(parents=True, exist_ok=True)
        opened = PictureReader(self.source.pictures) if self.source.pictures else self.source.video
        return segment_file(segmenter, opened, outputs, **self.how, **how)

    def run(self, worker: Worker, tell: Callable[[Any], None]) -> None:
        """Tells `Progress`."""
        for file in self.source.pictures or (self.source.video,):
            reachable(str(file))
        said = io.StringIO()
        done, last = (0, 0), time.monotonic()

        def on_frame(count: int, keyframes: int) -> None:
            nonlocal done, last
            done = count, keyframes
            if time.monotonic() - last >= _OFTEN:
                last = time.monotonic()
                tell(Progress(*done))

        try:
            self.segment(worker.segmenter, console=Console(file=said, width=1000), on_frame=on_frame)
        finally:
            tell(Progress(*done, said.getvalue()))


@dataclass(frozen=True)
class Done:
    """A file that has ended.

    Attributes:
        job: it.
        frames: that it has.
        failed: why it has none.
        said: remarks for the user.
    """

    job: FileJob
    frames: int
    failed: Failed | None
    said: str


def each_file(
    jobs: Sequence[FileJob], runner: Runner, on_progress: Callable[[int, int, int], object]
) -> Iterator[Done]:
    """The files as they end.

    Args:
        on_progress: called with how many have ended, and frames and keyframes of all.
    """
    seen: dict[int, Progress] = {}
    ended = 0
    for told in runner.run([job.anywhere() for job in jobs] if runner.elsewhere else jobs):
        if told.message is not None:
            seen[told.job] = told.message
        if told.ended:
            ended += 1
            last = seen.get(told.job, Progress(0, 0))
            yield Done(jobs[told.job], last.frames, told.failed, last.said)
        frames, keyframes = (sum(getattr(one, name) for one in seen.values()) for name in ("frames", "keyframes"))
        on_progress(ended, frames, keyframes)
