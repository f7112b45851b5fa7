"""Frames of videos around labelled ones: a folder of numbered pictures for each video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .datasets import LabelledFrame, picture_files
from .splits import video_and_number


class Sequences:
    """The videos in a folder, `VIDEO/000123.png` or `VIDEO/VIDEO_000123.png`; each is listed when it is asked for.

    Raises `FileNotFoundError` where there is no such folder, or nothing in it.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir() or not any(entry.is_dir() for entry in folder.iterdir()):
            raise FileNotFoundError(f"{folder}: expected a folder of frames for each video in it, VIDEO/000123.png")
        self.folder = folder
        self._listed: dict[str, dict[int, Path]] = {}

    def around(self, frame: LabelledFrame) -> LabelledFrame:
        """The labelled frame with the run of frames that it is in; without one where there is none of its number.

        Its video is the folder that its image lies in, or what stands before the number in its name.
        """
        video, number = video_and_number(frame.image.stem)
        for name in (frame.image.parent.name, video):
            if number is not None and name and (self.folder / name).is_dir():
                run, index = _run(self._frames(name), number)
                return replace(frame, frames=run, index=index) if run else frame
        return frame

    def _frames(self, name: str) -> dict[int, Path]:
        if name not in self._listed:
            found = ((video_and_number(p.stem)[1], p) for p in picture_files(self.folder / name, "frames of a video"))
            self._listed[name] = {number: path for number, path in found if number is not None}
        return self._listed[name]


def _run(frames: dict[int, Path], wanted: int) -> tuple[tuple[Path, ...], int]:
    """What hangs together around a number: neighbours are as far apart as the nearest two of the video."""
    if wanted not in frames:
        return (), 0
    numbers = sorted(frames)
    step = int(np.diff(numbers).min()) if len(numbers) > 1 else 1
    return _joined(frames, wanted, step)


def _joined(frames: dict[int, Path], wanted: int, step: int) -> tuple[tuple[Path, ...], int]:
    first = last = wanted
    while first - step in frames:
        first -= step
    while last + step in frames:
        last += step
    run: Sequence[int] = range(first, last + 1, step)
    return tuple(frames[number] for number in run), (wanted - first) // step
