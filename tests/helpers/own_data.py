"""A small data set of one's own: shapes on a ground, of several sizes, with ignored pixels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((72, 96), (64, 120), (96, 80))
CLASSES = ("background", "thing")


def shapes(index: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A textured ground with a bright disc, class 1; the frame's edge is ignored."""
    rng = np.random.default_rng(index)
    height, width = size
    image = rng.integers(30, 90, (height // 4, width // 4, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    label = np.zeros((height, width), np.uint8)
    rows, columns = np.mgrid[:height, :width]
    inside = (rows - rng.integers(20, height - 20)) ** 2 + (columns - rng.integers(20, width - 20)) ** 2 < 7**2
    image[inside], label[inside] = (230, 200, 60), 1
    label[:3] = 255
    return image, label


def own_folder(root: Path, count: int = 6, sizes: Sequence[tuple[int, int]] = SIZES) -> Path:
    """`images/` and `labels/`, each with `train/` and `val/`, and `classes.json`."""
    for split, numbers in (("train", range(count)), ("val", range(count, count + 2))):
        for number in numbers:
            image, label = shapes(number, sizes[number % len(sizes)])
            for kind, array in (("images", image), ("labels", label)):
                path = root / kind / split / f"{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (root / "classes.json").write_text(json.dumps({"classes": CLASSES, "colors": [[0, 0, 0], [255, 200, 0]]}))
    return root


def roads_tree(root: Path, count: int = 4) -> None:
    """SPLIT/ with pictures and SPLIT-labels/ with masks: 255 where road is, 128 where nobody knows, 0 elsewhere."""
    rng = np.random.default_rng(1)
    for split in ("train", "val"):
        for place in range(count):
            label = np.zeros((72, 96), np.uint8)
            label[40 + place :] = 255
            label[:4] = 128
            ground = rng.integers(0, 90, (6, 8, 3)).repeat(12, 0).repeat(12, 1)
            image = (ground + (label[..., None] == 255) * 150).astype(np.uint8)
            for folder, array in ((split, image), (f"{split}-labels", label)):
                (root / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(root / folder / f"{split}{place}.png")
