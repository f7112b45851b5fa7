"""CamVid's 11 classes: names, colours, statistics."""

from __future__ import annotations

import numpy as np

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
