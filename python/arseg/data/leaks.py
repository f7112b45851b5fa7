"""Pictures that are in two splits, or nearly: what a network has learned by heart tells nothing about it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from .splits import video_and_number

SIDE = 16
"""Of the small grey picture by which others are compared."""

ALIKE = 0.08
"""Difference of two such pictures, as a share of their contrast, up to which one is a copy of the other.

On CamVid's frames at 15 a second neighbours are 0.03 to 0.22 apart, and frames of different videos at least 0.5.
"""

NEIGHBOURS = 0.35
"""The same, for pictures that their numbers make neighbours in one video."""


_TOGETHER = 1000  # pictures that are compared with all others at once, for the memory


@dataclass(frozen=True)
class Look:
    """What tells a picture from others.

    Attributes:
        name: of its frame; path: of its file.
        digest: of its pixels.
        small: float32 `[SIDE * SIDE]`, grey.
    """

    name: str
    path: Path
    digest: bytes
    small: np.ndarray

    @staticmethod
    def of(name: str, path: Path, image: np.ndarray) -> Look:
        """Of a uint8 `[H, W, 3]` image."""
        grey = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        return Look(name, path, digest, np.asarray(grey, np.float32).ravel())


def leaks(looks: Mapping[str, Sequence[Look]]) -> Iterator[tuple[str, str]]:
    """`(kind, sentence)` of each leak between two splits; of copies within one, the kind is "remark"."""
    for split, pictures in looks.items():
        copies = len(pictures) - len({look.digest for look in pictures})
        if copies:
            yield "remark", f"{split}: {copies} pictures are copies of others in it"
    for (one, some), (_, more) in combinations(looks.items(), 2):
        if some and more:
            yield from _between(one, some, more)


def _between(one: str, some: Sequence[Look], more: Sequence[Look]) -> Iterator[tuple[str, str]]:
    digests = {look.digest: look for look in some}
    steps = _steps([*some, *more])
    for start in range(0, len(more), _TOGETHER):
        yield from _of_part(one, some, more[start : start + _TOGETHER], digests, steps)


def _of_part(
    one: str, some: Sequence[Look], more: Sequence[Look], digests: Mapping[bytes, Look], steps: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    apart = differences(some, more)
    for column, look in enumerate(more):
        same = digests.get(look.digest)
        if same is not None:
            yield "leaks between splits", f"{look.path}: is in {one}, too, as {same.path.name}; remove one of them"
            continue
        nearest = int(apart[:, column].argmin())
        if apart[nearest, column] <= ALIKE:
            yield (
                "leaks between splits",
                f"{look.path}: looks the same as {some[nearest].path.name} of {one}; put both into one split",
            )
            continue
        beside = _neighbour(look, some, apart[:, column], steps)
        if beside is not None:
            yield (
                "leaks between splits",
                f"{look.path}: is the frame beside {beside.path.name} of {one}; put whole videos into one split",
            )


def differences(some: Sequence[Look], more: Sequence[Look]) -> np.ndarray:
    """float32 `[some, more]`: root mean square difference of the small pictures over their mean contrast."""
    a, b = (np.stack([look.small for look in looks]) for looks in (some, more))
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    contrast = (a.std(1)[:, None] + b.std(1)[None]) / 2
    return np.sqrt(np.maximum(squares, 0) / a.shape[1]) / np.maximum(contrast, 1)


def _steps(looks: Sequence[Look]) -> dict[str, int]:
    """The smallest step between the numbers of each video's frames."""
    numbers: dict[str, list[int]] = {}
    for look in looks:
        video, number = video_and_number(look.name)
        if number is not None:
            numbers.setdefault(video, []).append(number)
    return {
        video: int(min(steps))
        for video, found in numbers.items()
        if len(found) > 1 and len(steps := np.diff(np.unique(found)))
    }


def _neighbour(look: Look, some: Sequence[Look], apart: np.ndarray, steps: Mapping[str, int]) -> Look | None:
    video, number = video_and_number(look.name)
    if number is None or video not in steps:
        return None
    for row in np.flatnonzero(apart <= NEIGHBOURS).tolist():
        its_video, its_number = video_and_number(some[row].name)
        if its_video == video and its_number is not None and abs(its_number - number) <= steps[video]:
            return some[row]
    return None
