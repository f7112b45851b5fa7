"""What a config has data for: its labelled stills, its videos, and a network that is trained already."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

from arseg.data.opened import OpenData, open_data
from arseg.data.prepared import Prepared
from arseg.errors import InputError
from arseg.video.names import shown, video_file

from .config import FitConfig


@dataclass(frozen=True)
class Sources:
    """What there is.

    Attributes:
        data: the labelled stills; None: none.
        videos: files, in the config's order.
        stills: number of labelled frames of "train".
        before: of them, those that have frames of their video before them (see `LabelledFrame.frames`).
        prepared, validation: labelled frames with their videos' vectors.
        fingerprint: of the data.
    """

    data: OpenData | None
    videos: tuple[Path, ...]
    stills: int = 0
    before: int = 0
    prepared: Prepared | None = None
    validation: Prepared | None = None
    fingerprint: str | None = None

    @property
    def labelled(self) -> bool:
        """Whether anything has labels to train on."""
        return self.data is not None or self.prepared is not None


def open_sources(config: FitConfig) -> Sources:
    """Raises `InputError` where there is nothing, or where what the config names is not there."""
    videos = _videos(config.data.videos)
    names = (config.data.prepared, config.data.validation)
    prepared, validation = (None if name is None else Prepared(name) for name in names)
    if config.data.source is None:
        if not videos and prepared is None:
            raise InputError(
                "[data]: expected labelled stills (source), videos, or both, got none; give --set data.source=FOLDER "
                "or --set 'data.videos=[\"drive.mp4\"]'"
            )
        return Sources(None, videos, 0, 0, prepared, validation)
    data = open_data(config.data.source)
    frames = data.frames("train").frames
    if not frames:
        raise InputError(f"[data]: source: {config.data.source} has no labelled frame to train on")
    before = sum(frame.index > 0 for frame in frames)
    return Sources(data, videos, len(frames), before, prepared, validation, data.fingerprint())


def _videos(names: tuple[str, ...]) -> tuple[Path, ...]:
    """Files by their names or by patterns of them."""
    found: list[Path] = []
    for name in names:
        path = video_file(name)
        if path.is_file():
            found.append(path)
            continue
        matches = sorted(Path(match) for match in glob.glob(name, recursive=True)) if glob.has_magic(name) else []
        if not matches:
            raise InputError(f"[data]: videos: {shown(path)}: no such file; expected a video, or a pattern of videos")
        found += [match for match in matches if match.is_file()]
    return tuple(dict.fromkeys(found))
