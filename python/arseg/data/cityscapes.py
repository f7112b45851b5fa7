"""Cityscapes: 19 classes, 2048x1024, each labelled frame the 20th of a snippet of 30.

Source: Cordts et al., "The Cityscapes Dataset", CVPR 2016; ids and colours are those of its label definition.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import CITYSCAPES, IGNORED

from .datasets import DataSet, LabelledFrame, LabelledFrames, Void

CLASSES = CITYSCAPES.classes

PALETTE = CITYSCAPES.palette[: len(CLASSES)]
"""uint8 [19, 3]."""

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The id of each class in the files `*_gtFine_labelIds.png`; all others are ignored."""

SNIPPET = 30
LABELLED = 19
"""Frames of a snippet, and the place of the labelled one in it, from 0."""

_TRAIN_IDS = np.full(256, IGNORED, np.uint8)
_TRAIN_IDS[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))


def train_ids(label: np.ndarray) -> np.ndarray:
    """`labelIds` as stored, uint8 `[H, W]` -> ids 0..18 and 255."""
    if label.ndim != 2 or label.dtype != np.uint8:
        raise InputError(f"expected labelIds, uint8 [H, W], got {label.dtype} {list(label.shape)}")
    return _TRAIN_IDS[label]


def cityscapes_frames(root: StrPath, split: str = "train", *, sequences: StrPath | None = None) -> LabelledFrames:
    """A split of Cityscapes.

    Args:
        root: with `gtFine/SPLIT/CITY/*_gtFine_labelIds.png`, and `leftImg8bit/` or `leftImg8bit_sequence/` beside it.
        split: "train" or "val".
        sequences: the folder `leftImg8bit_sequence`; that of `root` where None.

    Raises `FileNotFoundError` that names the folder or frame that is missing, and what was expected.
    """
    root = Path(root)
    annotated = root / "gtFine" / split
    if not annotated.is_dir():
        raise FileNotFoundError(f"{annotated}: no such folder; expected CITY/*_gtFine_labelIds.png in it")
    labels = sorted(annotated.glob("*/*_gtFine_labelIds.png"))
    if not labels:
        raise FileNotFoundError(f"{annotated}: no CITY/*_gtFine_labelIds.png in it")
    snippets = (root / "leftImg8bit_sequence" if sequences is None else Path(sequences)) / split
    frames = [_labelled(label, root / "leftImg8bit" / split, snippets) for label in labels]
    missing = [frame.image for frame in frames if not frame.image.is_file()]
    if missing:
        raise FileNotFoundError(f"{missing[0]}: no such image, and {len(missing) - 1} more are missing")
    return LabelledFrames("cityscapes", CLASSES, PALETTE, frames, train_ids)


def _labelled(label: Path, images: Path, snippets: Path) -> LabelledFrame:
    name = label.name.removesuffix("_gtFine_labelIds.png")
    parts = name.split("_")
    if len(parts) != 3 or not parts[2].isdigit():
        raise InputError(f"{label}: expected a name such as CITY_000000_000019_gtFine_labelIds.png")
    city, sequence, number = parts[0], parts[1], int(parts[2])
    first = number - LABELLED
    run = [snippets / city / f"{city}_{sequence}_{first + i:06d}_leftImg8bit.png" for i in range(SNIPPET)]
    image = images / city / f"{name}_leftImg8bit.png"
    if not run[LABELLED].is_file():
        return LabelledFrame(name, image, label)
    # A snippet may have been cut: what is consecutive around the labelled frame is kept.
    start, stop = LABELLED, LABELLED + 1
    while start > 0 and run[start - 1].is_file():
        start -= 1
    while stop < SNIPPET and run[stop].is_file():
        stop += 1
    return LabelledFrame(
        name, image if image.is_file() else run[LABELLED], label, tuple(run[start:stop]), LABELLED - start
    )


class Cityscapes(DataSet):
    """Cityscapes; its snippets have 17 frames a second."""

    labels = CITYSCAPES
    rate = run_rate = 17
    bitrate = 5e6

    def is_in(self, root: Path) -> bool:
        return (root / "gtFine").is_dir()

    def frames(
        self, root: StrPath, split: str = "train", *, sequences: StrPath | None = None, void: Void = "count"
    ) -> LabelledFrames:
        return cityscapes_frames(root, split, sequences=sequences)
