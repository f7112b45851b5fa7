"""Pascal VOC's segmentation: 20 classes and the background; the border around objects is ignored.

Source: Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010.
"""

from __future__ import annotations

from pathlib import Path

from arseg.files import StrPath
from arseg.labels import LabelSet

from .datasets import LabelledFrames, Void, picture_files
from .split_folders import SplitFolders, labelled

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


class Voc(SplitFolders):
    """Pascal VOC: `VOC2012/`, or the folder `VOCdevkit` around it; the names of a split are in `ImageSets`."""

    labels = LabelSet.of(len(CLASSES), name="Pascal VOC", classes=CLASSES)
    images, masks = "JPEGImages", "SegmentationClass"

    def folders(self, root: StrPath, split: str) -> tuple[Path, Path]:
        year = _year(Path(root))
        return year / self.images, year / self.masks

    def frames(
        self, root: StrPath, split: str = "train", *, sequences: StrPath | None = None, void: Void = "count"
    ) -> LabelledFrames:
        images, masks = self.folders(root, split)
        listing = images.parent / "ImageSets" / "Segmentation" / f"{split}.txt"
        if not listing.is_file():
            raise FileNotFoundError(
                f"{listing}: no such file; expected the names of the pictures of {split}, one a line"
            )
        found = {path.stem: path for path in picture_files(images, "Pascal VOC's pictures")}
        names = listing.read_text("utf-8-sig").split()
        absent = [name for name in names if name not in found]
        if absent or not names:
            raise FileNotFoundError(f"{listing}: {absent[0] if absent else 'a picture'} is not in {images}")
        return labelled(self, [(found[name], masks / f"{name}.png") for name in sorted(names)])


def _year(root: Path) -> Path:
    """The folder with `JPEGImages`: the root, or the latest year in it or in its `VOCdevkit`."""
    years = sorted([*root.glob("VOC20*"), *root.glob("VOCdevkit/VOC20*")], key=lambda path: path.name)
    return next((path for path in [root, *reversed(years)] if (path / Voc.masks).is_dir()), root)
