"""Frames of a video as pictures, for data sets whose videos come as files."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from arseg.files import StrPath, replacing

VIDEO_ENDINGS = (".avi", ".mxf", ".mp4", ".mkv", ".mov", ".mpg", ".m4v", ".264")


def video_files(folder: StrPath) -> list[Path]:
    """The videos in a folder, by name; itself, where it is a video."""
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected videos, or folders of frames")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_ENDINGS)


def extract(
    video: StrPath,
    folder: StrPath,
    wanted: Collection[int],
    *,
    stream: int | None = None,
    report: Callable[[str], None] | None = None,
) -> int:
    """Writes the frames whose numbers, counted from 1, are `wanted` as `folder/NAME_000001.png`.

    Those that are there are left, so that it can be stopped and called again. Returns how many the video has of them.

    Args:
        stream: which of several video streams, as for `VideoReader`.
        report: called with a sentence where one of several was taken.

    Raises the errors of `arseg.video` for a video that cannot be read, or breaks off before the last of them; those
    before the break are written.
    """
    from arseg.video.names import video_file
    from arseg.video.source import decode, open_source

    video, folder = video_file(video), Path(folder)
    paths = {number: folder / f"{video.stem}_{number:06d}.png" for number in wanted}
    if all(path.exists() for path in paths.values()):
        return len(paths)
    last, count = max(paths, default=0), 0
    source = open_source(video, stream=stream)
    if source.choice and report is not None:
        report(source.choice)
    with source.container:
        folder.mkdir(parents=True, exist_ok=True)
        source.stream.thread_type = "AUTO"
        for number, frame in enumerate(decode(source), 1):
            if number in paths:
                count += 1
                path = paths[number]
                if not path.exists():
                    with replacing(path) as part:
                        frame.to_image().save(part, format="PNG")
            if number >= last:
                break
    return count
