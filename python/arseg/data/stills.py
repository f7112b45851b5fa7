"""Labelled single frames for training the keyframe network: CamVid, and frames of synthetic streets."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from .camvid import CamVid
from .street import StreetScene

Still = tuple[np.ndarray, np.ndarray]


class Stills(Protocol):
    """Anything with a length that gives `(image, label)`: uint8 `[H, W, 3]` and uint8 `[H, W]`."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Still: ...


def camvid_stills(root: str | Path, split: str = "train") -> list[Still]:
    """A whole split in memory (0.7 MB a frame at 480x360): decoding once leaves the cores to the network."""
    data = CamVid(root, split)
    return [data[index] for index in range(len(data))]


def street_stills(scenes: int, *, per_scene: int = 4, seed: int = 1000, width: int = 480, height: int = 360) -> list[Still]:
    """`scenes * per_scene` frames at random moments of differently seeded streets."""
    stills = []
    for scene in range(scenes):
        rng = np.random.default_rng((seed, scene))
        street = StreetScene(seed + scene, width=width, height=height)
        stills += [street.frame(int(index)) for index in rng.integers(0, 600, per_scene)]
    return stills
