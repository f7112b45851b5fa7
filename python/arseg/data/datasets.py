"""Labelled frames of the published data sets, as ids of classes, with the frames before them.

Labels are read as uint8 ids of the data set's classes; 255 (`arseg.labels.IGNORED`) is every pixel without one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import LabelSet
from arseg.pictures import as_rgb

from .splits import runs_of

Void = Literal["count", "ignore"]
"""What becomes of CamVid's Void, class 11: a class as the others, as in the paper, or ignored."""


@dataclass(frozen=True)
class LabelledFrame:
    """One labelled frame.

    Attributes:
        name: unique in its data set, fit for a file name.
        image: the frame as distributed.
        label: its label picture.
        frames: a run of consecutive frames that holds it; empty where none is known.
        index: its place in `frames`.
    """

    name: str
    image: Path
    label: Path
    frames: tuple[Path, ...] = ()
    index: int = 0


class LabelledFrames:
    """Labelled frames of one split in the order of their names.

    Attributes:
        name: of the data set.
        classes: names of the classes, in the order of their ids.
        palette: uint8 `[classes, 3]`, a colour for each.
        frames: what there is.

    Indexing gives `(image, label)`: uint8 `[H, W, 3]` RGB and uint8 `[H, W]`.
    """

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        palette: np.ndarray,
        frames: Sequence[LabelledFrame],
        to_ids: Callable[[np.ndarray], np.ndarray],
    ):
        self.name, self.classes, self.palette = name, tuple(classes), palette
        self.frames = list(frames)
        self._to_ids = to_ids

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        frame = self.frames[index]
        image, label = read_image(frame.image), self.label(frame)
        if image.shape[:2] != label.shape:
            raise InputError(
                f"{frame.label}: expected the size of {frame.image.name}, {image.shape[1]}x{image.shape[0]}, "
                f"got {label.shape[1]}x{label.shape[0]}"
            )
        return image, label

    def _in_colours(self, file: Image.Image) -> bool:
        """Whether a palette picture means its colours: all that it uses are the data set's, and in another order."""
        if file.mode != "P":
            return False
        table = np.array(file.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        used = np.unique(np.asarray(file)).tolist()
        if max(used) >= len(table):
            return False
        known = {tuple(colour): index for index, colour in enumerate(self.palette.tolist())}
        meant = [known.get(tuple(table[index].tolist())) for index in used]
        return None not in meant and meant != used

    def label(self, frame: LabelledFrame) -> np.ndarray:
        """uint8 `[H, W]`, ids of classes and 255."""
        with open_picture(frame.label) as file:
            stored = np.asarray(file.convert("RGB") if self._in_colours(file) else file)
        try:
            return self._to_ids(stored)
        except InputError as error:
            raise InputError(f"{frame.label}: {error}") from None


class DataSet(ABC):
    """A data set: an entry of `arseg.data.registry.DATA_SETS`. A new one is a subclass with `labels` and `frames`.

    Attributes:
        labels: its classes; the name in it is the one that messages use.
        rate: frames a second of the videos that `arseg prepare` makes of it.
        bitrate: bits a second of them.
        run_rate: frames a second of a split that is a video labelled frame by frame.
        class_weights: of the loss, one for each class; None: training computes them.
        split_by: how train and val are told apart, in a sentence.
    """

    labels: LabelSet
    rate: float = 30
    bitrate: float = 3e6
    run_rate: float = 15
    class_weights: tuple[float, ...] | None = None
    split_by: str = "as the data set comes"

    def is_in(self, root: Path) -> bool:
        """Whether a folder has this data set's layout; False of those that are only opened by name."""
        return False

    def opened(self, root: Path) -> DataSet:
        """The data set as that folder has it: itself, where classes and splits are the same in every one."""
        return self

    def is_consecutive(self, root: StrPath, split: str = "val") -> bool:
        """Whether a split is known to be a video labelled frame by frame, in the order of its names."""
        return False

    @abstractmethod
    def frames(
        self, root: StrPath, split: str = "train", *, sequences: StrPath | None = None, void: Void = "count"
    ) -> LabelledFrames:
        """The labelled frames of a split.

        Args:
            root: the data set's folder.
            split: "train", "val", "test".
            sequences: folder with the frames around the labelled ones; None: where the data set has them itself.
            void: what becomes of the class `arseg.labels.VOID`, where there is one.

        Raises `FileNotFoundError` that names what is missing and what was expected.
        """

    def frames_in_videos(
        self,
        root: StrPath,
        split: str,
        sequences: StrPath | None,
        *,
        folder: Path,
        gop: int,
        stream: int | None = None,
        report: Callable[[str], None] | None = None,
    ) -> LabelledFrames:
        """`frames` with the frames around them, as `arseg prepare` needs them.

        Args:
            folder: frames that are cut out of video files lie beside it.
            gop: how many frames before and after a labelled one are needed.
            stream: which of several video streams, as for `VideoReader`.
            report: called with a sentence where one of several was taken.
        """
        return self.frames(root, split, sequences=sequences)

    def meaning_of_labels(self) -> str:
        """What stored values mean, and what classes weigh, where a file beside the data says it, as text."""
        return ""

    def labelled_run(self, root: StrPath, split: str = "val") -> LabelledFrames:
        """`frames` of a split that is one or several videos labelled frame by frame."""
        return labelled_run(self.frames(root, split))

    def stills(self, root: StrPath, split: str = "train") -> list[tuple[np.ndarray, np.ndarray]]:
        """A whole split in memory: `(image, label)`, uint8 `[H, W, 3]` RGB and uint8 `[H, W]`."""
        data = self.frames(root, split)
        return [data[index] for index in range(len(data))]


def labelled_run(data: LabelledFrames) -> LabelledFrames:
    """The same frames, each with its video as its run, for a split that is videos labelled frame by frame."""
    found = copy(data)  # which reads its labels in its own way
    found.frames = []
    for run in runs_of([frame.image for frame in data.frames]):
        paths = tuple(data.frames[place].image for place in run)
        found.frames += [replace(data.frames[place], frames=paths, index=index) for index, place in enumerate(run)]
    return found


def read_image(path: Path) -> np.ndarray:
    """uint8 `[H, W, 3]` RGB."""
    with open_picture(path) as file:
        try:
            return as_rgb(file)
        except ValueError as error:
            raise InputError(f"{path}: cannot be read as a picture ({error})") from None


@contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """A picture, decoded; `InputError` names the file where that cannot be."""
    try:
        file = Image.open(path)
        file.load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # SyntaxError: Pillow's for broken PNGs
        raise InputError(f"{path}: cannot be read as a picture ({error})") from error
    with file:
        yield file


def picture_files(folder: Path, what: str) -> list[Path]:
    """The pictures of a folder in the order of their names; one sentence where there is none.

    `what`: what the folder is expected to hold, for the sentence.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected {what}")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not found:
        raise FileNotFoundError(f"{folder}: no .png or .jpg in it; expected {what}")
    return found
