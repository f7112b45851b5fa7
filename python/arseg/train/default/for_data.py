"""What the recipes become for other data than CamVid: sizes, steps and streets follow from the labelled frames.

A recipe's own numbers are for CamVid's 367 frames at 480x360. They are carried over so that the same pictures in
another layout get the same recipe.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from arseg.data.cache import BOUND
from arseg.data.prepared import Prepared
from arseg.data.stills import ROWS, Still, camvid_stills, fingerprint
from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import CAMVID, VOID, LabelSet

from .recipes import LARGE, ArRecipe, HrRecipe

if TYPE_CHECKING:
    from arseg.data.datasets import LabelledFrames
    from arseg.data.opened import OpenData

FRAMES = 367
"""Of CamVid's `train`; with other numbers of frames the steps change as their root."""

SHAPES = (0.5, 2.0)
"""Width to height of training views: that of the frames, within these."""

RARE = ("pole", "sign", "fence", "car", "pedestrian", "bicyclist")
"""Classes of CamVid that are pasted from one training image into another."""

RARE_SHARE = 0.05
"""Of the pixels of other data: classes with less are pasted."""

COUNTED = 1000
"""Labels whose pixels are counted, at most; of more, so many evenly spread."""

MEASURED = 500
"""Pictures whose sizes are looked at, at most; of more, so many evenly spread."""

Recipe = TypeVar("Recipe", HrRecipe, ArRecipe)


@dataclass(frozen=True)
class Sizes:
    """Of labelled frames.

    Attributes:
        frames: how many there are.
        height, shape: median height in pixels, and median of width to height.
        pixels: mean of their number.
    """

    frames: int
    height: int
    shape: float
    pixels: float


def sizes_of(frames: LabelledFrames) -> Sizes:
    """Read from the pictures' headers. Raises `InputError` where there is no frame or one cannot be read."""
    return sizes_of_files([frame.image for frame in frames.frames], frames.name)


def sizes_of_files(pictures: Collection[Path], name: str) -> Sizes:
    """The same of picture files; `name` is that of the data, for messages."""
    if not len(pictures):
        raise InputError(f"{name}: no labelled frame to train on")
    found, paths = [], list(pictures)
    for index in spread(len(paths), MEASURED):
        path = paths[index]
        try:
            with Image.open(path) as file:
                found.append((file.height, file.width))
        except (OSError, SyntaxError) as error:
            raise InputError(f"{path}: cannot be read as a picture ({error})") from error
    heights, widths = np.array(found, float).T
    return Sizes(
        len(paths), int(np.median(heights)), float(np.median(widths / heights)), float((heights * widths).mean())
    )


def spread(count: int, most: int) -> list[int]:
    """Indices of at most `most` of `count`, evenly spread."""
    return list(range(count)) if count <= most else [index * count // most for index in range(most)]


def is_camvid(labels: LabelSet) -> bool:
    """Whether the classes are CamVid's 11, which the synthetic streets have, too."""
    return labels.classes == CAMVID.classes


def hr_for(
    recipe: HrRecipe, data: OpenData | None, height: int | None = None, prepared: Path | None = None
) -> HrRecipe:
    """Phase 1's recipe for these data. CamVid has the recipe as it stands, but under another height.

    `height`: at which a network was made to see frames; a recipe that says one keeps its own. `prepared`: phase 2's.
    """
    if data is None or (data.layout == "camvid" and (recipe.height or not height)):
        return recipe
    sizes = sizes_of(data.frames("train"))
    made = recipe.height or recipe.rows
    seen = recipe.height or height or min(sizes.height, made)
    new = _scaled(recipe, sizes, made, seen, min(sizes.height, seen))
    new = replace(new, height=seen, steps=_steps(recipe.steps, sizes))
    return new if is_camvid(data.labels) else replace(new, street_scenes=0, street_share=0.0)


def ar_for(
    recipe: ArRecipe, data: OpenData | None, height: int | None = None, prepared: Path | None = None
) -> ArRecipe:
    """Phase 2's recipe for these data under a network that sees frames at `height`; None: as they are.

    `prepared`: a folder of `arseg prepare`, whose frames stay as large as they are; stills are shrunk to them.
    """
    if prepared is None:
        if data is None or data.layout == "camvid":
            return recipe
        sizes = sizes_of(data.frames("train"))
        seen = height or min(sizes.height, ROWS)
        rows = min(sizes.height, seen)
        streets = is_camvid(data.labels)
    else:
        found = Prepared(prepared)
        sizes = sizes_of_files({item.name: item.label for item in found.items}.values(), f"{prepared}")
        seen, rows = height or sizes.height, sizes.height
        streets = tuple(name for name in found.classes if name != VOID) == CAMVID.classes
        if data is not None:
            sizes = replace(sizes, frames=len(data.frames("train")))
    new = _scaled(recipe, sizes, LARGE.height, seen, rows)
    new = replace(new, low_steps=_steps(recipe.low_steps, sizes), steps=_steps(recipe.steps, sizes))
    return new if streets else replace(new, streets=0, street_share=0.0)


def _scaled(recipe: Recipe, sizes: Sizes, made: int, seen: int, rows: int) -> Recipe:
    """Views of the same part of a frame and the same magnification, for frames that are seen at `seen` rows.

    `made`: the rows at which frames are seen that the recipe's numbers are for; `rows`: of the frames as they are kept.
    """
    scale = (seen / rows) / (made / recipe.rows)
    shape = min(max(sizes.shape, SHAPES[0]), SHAPES[1])
    height = recipe.crop[0] / made * seen
    low, high = (factor * scale for factor in recipe.scales)
    return replace(recipe, rows=rows, crop=(_side(height), _side(height * shape)), scales=(low, high))


def _side(pixels: float) -> int:
    return max(64, 32 * round(pixels / 32))


def _steps(steps: int, sizes: Sizes) -> int:
    return steps and max(1, round(steps * math.sqrt(sizes.frames / FRAMES)))


def with_epochs(recipe: Recipe, frames: int) -> Recipe:
    """The recipe with as many steps as its passes over `frames` labelled ones take, where it counts in passes."""
    if not recipe.epochs:
        return recipe
    batches = {"steps": "batch", "low_steps": "low_batch"}
    known = {field.name for field in fields(recipe)}
    taken = {
        steps: math.ceil(recipe.epochs * frames / getattr(recipe, batch))
        for steps, batch in batches.items()
        if steps in known and getattr(recipe, steps)
    }
    return replace(recipe, **taken)  # type: ignore[arg-type]


def training_stills(data: OpenData, rows: int) -> Sequence[Still]:
    """The stills of `train`, a list in memory where they fit into `BOUND` bytes, else read when they are asked for.

    Raises `InputError` where there is none.
    """
    if data.layout == "camvid":
        return camvid_stills(data.root, rows=rows)  # ignored pixels are 11 there, as old runs have it
    sizes = sizes_of(data.frames("train"))
    stills = data.stills("train", rows)
    pixels = sizes.pixels * min(1.0, rows / sizes.height) ** 2
    return list(stills) if sizes.frames * pixels * 4 <= BOUND else stills


@dataclass(frozen=True)
class Census:
    """How many pixels of each id the labels have: int64 `counts[i]`, `[256]`, of the still `indices[i]`."""

    indices: np.ndarray
    counts: np.ndarray

    @staticmethod
    def of(stills: Sequence[Still]) -> Census:
        """Of at most `COUNTED` stills, evenly spread."""
        indices = spread(len(stills), COUNTED)
        counts = np.stack([np.bincount(stills[index][1].ravel(), minlength=256) for index in indices])
        return Census(np.array(indices), counts)

    def pixels(self, labels: LabelSet) -> np.ndarray:
        """Of each class, int64 `[classes]`; raises `InputError` where no pixel is of a class."""
        found = self.counts[:, : len(labels.classes)].sum(0)
        if not found.any():
            raise InputError(f"data: no pixel of `train` is of one of {labels}; look at it with `arseg data check`")
        return found

    def rare(self, labels: LabelSet, names: Sequence[str] | None) -> list[int]:
        """Ids of the classes that are pasted: those of these names, or what is rare.

        Raises `InputError` for a name that is no class.
        """
        if names is None and is_camvid(labels):
            names = RARE
        if names is not None:
            wrong = [name for name in names if name not in labels.classes]
            if wrong:
                raise InputError(f"rare: {wrong[0]!r} is no class; expected some of {', '.join(labels.classes)}")
            return [labels.classes.index(name) for name in names]
        pixels = self.pixels(labels)
        few = (pixels > 0) & (pixels < RARE_SHARE * pixels.sum())
        return [int(c) for c in np.flatnonzero(few) if labels.classes[c] != VOID]


def check_classes(labels: LabelSet) -> None:
    """Raises `InputError` where there is nothing to tell apart."""
    if len(labels.classes) < 2:
        raise InputError(
            f"data: expected at least 2 classes, got {', '.join(labels.classes) or 'none'}; what is not of a class "
            "needs one of its own, such as background"
        )


def given_or_counted(data: OpenData, census: Census, labels: LabelSet | None = None) -> Any:
    """float32 `[classes]`: the loss's class weights, of the data's author or from the numbers of pixels.

    `labels`: the network's, which may have Void besides; None: the data's.
    """
    import torch

    from arseg.train.losses import weights_of_counts

    labels = labels or data.labels
    if data.class_weights is None or len(labels.classes) > len(data.class_weights):
        return weights_of_counts(census.pixels(labels))
    return torch.tensor(data.class_weights, dtype=torch.float32)


def opened(data: OpenData | StrPath) -> OpenData:
    """The data; CamVid in that folder where it is a path."""
    from arseg.data.opened import open_data

    return open_data(f"camvid:{data}") if isinstance(data, (str, os.PathLike)) else data


def data_settings(data: OpenData, stills: Sequence[Still]) -> int | str:
    """What tells a run from one on other data: of the pixels where they are in memory, as old runs have it."""
    if not isinstance(stills, list):
        return data.fingerprint()
    pixels = fingerprint(stills)
    return pixels if data.class_weights is None else f"{pixels}, weights {list(data.class_weights)}"
