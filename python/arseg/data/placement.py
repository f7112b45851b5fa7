"""Random crops of any scale for pairs of frames: image, label and motion move together.

What Hu et al. (CVPR 2023) do at random: scale from a list, crop, mirror. Where the scaled frame is smaller than the
crop it is scaled up to fit; their vectors kept the length of before then, ours are scaled, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from arseg.preprocess import resized


@dataclass(frozen=True)
class Placement:
    """Where a crop lies in a frame that was resized by `scale`, and whether it is mirrored then.

    Attributes:
        scale: pixels of the crop for each pixel of the frame.
        top, left: corner of the crop, in pixels of the resized frame.
        size: (height, width) of the crop.
        flip: mirrored left to right.
    """

    scale: float
    top: float
    left: float
    size: tuple[int, int]
    flip: bool = False

    def image(self, image: np.ndarray) -> np.ndarray:
        """uint8 `[H, W, 3]` -> uint8 `[*size, 3]`, bilinear, filtered where it shrinks."""
        return self._resize(image, Image.Resampling.BILINEAR)

    def label(self, label: np.ndarray) -> np.ndarray:
        """uint8 `[H, W]` -> uint8 `size`, nearest."""
        return self._resize(label, Image.Resampling.NEAREST)

    def flow(self, vectors: np.ndarray, block: int, grid: tuple[int, int]) -> np.ndarray:
        """Motion of the frame's blocks -> displacement on a grid over the crop, in the grid's pixels.

        Each grid pixel takes the vector of the block that its centre lies in.

        Args:
            vectors: int16 `[Hb, Wb, 2]`, (x, y) in quarter pixels of the frame.
            block: side of a block in pixels of the frame.
            grid: (height, width) of the feature map that covers the crop.

        Returns:
            float32 `[*grid, 2]`, (x, y); reference = current + displacement.
        """
        rows, columns = (self._centres(axis, grid[axis]) // block for axis in (0, 1))
        rows = np.clip(rows, 0, vectors.shape[0] - 1).astype(np.intp)
        columns = np.clip(columns, 0, vectors.shape[1] - 1).astype(np.intp)
        to_grid = np.array([grid[1] / self.size[1], grid[0] / self.size[0]]) * (self.scale / 4)
        if self.flip:
            to_grid[0] = -to_grid[0]
        return (vectors[rows[:, None], columns[None]] * to_grid).astype(np.float32)

    def _centres(self, axis: int, count: int) -> np.ndarray:
        """Where the centres of `count` pixels along an axis of the crop lie in the frame, in its pixels."""
        place = (np.arange(count) + 0.5) * (self.size[axis] / count)
        if axis == 1 and self.flip:
            place = self.size[1] - place
        return (place + (self.left if axis == 1 else self.top)) / self.scale

    def _resize(self, array: np.ndarray, how: Image.Resampling) -> np.ndarray:
        height, width = self.size
        corners = (self.left, self.top, self.left + width, self.top + height)
        limits = (array.shape[1], array.shape[0]) * 2
        # Rounding may put the far edge a hair outside the frame.
        left, top, right, bottom = (
            min(max(side / self.scale, 0.0), float(limit)) for side, limit in zip(corners, limits, strict=True)
        )
        out = resized(array, self.size, how, (left, top, right, bottom))
        return np.ascontiguousarray(out[:, ::-1] if self.flip else out)


def random_placement(
    rng: np.random.Generator,
    frame: tuple[int, int],
    crop: tuple[int, int],
    scales: Sequence[float],
    *,
    flip: float = 0.5,
) -> Placement:
    """A crop anywhere in a frame `(height, width)`, at a scale from the list; larger where the crop would not fit."""
    scale = max(float(rng.choice(scales)), *(c / f for c, f in zip(crop, frame, strict=True)))
    room = [max(0.0, side * scale - c) for side, c in zip(frame, crop, strict=True)]
    top, left = (float(rng.integers(int(space) + 1)) for space in room)
    return Placement(scale, top, left, crop, bool(rng.random() < flip))
