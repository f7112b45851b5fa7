"""Frames of a video as pictures, for data sets whose videos come as files."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from arseg.files import part_of

VIDEO_ENDINGS = (".avi", ".mxf", ".mp4", ".mkv", ".mov", ".mpg", ".m4v", ".264")


def video_files(folder: Path) -> list[Path]:
    """The videos in a folder, by name; itself, where it is a video."""
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected videos, or folders of frames")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_ENDINGS)


def extract(video: Path, folder: Path, wanted: Collection[int]) -> int:
    """Writes the frames whose numbers, counted from 1, are `wanted` as `folder/NAME_000001.png`.

    Those that are there are left, so that it can be stopped and called again. Returns how many the video has of them.
    """
    import av

    folder.mkdir(parents=True, exist_ok=True)
    paths = {number: folder / f"{video.stem}_{number:06d}.png" for number in wanted}
    if all(path.exists() for path in paths.values()):
        return len(paths)
    last, count = max(paths, default=0), 0
    with av.open(os.fspath(video)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(container.decode(video=0), 1):
            if number in paths:
                count += 1
                path = paths[number]
                if not path.exists():
                    part = part_of(path)
                    frame.to_image().save(part, format="PNG")
                    os.replace(part, path)
            if number >= last:
                break
    return count
