"""Motion for a labelled still: a camera that drifts, closes in and sees near rows pass faster; things that move.

There is no depth: the parallax is a shear, under which the rows at the bottom drift otherwise than those at the top.
What moves by itself are patches of other stills, with their labels, laid over this one: what they uncover is the still
itself, so nothing is made up and every pixel has its true label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from arseg.labels import IGNORED

Still = tuple[np.ndarray, np.ndarray]

LARGEST = 0.15
"""Share of a frame's pixels that a class may have to be taken as a thing."""

LEAST = 100
"""Pixels of a thing."""


@dataclass(frozen=True)
class Patch:
    """A thing, cut out, and its way.

    Attributes:
        image, label, mask: uint8 `[h, w, 3]`, uint8 `[h, w]`, bool `[h, w]`.
        first, last: left and top, in the still's pixels, at the keyframe and at the last frame.
        growth: by which it is larger at the last frame than at the keyframe.
    """

    image: np.ndarray
    label: np.ndarray
    mask: np.ndarray
    first: tuple[float, float]
    last: tuple[float, float]
    growth: float

    def drawn(self, frame: Image.Image, ids: Image.Image, moment: float) -> None:
        """Lays it over a frame and its label at `moment` 0..1."""
        size = self.growth**moment
        height, width = self.mask.shape
        shape = (max(1, round(width * size)), max(1, round(height * size)))
        left, top = (start + (end - start) * moment for start, end in zip(self.first, self.last, strict=True))
        # It grows around its foot, as what comes nearer on the ground does.
        place = (round(left + (width - shape[0]) / 2), round(top + height - shape[1]))
        mask = Image.fromarray(self.mask.astype(np.uint8) * 255).resize(shape, Image.Resampling.NEAREST)
        frame.paste(Image.fromarray(self.image).resize(shape, Image.Resampling.BILINEAR), place, mask)
        ids.paste(Image.fromarray(self.label).resize(shape, Image.Resampling.NEAREST), place, mask)


def cut_patch(donor: Still, size: tuple[int, int], rng: np.random.Generator) -> Patch | None:
    """A part of a class that is no background of the donor's, with a way of its own; None where it shows none.

    `size`: height and width of the frame over which it moves.
    """
    image, label = donor
    counts = np.bincount(label.ravel(), minlength=256)
    counts[IGNORED] = 0
    classes = np.flatnonzero((counts >= LEAST) & (counts <= LARGEST * label.size))
    if not len(classes):
        return None
    of_class = label == rng.choice(classes)
    rows, columns = np.nonzero(of_class)
    chosen = int(rng.integers(len(rows)))
    half_height, half_width = (rng.uniform(0.1, 0.3) * side for side in label.shape)
    top, left = int(max(0, rows[chosen] - half_height)), int(max(0, columns[chosen] - half_width))
    part = (slice(top, int(rows[chosen] + half_height) + 1), slice(left, int(columns[chosen] + half_width) + 1))
    height, width = size
    first = (left * width / label.shape[1] + rng.uniform(-0.2, 0.2) * width, top * height / label.shape[0])
    way = rng.uniform(-0.15, 0.15) * width, rng.uniform(-0.02, 0.02) * height
    last = (first[0] + way[0], first[1] + way[1])
    return Patch(image[part], label[part], of_class[part], first, last, float(rng.uniform(0.85, 1.2)))


def moving_frames(still: Still, donors: Sequence[Still], count: int, rng: np.random.Generator) -> list[Still]:
    """`count` frames of the still's size.

    Args:
        donors: stills whose things move in it.
        rng: chooses the ways of camera and things.
    """
    image, label = still
    height, width = label.shape
    patches = [cut_patch(donor, (height, width), rng) for donor in donors]
    first = rng.uniform(0.8, 0.95)  # the window's share of the still's sides
    last = first * rng.uniform(0.8, 1.0)
    if rng.random() < 0.2:
        first, last = last, first
    drift, shear, rise = rng.uniform(-0.25, 0.25, 3)
    frames = []
    for moment in np.linspace(0, 1, count):
        frame, ids = Image.fromarray(image), Image.fromarray(label)
        for patch in patches:
            if patch is not None:
                patch.drawn(frame, ids, float(moment))
        share = first + (last - first) * moment
        room, turn = 1 - share, 2 * moment - 1
        # Left edge of the window at the top row, how much it moves until the bottom one, and top edge.
        left = width * room * (0.5 + (drift - shear) * turn)
        slope = 2 * width * room * shear * turn / height
        top = height * room * (0.5 + rise * turn)
        where = (share, slope, left, 0.0, share, top)
        size = (width, height)
        frames.append(
            (
                np.asarray(frame.transform(size, Image.Transform.AFFINE, where, Image.Resampling.BICUBIC)),
                np.asarray(ids.transform(size, Image.Transform.AFFINE, where, Image.Resampling.NEAREST)),
            )
        )
    return frames
