"""A data set of one's own: a folder with `images/`, `labels/`, `classes.json` and, where there is one, a split.

Labels are pictures of ids or of colours, or polygons in the JSON that annotation tools export. A split is `val/` (with
`images/` and `labels/` of its own), `images/train` and `images/val`, `split.txt`, or what `splits.made_split` makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import IMAGENET_MEAN, IMAGENET_STD, LabelSet

from .classes import FILES, Classes, find_classes, read_classes
from .datasets import DataSet, LabelledFrame, LabelledFrames, Void, open_picture, read_image
from .pictures import Stored, ids_of, stored_values
from .splits import SPLITS, made_split, read_splits

IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
LABEL_ENDINGS = IMAGE_ENDINGS - {".jpg", ".jpeg"} | {".gif"}  # a lossy file has other values than were saved

EXPECTED = "images/ with labels/ beside it, both in the folder itself or in train/ and val/, and classes.json"


@dataclass(frozen=True)
class Picture:
    """An image of a split: its file, and its name in `images/`, with folders and without the ending."""

    path: Path
    name: str


@dataclass(frozen=True)
class Part:
    """A pair of folders: the pictures in one, the labels beside it, and the split that they are; None: not said."""

    images: Path
    labels: Path
    split: str | None


def parts_of(root: Path) -> list[Part]:
    """The pairs of folders that a data set's folder has; none where it has no pictures of this layout."""
    found = []
    images, labels = root / "images", root / "labels"
    inner = [split for split in SPLITS if (images / split).is_dir()]
    if inner:
        found += [Part(images / split, labels / split, split) for split in inner]
    elif images.is_dir():
        outer = any((root / split / "images").is_dir() for split in SPLITS)
        found.append(Part(images, labels, "train" if outer else None))
    for split in SPLITS:
        if (root / split / "images").is_dir():
            if any(part.split == split for part in found):
                raise InputError(f"{root}: {split} is both in images/ and in {split}/images; keep one of them")
            found.append(Part(root / split / "images", root / split / "labels", split))
    return found


def files_below(folder: Path, endings: frozenset[str]) -> list[Path]:
    """Files with one of these endings in a folder and those in it, by name; hidden ones are left out."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.rglob("*") if path.suffix.lower() in endings and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def pictures_of(part: Part) -> list[Picture]:
    """All pictures of a part, labelled or not; `InputError` where two differ in their endings alone."""
    found: dict[str, Picture] = {}
    for path in files_below(part.images, IMAGE_ENDINGS):
        name = path.relative_to(part.images).with_suffix("").as_posix()
        if name in found:
            raise InputError(f"{path}: {found[name].path.name} has the same name; rename one of them, and its label")
        found[name] = Picture(path, name)
    return list(found.values())


def labels_of(part: Part, pictures: Sequence[Picture]) -> dict[str, Path]:
    """The label picture of each image, by the image's name: the same name, or with `_L`, `_mask`, … after it."""
    stored = {
        path.relative_to(part.labels).with_suffix("").as_posix(): path
        for path in files_below(part.labels, LABEL_ENDINGS)
    }
    found = {picture.name: stored.pop(picture.name) for picture in pictures if picture.name in stored}
    if not stored:
        return found
    # What is left over belongs to the image with the longest name that it begins with, if it is the only one.
    longer: dict[str, list[Path]] = {}
    claimed: set[Path] = set()
    for name, path in stored.items():
        for place in range(len(name) - 1, 0, -1):
            if name[place] in "_-.":
                longer.setdefault(name[:place], []).append(path)
    for name in sorted((picture.name for picture in pictures), key=len, reverse=True):
        left = [path for path in longer.get(name, ()) if path not in claimed]
        if name not in found and len(left) == 1:
            found[name] = left[0]
            claimed.add(left[0])
    return found


class FolderFrames(LabelledFrames):
    """Frames whose labels are read as the folder's classes say."""

    def __init__(self, classes: Classes, frames: Sequence[LabelledFrame]):
        super().__init__(classes.labels.name, classes.labels.classes, palette_of(classes.labels), frames, np.asarray)
        self.meaning = classes

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        frame = self.frames[index]
        image, label = read_image(frame.image), self.label(frame)
        return upright(frame, image, label.shape), label

    def stored(self, frame: LabelledFrame) -> Stored:
        """A label picture's values as they are in the file."""
        with open_picture(frame.label) as file:
            try:
                return stored_values(file, self.meaning)
            except InputError as error:
                raise InputError(f"{frame.label}: {error}") from None

    def label(self, frame: LabelledFrame) -> np.ndarray:
        return ids_of(self.stored(frame), self.meaning)


def upright(frame: LabelledFrame, image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The image as large as its label; turned as its EXIF says where that makes it so, for many tools label it so."""
    if image.shape[:2] == size:
        return image
    if image.shape[1::-1] == size:
        with Image.open(frame.image) as file:
            turns = {5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}.get(file.getexif().get(0x0112, 1))
        if turns is not None:
            turned = np.rot90(image, turns[0])
            return np.ascontiguousarray(turned[::-1] if turns[1] else turned)
    raise InputError(
        f"{frame.label}: expected the size of {frame.image.name}, {image.shape[1]}x{image.shape[0]}, "
        f"got {size[1]}x{size[0]}"
    )


def palette_of(labels: LabelSet) -> np.ndarray:
    """uint8 `[classes, 3]`, without the colour of what is past them."""
    return labels.palette[: len(labels.classes)]


class OpenedFolder(DataSet):
    """The data set in one folder."""

    def __init__(self, root: Path):
        self.root = root
        path = find_classes(root)
        if path is None:
            raise InputError(f"{root}: has none of {', '.join(FILES)}; write the names of the classes into one")
        self.meaning = read_classes(path)
        self.labels = self.meaning.labels
        self.class_weights = self.meaning.weights
        self.split_by, self._frames = self._split()

    def frames(
        self, root: StrPath, split: str = "train", *, sequences: StrPath | None = None, void: Void = "count"
    ) -> LabelledFrames:
        if split not in self._frames:
            raise FileNotFoundError(
                f"{self.root}: has no {split}, only {' and '.join(self._frames)}; add {split}/ with images/ and "
                "labels/, or name its pictures in split.txt"
            )
        return FolderFrames(self.meaning, self._frames[split])

    def _split(self) -> tuple[str, dict[str, list[LabelledFrame]]]:
        parts = parts_of(self.root)
        labelled = {part: self._labelled(part) for part in parts}
        given = {part.split: frames for part, frames in labelled.items() if part.split is not None}
        listing = self.root / "split.txt"
        if "val" in given:
            if listing.is_file():
                raise InputError(f"{listing}: there is a folder of val, too; keep one of them")
            found = {split: list(given[split].values()) for split in SPLITS if split in given}
            return f"by folders: {', '.join(found)}", self._checked(found)
        (part,) = [part for part in parts if part.split in (None, "train")] or [parts[0]]
        frames = labelled[part]
        names = [picture.name for picture in pictures_of(part)]
        if listing.is_file():
            of_name, how = read_splits(listing, names), f"by {listing.name}"
        else:
            if len(frames) < 2:
                raise InputError(
                    f"{part.images}: expected at least 2 pictures with labels in {part.labels}, got {len(frames)}"
                )
            of_name, how = made_split(list(frames))
        found = {
            split: [frame for name, frame in frames.items() if of_name[name] == split]
            for split in SPLITS
            if split in of_name.values()
        }
        if "test" in given:
            found["test"] = list(given["test"].values())
        return how, self._checked(found)

    def _checked(self, found: dict[str, list[LabelledFrame]]) -> dict[str, list[LabelledFrame]]:
        for split in ("train", "val"):
            if not found.get(split):
                raise InputError(f"{self.root}: no labelled picture is in {split}; expected {EXPECTED}")
        return found

    def _labelled(self, part: Part) -> dict[str, LabelledFrame]:
        """The labelled frames of a part by their pictures' names."""
        pictures = pictures_of(part)
        labels = labels_of(part, pictures)
        return {
            picture.name: LabelledFrame(picture.name.replace("/", "-"), picture.path, labels[picture.name])
            for picture in pictures
            if picture.name in labels
        }


class Folder(DataSet):
    """The layout of data sets of one's own."""

    labels = LabelSet("", (), np.zeros((0, 3), np.uint8), IMAGENET_MEAN, IMAGENET_STD)

    def is_in(self, root: Path) -> bool:
        return bool(parts_of(root))

    def opened(self, root: Path) -> DataSet:
        if not self.is_in(root):
            raise FileNotFoundError(f"{root}: expected {EXPECTED}")
        return OpenedFolder(root)

    def frames(
        self, root: StrPath, split: str = "train", *, sequences: StrPath | None = None, void: Void = "count"
    ) -> LabelledFrames:
        return self.opened(Path(root)).frames(root, split)
