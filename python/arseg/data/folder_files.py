"""Where a data set of one's own has its pictures, their labels and its files of annotations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from arseg.errors import InputError

from .classes import FILES
from .splits import SPLITS

IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
ANNOTATION_ENDINGS = frozenset({".json", ".csv"})
LOSSY_ENDINGS = frozenset({".jpg", ".jpeg"})
LABEL_ENDINGS = IMAGE_ENDINGS - LOSSY_ENDINGS | {".gif"}  # a lossy file has other values than were saved


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


def annotation_files(part: Part) -> list[Path]:
    """Files of annotations beside a part's labels or images: every one must be readable."""
    return files_below(part.labels, ANNOTATION_ENDINGS) + files_below(part.images, ANNOTATION_ENDINGS)


def files_beside(root: Path, part: Part) -> list[Path]:
    """Files that may hold a part's annotations, or something else: in the data set's folder and its `annotations/`."""
    folders = {root, part.labels.parent} - {root / "labels"}
    found = {path for folder in folders for ending in ANNOTATION_ENDINGS for path in folder.glob(f"*{ending}")}
    found |= set(files_below(root / "annotations", ANNOTATION_ENDINGS))
    return sorted(path for path in found if path.name not in FILES)


class Named:
    """Pictures by the names that files of annotations give them."""

    def __init__(self, pictures: Iterable[Picture]):
        self._whole: dict[str, Picture] = {}
        self._last: dict[str, list[Picture]] = {}
        for picture in pictures:
            self._whole[picture.name] = picture
            self._last.setdefault(picture.name.rpartition("/")[2], []).append(picture)

    def __getitem__(self, name: str) -> Picture | None:
        """The picture of that whole name, or the only one with the end of it; None where there is none."""
        stem = PurePosixPath(name.replace("\\", "/")).with_suffix("").as_posix()
        if stem in self._whole:
            return self._whole[stem]
        ends = self._last.get(stem.rpartition("/")[2], [])
        return ends[0] if len(ends) == 1 else None
