"""A data set of one's own: a folder with `images/`, `labels/`, `classes.json` and, where there is one, a split.

Labels are pictures of ids or of colours, or polygons in the JSON that annotation tools export. A split is `val/` (with
`images/` and `labels/` of its own), `images/train` and `images/val`, `split.txt`, or what `splits.made_split` makes.
Where labelled images are frames of videos, `sequences/` may have a folder with the frames of each.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import IGNORED, IMAGENET_MEAN, IMAGENET_STD, LabelSet

from .annotations import Drawing, Region, annotated_categories, drawn, read_annotations
from .classes import FILES, Classes, Colour, classes_of, find_classes, read_classes
from .datasets import DataSet, LabelledFrame, LabelledFrames, Void, open_picture, read_image
from .folder_files import (
    ANNOTATION_ENDINGS,
    LABEL_ENDINGS,
    LOSSY_ENDINGS,
    Named,
    Part,
    Picture,
    annotation_files,
    files_below,
    files_beside,
    labels_of,
    parts_of,
    pictures_of,
)
from .pictures import Stored, ids_of, stored_values, strangers
from .sequences import Sequences
from .splits import SPLITS, made_split, read_splits

EXPECTED = "images/ with labels/ beside it, both in the folder itself or in train/ and val/, and classes.json"

ORIENTATION = 0x0112
"""EXIF's tag of how a picture is to be turned and mirrored when it is shown: 1 to 8, and 1 is as it is stored."""

Stranger = int | Colour | str
"""An id, a colour or a name of a region that no class has."""


class FolderFrames(LabelledFrames):
    """Frames whose labels are read as the folder's classes say.

    Attributes:
        meaning: those classes.
        drawings: of images whose label is in a file of annotations.
    """

    def __init__(self, classes: Classes, frames: Sequence[LabelledFrame], drawings: Mapping[Path, Drawing]):
        super().__init__(classes.labels.name, classes.labels.classes, palette_of(classes.labels), frames, np.asarray)
        self.meaning, self.drawings = classes, drawings
        self._ids = region_ids(classes)

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
        if frame.label.suffix.lower() not in ANNOTATION_ENDINGS:
            return ids_of(self.stored(frame), self.meaning)
        drawing = self.drawing(frame)
        background = IGNORED if self.meaning.background is None else self.meaning.background
        try:
            return drawn(drawing, drawing.size or upright_size(frame.image), self._ids, background)
        except (ValueError, TypeError, IndexError, KeyError) as error:
            raise InputError(f"{frame.label}: a region of {frame.image.name} cannot be drawn ({error})") from error

    def drawing(self, frame: LabelledFrame) -> Drawing:
        """What was drawn on an image."""
        return self.drawings.get(frame.image) or drawing_of(frame)

    def regions(self, frame: LabelledFrame) -> Sequence[Region]:
        """The regions of an image; none where its label is a picture."""
        return self.drawing(frame).regions if frame.label.suffix.lower() in ANNOTATION_ENDINGS else ()

    def strangers(self, frame: LabelledFrame) -> dict[Stranger, int]:
        """Ids, colours or names that are neither a class's nor ignored on purpose: pixels, or regions, of each."""
        if frame.label.suffix.lower() not in ANNOTATION_ENDINGS:
            return dict(strangers(self.stored(frame), self.meaning))  # type: ignore[arg-type]
        return Counter(region.name for region in self.regions(frame) if region.id(self._ids) is None)


def region_ids(classes: Classes) -> dict[str, int]:
    """The place of each class, and 255 of what is ignored on purpose, by the names that regions have."""
    names = {name: place for place, name in enumerate(classes.labels.classes)}
    other_case = {name.casefold(): place for name, place in names.items()}
    return {**other_case, **dict.fromkeys(classes.ignored_names, IGNORED), **names}


def drawing_of(frame: LabelledFrame) -> Drawing:
    """The one drawing of a file that belongs to one image, as LabelMe's do."""
    found = list(read_annotations(frame.label).values())
    if len(found) != 1:
        raise InputError(f"{frame.label}: expected the annotations of {frame.image.name} alone, got {len(found)}")
    return found[0]


def upright_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image, turned as its EXIF says."""
    try:
        with Image.open(path) as file:
            turned = file.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
            return (file.width, file.height) if turned else (file.height, file.width)
    except (OSError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read as a picture ({error})") from error


def upright(frame: LabelledFrame, image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The image as large as its label; turned as its EXIF says where that makes it so, for many tools label it so."""
    if image.shape[:2] == size:
        return image
    if image.shape[1::-1] == size:
        with Image.open(frame.image) as file:
            turns = {5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}.get(file.getexif().get(ORIENTATION, 1))
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
        self.drawings: dict[Path, Drawing] = {}
        self._files: dict[Path, dict[str, Drawing]] = {}
        self._unmatched: list[tuple[Path, str]] = []
        self.split_by, self._frames = self._split()
        self._files.clear()
        path = find_classes(root)
        self.meaning = self._annotated() if path is None else read_classes(path)
        self.labels = self.meaning.labels
        self.class_weights = self.meaning.weights

    def meaning_of_labels(self) -> str:
        of = self.meaning
        colours = palette_of(of.labels).tolist() if of.has_colours else None
        ignored = sorted(of.ignored_ids), sorted(of.ignored_colours), sorted(of.ignored_names)
        meaning = repr((of.ids, colours, of.weights, ignored, of.background))
        usual = repr((tuple(range(len(of.ids))), None, None, ([IGNORED], [], []), None))
        return "" if meaning == usual else meaning

    def frames(
        self, root: StrPath, split: str = "train", *, sequences: StrPath | None = None, void: Void = "count"
    ) -> LabelledFrames:
        if split not in self._frames:
            raise FileNotFoundError(
                f"{self.root}: has no {split}, only {' and '.join(self._frames)}; add {split}/ with images/ and "
                "labels/, or name its pictures in split.txt"
            )
        frames, own = self._frames[split], self.root / "sequences"
        if sequences is not None or own.is_dir():
            videos = Sequences(own if sequences is None else Path(sequences))
            frames = [videos.around(frame) for frame in frames]
        return FolderFrames(self.meaning, frames, self.drawings)

    def _annotated(self) -> Classes:
        """The classes that files of annotations have, where no file of classes says them."""
        labels = {frame.label for frames in self._frames.values() for frame in frames}
        stored = sorted(path for path in labels if path.suffix.lower() in ANNOTATION_ENDINGS)
        if not stored or len(stored) < len(labels):
            raise InputError(f"{self.root}: has none of {', '.join(FILES)}; write the names of the classes into one")
        names = [name for path in stored for name in annotated_categories(path)]
        return classes_of(list(dict.fromkeys(names)), self.root.resolve().name)

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
        labels = {**self._annotations(part, pictures), **labels_of(part, pictures)}
        of_name = Counter(picture.name.replace("/", "-") for picture in pictures)
        found = {}
        for picture in pictures:
            if picture.name in labels:
                name = picture.name.replace("/", "-")
                if of_name[name] > 1:  # a/b and a-b
                    name += f"-{zlib.crc32(picture.name.encode()):08x}"
                found[picture.name] = LabelledFrame(name, picture.path, labels[picture.name])
        return found

    def _annotations(self, part: Part, pictures: Sequence[Picture]) -> dict[str, Path]:
        """The file of annotations of each image that has one; `drawings` gets those of files for many images."""
        names, by_name = {picture.name for picture in pictures}, Named(pictures)
        found: dict[str, Path] = {}
        for path in [*annotation_files(part), *files_beside(self.root, part)]:
            folder = next((folder for folder in (part.labels, part.images) if folder in path.parents), None)
            own = "" if folder is None else path.relative_to(folder).with_suffix("").as_posix()
            if own in names:
                found[own] = path  # for this image alone, and read with it
                continue
            for name, drawing in self._read(path, known=folder is not None).items():
                picture = by_name[name]
                if picture is None:
                    self._unmatched.append((path, name))
                else:
                    before = self.drawings.get(picture.path)
                    regions = drawing.regions if before is None else before.regions + drawing.regions
                    self.drawings[picture.path] = replace(drawing, regions=regions)
                    found[picture.name] = path
        return found

    def without_images(self) -> Iterator[tuple[Path, str | None]]:
        """Files of labels that belong to no image; of annotations with the name of the image that they mean."""
        used = {frame.label for frames in self._frames.values() for frame in frames}
        parts = parts_of(self.root)
        for part in parts:
            inside = [other.labels for other in parts if part.labels in other.labels.parents]
            for path in files_below(part.labels, LABEL_ENDINGS):
                if path not in used and not any(folder in path.parents for folder in inside):
                    yield path, None
        # A file for several splits has the images of each.
        pictures = Named(picture for part in parts for picture in pictures_of(part))
        for path, name in dict.fromkeys(self._unmatched):
            if pictures[name] is None:
                yield path, name

    def lossy_labels(self) -> list[Path]:
        """JPEGs where labels are expected."""
        return [path for part in parts_of(self.root) for path in files_below(part.labels, LOSSY_ENDINGS)]

    def without_labels(self) -> dict[Path, list[str]]:
        """Of each folder of images the names of those that have no label."""
        used = {frame.image for frames in self._frames.values() for frame in frames}
        found = {part.images: [p.name for p in pictures_of(part) if p.path not in used] for part in parts_of(self.root)}
        return {folder: names for folder, names in found.items() if names}

    def _read(self, path: Path, known: bool) -> dict[str, Drawing]:
        """A file's drawings; none of one that is not `known` to hold any and does not."""
        if path not in self._files:
            try:
                self._files[path] = read_annotations(path)
            except InputError:
                if known:
                    raise
                self._files[path] = {}
        return self._files[path]


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
