"""Miniatures of the published data sets, written to disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from helpers import streets
from PIL import Image

from arseg.data.camvid import PALETTE
from arseg.data.cityscapes import LABEL_IDS

# Ids of the street (CamVid's) -> Cityscapes' label ids.
_AS_CITYSCAPES = np.array([LABEL_IDS[i] for i in (10, 2, 5, 0, 1, 8, 7, 4, 13, 11, 18)], np.uint8)


def street(count: int, seed: int = 1, size: tuple[int, int] = (72, 96)) -> list[tuple[np.ndarray, np.ndarray]]:
    return streets.street(count, seed, size=size, rate=10.0, start=20)


def save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def camvid_tree(root: Path, *, snippets: int = 2, before: int = 12, size: tuple[int, int] = (72, 96)) -> Path:
    """`train/`, `train_labels/` in colours, and `frames/0001TP/`: labelled frames every `before + 3` frames."""
    step = before + 3
    frames = street(snippets * step, size=size)
    for place, (image, _) in enumerate(frames):
        save(image, root / "frames" / "0001TP" / f"0001TP_{place + 1:06d}.png")
    for k in range(snippets):
        place = k * step + before
        image, label = frames[place]
        name = f"0001TP_{place + 1 - 31 + 6690:06d}"
        save(image, root / "train" / f"{name}.png")
        save(PALETTE[label], root / "train_labels" / f"{name}_L.png")
    return root


def cityscapes_tree(root: Path, *, snippets: int = 2, size: tuple[int, int] = (64, 128), split: str = "train") -> Path:
    """`gtFine/`, `leftImg8bit/` and `leftImg8bit_sequence/` of one city."""
    for k in range(snippets):
        for number, (image, label) in enumerate(street(30, seed=k + 1, size=size)):
            name = f"ulm_{k:06d}_{number:06d}"
            save(image, root / "leftImg8bit_sequence" / split / "ulm" / f"{name}_leftImg8bit.png")
            if number == 19:
                save(image, root / "leftImg8bit" / split / "ulm" / f"{name}_leftImg8bit.png")
                save(_AS_CITYSCAPES[label], root / "gtFine" / split / "ulm" / f"{name}_gtFine_labelIds.png")
    return root


def run_tree(root: Path, count: int = 16, size: tuple[int, int] = (72, 96), split: str = "val") -> Path:
    """A split whose frames are consecutive and all labelled, as CamVid's `val` at 480x360."""
    for number, (image, label) in enumerate(street(count, size=size)):
        save(image, root / split / f"0016E5_{7959 + 2 * number:05d}.png")
        save(label, root / f"{split}annot" / f"0016E5_{7959 + 2 * number:05d}.png")
    return root
