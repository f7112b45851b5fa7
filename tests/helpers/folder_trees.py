"""Data sets of one's own, written to disk as people have them: pictures of ids or colours, and exported polygons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from helpers.dataset_trees import save

CLASSES = ("sky", "road", "car")
COLOURS = ((70, 130, 180), (128, 64, 128), (0, 0, 142))

Stills = Sequence[tuple[np.ndarray, np.ndarray]]


def three_classes(count: int, size: tuple[int, int] = (48, 64), seed: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    """Sky above a road with a car on it, and a margin of 255; a car elsewhere, and other noise, in each."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        label = np.zeros(size, np.uint8)
        label[size[0] // 2 + rng.integers(8) :] = 1
        top, left = rng.integers(size[0] // 2, size[0] - 8), rng.integers(size[1] - 12)
        label[top : top + 6, left : left + 10] = 2
        label[:3] = 255
        image = np.array([*COLOURS, (0, 0, 0)])[np.minimum(label, 3)] + rng.integers(-20, 20, (*size, 3))
        found.append((image.clip(0, 255).astype(np.uint8), label))
    return found


def names_of(count: int, video: str = "") -> list[str]:
    return [f"{video}{place:03d}" for place in range(count)]


def write_classes(root: Path, record: object = None) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.json").write_text(json.dumps(list(CLASSES) if record is None else record))


def folder_tree(root: Path, stills: Stills, names: Sequence[str] | None = None, *, colours: bool = False) -> Path:
    """`images/`, `labels/` and `classes.json` with colours; labels are ids, or those colours (black is ignored)."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(COLOURS)] = COLOURS
    for name, (image, label) in zip(names or names_of(len(stills)), stills, strict=True):
        save(image, root / "images" / f"{name}.png")
        save(table[label] if colours else label, root / "labels" / f"{name}.png")
    write_classes(
        root, {"classes": list(CLASSES), "colors": [list(colour) for colour in COLOURS], "ignore": ["#000000"]}
    )
    return root
