"""Label maps: a folder with one PNG of class ids a frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from arseg.files import new_folder
from arseg.labels import LabelSet
from arseg.segment.draw import indexed
from arseg.video import VideoReader

from .base import OUTPUTS, Output, Write


@OUTPUTS.register("labels")
class LabelMaps(Output):
    """`000000.png`, … in a new or empty folder, in the coded orientation and at each frame's own size."""

    @contextmanager
    def opened(self, reader: VideoReader, label_set: LabelSet) -> Iterator[Write]:
        with new_folder(self.target) as folder:
            yield lambda result: save_labels(folder, result.index, result.labels, label_set.palette)


def save_labels(folder: Path, index: int, labels: np.ndarray, palette: np.ndarray) -> None:
    """`000000.png`, ...: class ids as a palette picture, so that viewers show the data set's colours.

    Args:
        labels: uint8 `[H, W]`.
        palette: uint8 `[K, 3]`, RGB.
    """
    indexed(labels, palette).save(folder / f"{index:06d}.png")
