"""CamVid's 11 classes, and its 480x360 distribution: images in `SPLIT/`, label maps in `SPLITannot/`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
IGNORE = 11
"""Label of pixels that count in no loss and no score ("Void"); every id from here up is read as this one."""

PALETTE = np.array(
    [
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
        (0, 0, 0),
    ],
    dtype=np.uint8,
)
"""uint8 [12, 3]: the data set's own RGB colours, the ignored label last (black)."""

MEAN = (0.39068785, 0.40521392, 0.41434407)
STD = (0.29652068, 0.30514979, 0.30080369)
"""RGB statistics that the authors normalise CamVid with."""


class CamVid:
    """Images and labels of one split, in the order of their names (which is the order of time).

    Indexing gives `(image, label)`: uint8 `[H, W, 3]` RGB and uint8 `[H, W]` with ids 0..10, 11 = ignore.
    Raises `FileNotFoundError` that names the folder where the layout is another one.
    """

    def __init__(self, root: str | Path, split: str = "train"):
        self.root = Path(root)
        images, labels = self.root / split, self.root / f"{split}annot"
        for folder in (images, labels):
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"{folder}: no such folder; CamVid is expected in ROOT/{split} (images) and ROOT/{split}annot"
                )
        self.images = sorted(path for path in images.iterdir() if path.suffix in (".jpg", ".png"))
        self.labels = [labels / f"{path.stem}.png" for path in self.images]
        if not self.images:
            raise FileNotFoundError(f"{images}: no .jpg or .png in it")
        missing = [path.name for path in self.labels if not path.is_file()]
        if missing:
            raise FileNotFoundError(f"{labels}: {len(missing)} label maps are missing, the first is {missing[0]}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        with Image.open(self.images[index]) as file:
            image = np.asarray(file.convert("RGB"))
        with Image.open(self.labels[index]) as file:
            label = np.asarray(file)
        return image, np.minimum(label, IGNORE).astype(np.uint8)
