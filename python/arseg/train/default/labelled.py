"""What phase 2 has labels for: a data set's stills, the frames before them, and prepared videos."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from torch import Tensor

from arseg.data.cache import Kept
from arseg.data.prepare import MANIFEST
from arseg.data.prepared import Prepared, read_label
from arseg.data.stills import Still
from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import VOID, LabelSet
from arseg.train.losses import weights_of_counts

from .for_data import Census, data_settings, given_or_counted, is_camvid, opened, training_stills, with_epochs
from .pairs import Clips, training_clips
from .recipes import ArRecipe
from .stills import Donors

if TYPE_CHECKING:
    from arseg.data.opened import OpenData


@dataclass(frozen=True)
class Labelled:
    """Labelled frames, and what follows from them.

    Attributes:
        data, prepared: where they come from; at least one of them.
        labels: the classes, with the statistics that the teacher's input is normalised with.
        stills: single frames.
        size: height and width of the clips that are made.
        weights: float32 `[classes]`, of the loss.
        donors: of rare things among the stills.
        settings: what tells these data from others.
    """

    data: OpenData | None
    prepared: Prepared | None
    labels: LabelSet
    stills: Sequence[Still]
    size: tuple[int, int]
    weights: Tensor
    donors: Donors
    settings: int | str

    @staticmethod
    def of(
        data: OpenData | StrPath | None, prepared: StrPath | None, teacher: LabelSet | None, recipe: ArRecipe
    ) -> Labelled:
        """Opens both; `teacher`: the label set of the frozen network, None where its file does not say.

        Raises `InputError` where their classes are not the teacher's.
        """
        found = None if data is None else opened(data)
        folder = None if prepared is None else Prepared(prepared)
        if found is not None:
            labels = _agreed(teacher, found.labels, "data")
            stills = training_stills(found, recipe.rows)
            settings = data_settings(found, stills)
        else:
            assert folder is not None
            classes = folder.classes
            own = LabelSet.of(
                len(classes), name=folder.dataset, classes=classes, palette=folder.palette[: len(classes)]
            )
            labels = _agreed(teacher, own, f"{folder.folder}")
            stills = _stills_of(folder)
            settings = _fingerprint(folder)
        if folder is not None and found is not None:
            _agreed(teacher, replace(labels, classes=folder.classes), f"{folder.folder}")
        census = Census.of(stills)
        donors = Donors(stills, census.rare(labels, recipe.rare), census=census)
        weights = weights_of_counts(census.pixels(labels)) if found is None else given_or_counted(found, census, labels)
        return Labelled(found, folder, labels, stills, _size(stills), weights, donors, settings)

    @property
    def prepared_settings(self) -> str | None:
        """What tells the prepared folder from others."""
        return None if self.prepared is None else _fingerprint(self.prepared)

    def recipe(self, recipe: ArRecipe) -> ArRecipe:
        """The recipe with the steps that its passes take, and streets only where they have these classes."""
        recipe = with_epochs(recipe, len(self.stills))
        return recipe if is_camvid(self.labels) else replace(recipe, streets=0, street_share=0.0)

    def clips(self, folder: Path, videos: Sequence[Path], recipe: ArRecipe, report: Callable[[str], None]) -> Clips:
        """See `training_clips`."""
        frames: Any = None if self.data is None else self.data.frames("train")
        return training_clips(self.stills, folder, videos, recipe, report, self.size, frames, self.prepared)


def _agreed(teacher: LabelSet | None, own: LabelSet, where: str) -> LabelSet:
    """The teacher's label set, or `own` where it has none; `InputError` where the classes are others."""
    if teacher is None:
        return own
    theirs = [name for name in teacher.classes if name != VOID]
    if len(theirs) != len([name for name in own.classes if name != VOID]):
        raise InputError(f"{where}: {own}, but the teacher was trained on {teacher}; train it on these data first")
    differing = [(a, b) for a, b in zip(teacher.classes, own.classes, strict=False) if a != b]
    if teacher.named and own.named and differing:
        raise InputError(
            f"{where}: a class is {differing[0][1]} where the teacher has {differing[0][0]}; train it on these data "
            "first, or name the classes as it has them"
        )
    return teacher


def _size(stills: Sequence[Still]) -> tuple[int, int]:
    """The stills' own size where all have the same; else the median one, in multiples of 8."""
    shapes = {still[1].shape for still in stills} if isinstance(stills, list) else set()
    if len(shapes) == 1:
        height, width = shapes.pop()
        return int(height), int(width)
    some = [stills[index][1].shape for index in range(0, len(stills), max(1, len(stills) // 100))]
    heights, widths = np.array(some, float).T
    height = 8 * round(float(np.median(heights)) / 8)
    return max(8, height), max(8, 8 * round(height * float(np.median(widths / heights)) / 8))


def _stills_of(prepared: Prepared) -> Sequence[Still]:
    """The labelled frames of a prepared folder, each once, as they were before compression."""
    items = list({item.name: item for item in prepared.items}.values())

    def load(index: int) -> Still:
        item = items[index]
        try:
            with Image.open(item.image) as file:
                return np.asarray(file.convert("RGB")), read_label(item)
        except OSError as error:
            raise InputError(f"{item.image}: cannot be read ({error}); prepare the data again") from error

    stills = Kept(len(items), load, lambda still: still[0].nbytes + still[1].nbytes)
    return stills


def _fingerprint(prepared: Prepared) -> str:
    return f"{prepared.dataset} {zlib.crc32((prepared.folder / MANIFEST).read_bytes()):08x}"
