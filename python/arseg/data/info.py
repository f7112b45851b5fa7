"""What a network's input and output mean: normalisation, class names, colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from arseg.errors import InputError

from . import camvid

Colour = tuple[int, int, int]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class DataInfo:
    """Of the data that a network was trained on.

    Attributes:
        mean, std: RGB statistics for `(image / 255 - mean) / std`.
        classes: names, in the order of the logits.
        palette: RGB colours 0..255, one for each class; a label that is no class is black.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3:
                raise InputError(f"{name}: expected 3 numbers, one for each of R, G and B, got {len(values)}")
        if min(self.std) <= 0:
            raise InputError(f"std: expected positive numbers, got {self.std}")
        if len(self.palette) != len(self.classes):
            raise InputError(
                f"palette: expected {len(self.classes)} colours, as many as classes, got {len(self.palette)}"
            )

    @property
    def colours(self) -> np.ndarray:
        """uint8 `[classes + 1, 3]`, the last one for labels that are no class."""
        return np.array([*self.palette, (0, 0, 0)], np.uint8)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> DataInfo:
        colours = tuple((int(r), int(g), int(b)) for r, g, b in record["palette"])
        return cls(tuple(record["mean"]), tuple(record["std"]), tuple(record["classes"]), colours)


def voc_palette(count: int) -> tuple[Colour, ...]:
    """Pascal VOC's colours for any number of classes: the bits of a class's number, dealt out to R, G and B in turn."""

    def colour(label: int) -> Colour:
        shades = [sum((label >> 3 * bit + channel & 1) << 7 - bit for bit in range(8)) for channel in range(3)]
        return shades[0], shades[1], shades[2]

    return tuple(colour(label) for label in range(count))


def data_info(
    count: int,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    classes: Sequence[str] | None = None,
    palette: Sequence[Sequence[int]] | None = None,
) -> DataInfo:
    """Of a network with `count` classes; names and colours that are not given are "class 0", … and Pascal VOC's."""
    names = tuple(f"class {label}" for label in range(count)) if classes is None else tuple(classes)
    if len(names) != count:
        raise InputError(f"classes: expected {count} names, as many as the model has logits, got {len(names)}")
    if palette is None:
        colours = voc_palette(count)
    else:
        colours = tuple((int(r), int(g), int(b)) for r, g, b in palette)
    return DataInfo(tuple(mean), tuple(std), names, colours)


CAMVID = DataInfo(
    camvid.MEAN, camvid.STD, camvid.CLASSES, tuple((int(r), int(g), int(b)) for r, g, b in camvid.PALETTE[:-1])
)
