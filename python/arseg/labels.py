"""Label sets: what a network's class ids mean, and what its input is normalised with; they travel with its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from arseg.errors import InputError

RGB = tuple[float, float, float]

IGNORED = 255
"""The id of pixels that count in no loss and no score.

The one rule, for whatever reads labels: an id that is no class of the label set is ignored. Readers of data sets and
`arseg prepare` write 255 for it; losses ignore 255 alone, and `targets` makes it of every other id past the classes;
scores leave out all of them. CamVid's Void (11) is a class of `CAMVID_VOID` and, by this rule, ignored under `CAMVID`.
"""

VOID = "void"
"""Name of a class that means "none of the others": networks may predict it, and scores may leave it out."""

IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class LabelSet:
    """Classes and input statistics of one network.

    Attributes:
        name: of the data set; empty where it is not known.
        classes: names, in the order of the ids.
        palette: uint8 `[len(classes) or more, 3]`, RGB; the last row also colours ids past it.
        mean, std: of RGB in 0..1, which images are normalised with: `(image / 255 - mean) / std`.

    Raises `InputError` that names the attribute where it is of another shape, or a deviation is not positive.
    """

    name: str
    classes: tuple[str, ...]
    palette: np.ndarray = field(repr=False, compare=False)
    mean: RGB
    std: RGB

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3:
                raise InputError(f"{name}: expected 3 numbers, one for each of R, G and B, got {len(values)}")
        if not min(self.std) > 0:
            raise InputError(f"std: expected positive numbers, got {self.std}")
        if self.palette.ndim != 2 or self.palette.shape[1] != 3 or len(self.palette) < len(self.classes):
            raise InputError(
                f"palette: expected RGB colours for {len(self.classes)} classes, got an array {self.palette.shape}"
            )

    @staticmethod
    def of(
        count: int,
        *,
        name: str = "",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | np.ndarray | None = None,
    ) -> LabelSet:
        """Of a network with `count` classes; ids past them are black.

        Args:
            classes: names; None: "class 0", …
            palette: RGB colours 0..255, one for each class; None: Pascal VOC's.
        """
        names = _unnamed(count) if classes is None else tuple(classes)
        if len(names) != count:
            raise InputError(f"classes: expected {count} names, as many as the model has logits, got {len(names)}")
        colours = voc_palette(count) if palette is None else [tuple(map(int, colour)) for colour in palette]
        if len(colours) != count:
            raise InputError(f"palette: expected {count} colours, as many as classes, got {len(colours)}")
        if any(len(colour) != 3 or not 0 <= min(colour) <= max(colour) <= 255 for colour in colours):
            raise InputError("palette: expected RGB colours, three numbers from 0 to 255 for each class")
        table = np.array([*colours, (0, 0, 0)], np.uint8)
        return LabelSet(name, names, table, tuple(mean), tuple(std))  # type: ignore[arg-type]

    def __str__(self) -> str:
        """Such as "CamVid's 11 classes"."""
        whose = f"{self.name}'s " if self.name else ""
        return f"{whose}{len(self.classes)} classes"

    @property
    def void(self) -> int | None:
        """The id of the class `VOID`; None where there is none."""
        return self.classes.index(VOID) if VOID in self.classes else None

    @property
    def named(self) -> bool:
        """Whether the classes have names of their own."""
        return self.classes != _unnamed(len(self.classes))

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
            return LabelSet(str(record["name"]), classes, palette, mean, std)  # type: ignore[arg-type]
        except InputError as error:
            raise InputError(f"labels: not a label set ({error})") from error
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"labels: not a label set ({error!r})") from error


def targets(label: np.ndarray, num_classes: int) -> np.ndarray:
    """A label map as a loss takes it: uint8 `[..., H, W]` -> int64, ids from `num_classes` on made `IGNORED`."""
    return np.where(label < num_classes, label, IGNORED).astype(np.int64)


def _unnamed(count: int) -> tuple[str, ...]:
    return tuple(f"class {label}" for label in range(count))


def voc_palette(count: int) -> list[tuple[int, ...]]:
    """Pascal VOC's colours for any number of classes: the bits of a class's number, dealt out to R, G and B in turn."""

    def shade(label: int, channel: int) -> int:
        return sum((label >> 3 * bit + channel & 1) << 7 - bit for bit in range(8))

    return [tuple(shade(label, channel) for channel in range(3)) for label in range(count)]


_CAMVID_CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
_CAMVID_PALETTE = np.array(
    [
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
        (0, 0, 0),
    ],
    dtype=np.uint8,
)
_CAMVID_NORMALIZATION: tuple[RGB, RGB] = (0.39068785, 0.40521392, 0.41434407), (0.29652068, 0.30514979, 0.30080369)
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

CAMVID = LabelSet("CamVid", _CAMVID_CLASSES, _CAMVID_PALETTE, *_CAMVID_NORMALIZATION)
"""CamVid's 11 classes, those of the default network; colours and statistics of RGB are the data set's own."""

CAMVID_VOID = LabelSet("CamVid", (*_CAMVID_CLASSES, VOID), _CAMVID_PALETTE, *_CAMVID_NORMALIZATION)
"""CamVid's 11 classes and Void, which the paper's networks predict as well."""

CITYSCAPES = LabelSet("Cityscapes", _CITYSCAPES_CLASSES, _CITYSCAPES_PALETTE, IMAGENET_MEAN, IMAGENET_STD)
"""Cityscapes' 19 train ids; ImageNet's statistics, as the paper's PSPNet takes them."""

CITYSCAPES_BISENET = LabelSet(
    "Cityscapes", _CITYSCAPES_CLASSES, _CITYSCAPES_PALETTE, (0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115)
)
"""Cityscapes' 19 train ids; the data set's own statistics, as the paper's BiSeNet takes them."""

NORMALIZATIONS: Mapping[str, tuple[RGB, RGB]] = {
    "camvid": (CAMVID.mean, CAMVID.std),
    "imagenet": (CITYSCAPES.mean, CITYSCAPES.std),
    "cityscapes-bise": (CITYSCAPES_BISENET.mean, CITYSCAPES_BISENET.std),
}
"""RGB mean and standard deviation of values in 0..1, by the names that recipes use."""
