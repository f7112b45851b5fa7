"""How pictures are told apart into `train` and `val` where a data set does not say: so that neighbours do not leak."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from arseg.errors import InputError

SPLITS = ("train", "val", "test")

SHARE = 0.2
"""Of `val` where it is made."""

_LEAST, _MOST = 0.05, 0.35  # of whole videos: else `val` is made of blocks
_NUMBER = re.compile(r"^(?P<video>.*?)[_\-. ]?(?:frame|f)?[_\-. ]?(?P<number>\d+)$", re.IGNORECASE)


def video_and_number(name: str) -> tuple[str, int | None]:
    """`0001TP_006690` -> (`0001TP`, 6690): a picture's video, and its place in it; None where it has no number."""
    match = _NUMBER.match(name)
    return (name, None) if match is None else (match["video"], int(match["number"]))


def videos_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Names such as `drive1/000123` by their video: their folder, or what stands before their number.

    One video where they look like loose pictures: most names begin with something else.
    """
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    if len(folders) > 1:
        return folders
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(video_and_number(name)[0], []).append(name)
    together = sum(len(group) for group in found.values() if len(group) > 1)
    if len(found) > len(names) / 3 or together < 0.9 * len(names):
        return {"": list(names)}
    return found


def runs_of(images: Sequence[Path]) -> list[list[int]]:
    """Of pictures that are frames of videos the places of each video's, in the order of their numbers."""
    videos: dict[tuple[Path, str], list[tuple[int, int]]] = {}
    for place, path in enumerate(images):
        video, number = video_and_number(path.stem)
        key, at = ("", place) if number is None else (video, number)
        videos.setdefault((path.parent, key), []).append((at, place))
    return [[place for _, place in sorted(found)] for found in videos.values()]


def made_split(names: Sequence[str]) -> tuple[dict[str, str], str]:
    """The split of each name, and a sentence that says how they were told apart.

    Args:
        names: of all labelled pictures, sorted, with the folders that they lie in.

    Whole videos become `val` where some of them are about a fifth of the pictures; else two blocks of neighbours do.
    The same names are split the same way every time.
    """
    if len(names) < 2:
        raise InputError(f"expected at least 2 labelled pictures, one to train on and one to score, got {len(names)}")
    videos = videos_of(names)
    chosen = _chosen({video: len(group) for video, group in videos.items()})
    share = sum(len(videos[video]) for video in chosen) / len(names)
    if chosen and _LEAST <= share <= _MOST:
        val = {name for video in chosen for name in videos[video]}
        what = "folder" if len({name.rpartition("/")[0] for name in names}) > 1 else "video"
        shown = ", ".join(chosen[:4]) + (f" and {len(chosen) - 4} more" if len(chosen) > 4 else "")
        how = f"by {what}: {shown} of {len(videos)} {what}s, {len(val)} of {len(names)} pictures, are val"
    else:
        val = set(_blocks(names))
        how = (
            f"by blocks of neighbours in the order of names: {len(val)} of {len(names)} pictures are val; where they "
            "are frames of videos, put each video into a folder of its own, or write split.txt"
        )
    return {name: "val" if name in val else "train" for name in names}, how


def _chosen(sizes: Mapping[str, int]) -> list[str]:
    """Videos whose pictures together come nearest to `SHARE`, taken in an order that does not follow their names."""
    target = SHARE * sum(sizes.values())
    chosen: list[str] = []
    total = 0
    for video in sorted(sizes, key=lambda video: (zlib.crc32(video.encode()), video)):
        if len(chosen) + 1 < len(sizes) and abs(total + sizes[video] - target) < abs(total - target):
            chosen.append(video)
            total += sizes[video]
    return sorted(chosen)


def _blocks(names: Sequence[str]) -> list[str]:
    """Two runs of neighbours, a tenth each: from the middle and the end; one where there are few pictures."""
    count = len(names)
    if count < 20:
        return list(names[-max(1, round(SHARE * count)) :])
    tenth = round(SHARE / 2 * count)
    middle = round(0.45 * count)
    return [*names[middle : middle + tenth], *names[-tenth:]]


def read_splits(path: Path, names: Sequence[str]) -> dict[str, str]:
    """`split.txt`: on each line the name of a picture or of a folder of them, and its split; a name alone is `val`.

    Args:
        names: of all pictures, with the folders that they lie in and without their endings.

    Raises `InputError` for a line that names no picture, or no split. Pictures that no line names are `train`.
    """
    by_stem: dict[str, list[str]] = {}
    for name in names:
        by_stem.setdefault(name.rpartition("/")[2], []).append(name)
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = re.fullmatch(r"(.+?)(?:[\s,;]+(train|val|test))?", text)
        assert match is not None
        given, split = match[1].strip("/").removeprefix("images/"), match[2] or "val"
        meant = _meant(given, names, by_stem)
        if not meant:
            raise InputError(
                f"{path}: line {number}: {given!r} is no picture and no folder in images/; expected a name, and train, "
                "val or test after it"
            )
        found.update(dict.fromkeys(meant, split))
    if not found:
        raise InputError(f"{path}: is empty; expected a name a line, and train, val or test after it")
    return {name: found.get(name, "train") for name in names}


def _meant(given: str, names: Sequence[str], by_stem: Mapping[str, list[str]]) -> list[str]:
    stem = re.sub(r"\.(png|jpe?g|bmp|webp|tiff?)$", "", given, flags=re.IGNORECASE)
    for name in (given, stem):
        if name in by_stem and len(by_stem[name]) == 1:
            return by_stem[name]
    return [name for name in names if name in (given, stem) or name.startswith(f"{given}/")]
