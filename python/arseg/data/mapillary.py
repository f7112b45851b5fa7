"""Mapillary Vistas, 1.2 (66 labels) and 2.0 (124): the labels are those of the `config.json` that comes with it.

Source: Neuhold et al., "The Mapillary Vistas Dataset for Semantic Understanding of Street Scenes", ICCV 2017.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import IGNORED, IMAGENET_MEAN, IMAGENET_STD, LabelSet

from .datasets import DataSet, LabelledFrames, Void
from .split_folders import SplitFolders

NAME = "Mapillary Vistas"

VERSIONS = ("v2.0", "v1.2")
"""The newest first, which is taken where both are there, as in the release of 2.0."""


class Mapillary(SplitFolders):
    """Mapillary Vistas.

    Args:
        versions: which to look for; in release 1.2 neither the labels nor `config.json` have the version in their name.
    """

    labels = LabelSet(NAME, (), np.zeros((0, 3), np.uint8), IMAGENET_MEAN, IMAGENET_STD)
    images = "{split}/images"
    names: ClassVar[Mapping[str, str]] = {"train": "training", "val": "validation", "test": "testing"}

    def __init__(self, versions: tuple[str, ...] = VERSIONS):
        self.versions = versions

    def is_in(self, root: Path) -> bool:
        return self._config(root) is not None and (root / "training" / "images").is_dir()

    def opened(self, root: Path) -> DataSet:
        found = self._config(root)
        if found is None:
            raise FileNotFoundError(f"{root}: expected config_v2.0.json, config_v1.2.json or config.json of {NAME}")
        return _Opened(*found)

    def frames(
        self, root: StrPath, split: str = "train", *, sequences: StrPath | None = None, void: Void = "count"
    ) -> LabelledFrames:
        return self.opened(Path(root)).frames(root, split)

    def _config(self, root: Path) -> tuple[Path, str] | None:
        for version in self.versions:
            if (root / f"config_{version}.json").is_file():
                return root / f"config_{version}.json", f"{{split}}/{version}/labels"
        if "v1.2" in self.versions and (root / "config.json").is_file():
            return root / "config.json", "{split}/labels"
        return None


class _Opened(SplitFolders):
    """The classes that count of one version; the others are ignored."""

    images, names = Mapillary.images, Mapillary.names

    def __init__(self, config: Path, masks: str):
        self.masks = masks
        try:
            entries = json.loads(config.read_text("utf-8-sig"))["labels"]
            counted = [place for place, entry in enumerate(entries) if entry.get("evaluate", True)]
            names = [entries[place].get("readable") or entries[place]["name"] for place in counted]
            colours = [entries[place]["color"] for place in counted]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{config}: expected labels with name, color and evaluate ({error!r})") from error
        self.labels = LabelSet.of(len(names), name=NAME, classes=names, palette=colours)
        self._table = np.full(256, IGNORED, np.uint8)
        self._table[counted] = np.arange(len(counted))

    def to_ids(self, label: np.ndarray) -> np.ndarray:
        if label.ndim != 2 or label.dtype != np.uint8:
            raise InputError(f"expected ids of labels, uint8 [H, W], got {label.dtype} {list(label.shape)}")
        return self._table[label]
