"""What a command line names to be segmented: files, folders, patterns, URLs, the standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from arseg.errors import InputError
from arseg.video.names import default_stem, local_path, shown
from arseg.video.picture_reader import PICTURES

__all__ = ["Source", "sources_of", "targets_for"]

VIDEOS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".flv", ".nut", ".264", ".h264"),
    *(".265", ".h265", ".hevc", ".mpg", ".mpeg", ".m2v", ".wmv", ".3gp", ".ogv", ".vob", ".mxf", ".y4m"),
)
"""Endings, in lower case, of what is taken from a folder as a video."""


@dataclass(frozen=True)
class Source:
    """One video, or pictures that are segmented one by one.

    Attributes:
        video: what `VideoReader` takes; of pictures, the folder or file.
        stem: a name without folder and ending, for what is made of it.
        pictures: their files; empty for a video.
    """

    video: str
    stem: str
    pictures: tuple[Path, ...] = field(default=())


def sources_of(texts: Iterable[str]) -> list[Source]:
    """The sources that files, folders, patterns such as `clips/*.mp4`, URLs and `-` (the standard input) name.

    All pictures of one folder or pattern are one source. Raises `InputError` where there is nothing.
    """
    found = [source for text in texts for source in _sources(text)]
    pictures = [source for source in found if source.pictures]
    if len(pictures) > 1 and all(len(source.pictures) == 1 for source in pictures):  # a shell's own pattern
        files = tuple(source.pictures[0] for source in pictures)
        first = found.index(pictures[0])
        found = [source for source in found if not source.pictures]
        found.insert(first, _pictures(files))
    return found


def targets_for(texts: Sequence[str], sources: Sequence[Source], is_folder: Callable[[str], bool]) -> list[list[str]]:
    """For each source, what `texts` (`TARGET` or `KIND:TARGET`) name for it.

    A target may have {stem}, {name} (with its ending), {parent} (the folder's name) and {number} (of the source, from
    0) in it. Of several sources, a folder has one folder each within it, `FOLDER/STEM`.

    Args:
        is_folder: whether an output's target is a folder.

    Raises:
        InputError: one file for several sources, another name in braces, or two sources with one target.
    """
    found = [[_target(text, source, number, len(sources), is_folder) for text in texts]
             for number, source in enumerate(sources)]  # fmt: skip
    owner: dict[str, Source] = {}
    for source, targets in zip(sources, found, strict=True):
        for target in targets:
            other = owner.setdefault(target, source)
            if other is not source:
                raise InputError(
                    f"{target}: would be written for {shown(other.video)} and for {shown(source.video)}; put "
                    "{parent} or {number} into the name"
                )
    return found


def _sources(text: str) -> list[Source]:
    if text == "-":
        return [Source("pipe:0", "stdin")]
    path = local_path(text)
    if path is None:
        return [Source(text, default_stem(text))]
    if path.is_dir():
        return _in_folder(path)
    if not os.path.lexists(path) and glob.has_magic(text):
        files = [Path(name) for name in sorted(glob.glob(text, recursive=True))]
        if not files:
            raise InputError(f"{text}: no file has such a name; give another pattern, in quotes or not")
        pictures = tuple(file for file in files if file.suffix.lower() in PICTURES and not file.is_dir())
        seen = set(pictures)
        videos = [file for file in files if file not in seen]
        found = [source for file in videos for source in _sources(str(file))]
        return [*found, _pictures(pictures)] if pictures else found
    if path.suffix.lower() in PICTURES:
        return [_pictures((path,))]
    return [Source(text, default_stem(text))]


def _in_folder(path: Path) -> list[Source]:
    files = sorted(file for file in path.iterdir() if not file.name.startswith(".") and file.is_file())
    videos = [file for file in files if file.suffix.lower() in VIDEOS]
    pictures = tuple(file for file in files if file.suffix.lower() in PICTURES)
    if videos and pictures:
        raise InputError(f"{path}: has videos and pictures; give a pattern, such as '{path}/*{videos[0].suffix}'")
    if not videos and not pictures:
        raise InputError(f"{path}: has neither videos nor pictures; give a folder that has, or files")
    return [_pictures(pictures)] if pictures else [Source(str(file), default_stem(str(file))) for file in videos]


def _pictures(files: tuple[Path, ...]) -> Source:
    if len(files) == 1:
        return Source(str(files[0]), default_stem(str(files[0])), files)
    folder = files[0].parent
    return Source(str(folder), folder.resolve().name or "pictures", files)


def _target(text: str, source: Source, number: int, count: int, is_folder: Callable[[str], bool]) -> str:
    if "{" in text:
        path = local_path(source.video)
        values = {"stem": source.stem, "name": path.name if path is not None else source.stem, "number": number}
        values["parent"] = path.absolute().parent.name if path is not None else "url"
        try:
            return text.format(**values)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            names = ", ".join(f"{{{name}}}" for name in values)
            raise InputError(f"{text}: expected {names} in braces; write others twice, as {{{{ }}}}") from error
    if count == 1:
        return text
    if is_folder(text):
        return f"{text.rstrip('/')}/{source.stem}"
    raise InputError(
        f"{text}: one file for {count} inputs; give a pattern such as {{stem}}{Path(text).suffix}, or a folder"
    )
