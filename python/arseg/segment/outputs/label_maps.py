"""Label maps: a folder with one PNG of class ids a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from arseg.files import new_folder
from arseg.labels import LabelSet
from arseg.segment.draw import indexed
from arseg.segment.result import SegmentedFrame
from arseg.video import VideoReader
from arseg.video.properties import VideoProperties

from .base import FOLDER, OUTPUTS, Output, Write


@OUTPUTS.register("labels")
class LabelMaps(Output):
    """`000000.png`, … (of pictures, their names) in a new or empty folder, at each frame's own size."""

    chosen_by = (FOLDER,)
    is_folder = True
    needs_pictures = False

    @contextmanager
    def opened(self, reader: VideoReader | VideoProperties, label_set: LabelSet) -> Iterator[Write]:
        name = namer(reader)
        with new_folder(self.target) as folder:
            yield lambda result: save_labels(folder, name(result), result.labels, label_set.palette)


def namer(reader: VideoReader | VideoProperties) -> Callable[[SegmentedFrame], str]:
    """What gives the name of a frame's file, without its ending."""
    names = getattr(reader, "names", None)

    def name(result: SegmentedFrame) -> str:
        return f"{result.index:06d}" if names is None else str(names[result.index])

    return name


def save_labels(folder: Path, index: int | str, labels: np.ndarray, palette: np.ndarray) -> None:
    """`000000.png`, ...: class ids as a palette picture, so that viewers show the data set's colours.

    Args:
        index: of the frame, or the name of its file.
        labels: uint8 `[H, W]`.
        palette: uint8 `[K, 3]`, RGB.
    """
    name = index if isinstance(index, str) else f"{index:06d}"
    indexed(labels, palette).save(folder / f"{name}.png")
