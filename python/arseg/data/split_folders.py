"""Data sets whose splits are folders: one of images, and one of label pictures of the same names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import IGNORED, LabelSet

from .datasets import DataSet, LabelledFrame, LabelledFrames, Void, picture_files


class SplitFolders(DataSet):
    """A data set with a pattern for its images and one for its labels.

    Attributes:
        images, masks: folders below the root, with `{split}` in them.
        names: what a split is called there, where that is something else.
    """

    images: str
    masks: str
    names: ClassVar[Mapping[str, str]] = {}

    def folders(self, root: StrPath, split: str) -> tuple[Path, Path]:
        """Of a split's images and labels."""
        named = self.names.get(split, split)
        return Path(root) / self.images.format(split=named), Path(root) / self.masks.format(split=named)

    def is_in(self, root: Path) -> bool:
        return any(all(folder.is_dir() for folder in self.folders(root, split)) for split in ("train", "val"))

    def frames(
        self, root: StrPath, split: str = "train", *, sequences: StrPath | None = None, void: Void = "count"
    ) -> LabelledFrames:
        images, masks = self.folders(root, split)
        pictures = picture_files(images, f"{self.labels.name}'s images of {split}, with their labels in {masks}")
        return labelled(self, [(picture, masks / f"{picture.stem}.png") for picture in pictures])

    def to_ids(self, label: np.ndarray) -> np.ndarray:
        """A label picture as stored -> ids of classes and 255."""
        if label.ndim != 2:
            raise InputError(f"expected ids of classes [H, W], got {list(label.shape)}")
        return np.where(label < len(self.labels.classes), label, IGNORED).astype(np.uint8)


def labelled(data: SplitFolders, pairs: list[tuple[Path, Path]]) -> LabelledFrames:
    """The frames of pairs of files; `FileNotFoundError` where a label is missing."""
    missing = [label for _, label in pairs if not label.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{missing[0].parent}: {len(missing)} of {len(pairs)} labels are missing, the first is {missing[0].name}"
        )
    labels: LabelSet = data.labels
    palette = labels.palette[: len(labels.classes)]
    frames = [LabelledFrame(image.stem, image, label) for image, label in pairs]
    return LabelledFrames(labels.name, labels.classes, palette, frames, data.to_ids)
