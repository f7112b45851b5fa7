"""What a network's class ids mean, and what its input is normalised with: travels with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from arseg.data import camvid
from arseg.errors import InputError


@dataclass(frozen=True)
class LabelSet:
    """Classes and input statistics of one network.

    Attributes:
        name: of the data set.
        classes: names, in the order of the ids.
        palette: uint8 `[len(classes) or more, 3]`, RGB; the last row also colours ids past it.
        mean, std: of RGB in 0..1, which images are normalised with.
    """

    name: str
    classes: tuple[str, ...]
    palette: np.ndarray = field(repr=False, compare=False)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def to_json(self) -> dict[str, Any]:
        """Plain lists, for the metadata of a weights file."""
        return {
            "name": self.name,
            "classes": list(self.classes),
            "palette": self.palette.tolist(),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> LabelSet:
        """The inverse of `to_json`; raises `InputError` for a record that is not one."""
        try:
            palette = np.asarray(record["palette"], dtype=np.uint8)
            mean, std = (tuple(float(v) for v in record[key]) for key in ("mean", "std"))
            classes = tuple(map(str, record["classes"]))
            if palette.ndim != 2 or palette.shape[1] != 3 or len(palette) < len(classes):
                raise ValueError(f"{len(classes)} classes, palette {palette.shape}")
            if len(mean) != 3 or len(std) != 3:
                raise ValueError(f"{len(mean)} means, {len(std)} deviations")
            return LabelSet(str(record["name"]), classes, palette, mean, std)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"labels: not a label set ({error!r})") from error


_CITYSCAPES_CLASSES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
_CITYSCAPES_PALETTE = np.array(
    [
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
        (0, 0, 0),
    ],
    dtype=np.uint8,
)

CAMVID = LabelSet("CamVid", camvid.CLASSES, camvid.PALETTE, camvid.MEAN, camvid.STD)
"""CamVid's 11 classes: of the default network."""

CAMVID_VOID = LabelSet("CamVid", (*camvid.CLASSES, "void"), camvid.PALETTE, camvid.MEAN, camvid.STD)
"""CamVid's 11 classes and Void, which the paper's networks predict as well."""

CITYSCAPES = LabelSet(
    "Cityscapes", _CITYSCAPES_CLASSES, _CITYSCAPES_PALETTE, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
)
"""Cityscapes' 19 train ids; ImageNet's statistics, as the paper's PSPNet takes them."""

CITYSCAPES_BISENET = LabelSet(
    "Cityscapes", _CITYSCAPES_CLASSES, _CITYSCAPES_PALETTE, (0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115)
)
"""Cityscapes' 19 train ids; the data set's own statistics, as the paper's BiSeNet takes them."""
