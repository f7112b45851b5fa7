"""Where a reader's groups start, besides at the codec's own I frames and after the longest group: its user may say.

What it is asked with costs no network: the frame's field, and both pictures at a quarter of their size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import av
import numpy as np

from .motion import CELL

Chain = Any
"""Vectors from a frame to a keyframe: True for the keyframe itself, or vectors and mask at 4x4 cells."""


@dataclass(frozen=True)
class Candidate:
    """A frame that is predicted from earlier ones, and may go on in their group or start one.

    Attributes:
        index: in presentation order.
        distance: frames since the keyframe of the group, at least 1.
        groups: how many have started so far.
        frame_type: the codec's "P", seldom another.
        luma, key_luma: of the frame and of the keyframe, float32 `[h, w]` in 0..255: means of 4x4 pixels.
        vectors: to the keyframe, int16 `[h, w, 2]` in quarter pixels, x then y.
        valid: where the codec has them, bool `[h, w]`.
    """

    index: int
    distance: int
    groups: int
    frame_type: str
    luma: np.ndarray = field(repr=False)
    key_luma: np.ndarray = field(repr=False)
    vectors: np.ndarray = field(repr=False)
    valid: np.ndarray = field(repr=False)

    @cached_property
    def error(self) -> float:
        """Mean of `errors`: how unlike the keyframe, warped, the frame looks."""
        return float(self.errors.mean())

    @cached_property
    def errors(self) -> np.ndarray:
        """|luma - keyframe's luma, moved|, float32 `[h, w]`, in 0..255; the picture's edge goes on."""
        return np.abs(self.luma - moved(self.key_luma, self.vectors))


Starts = Callable[[Candidate], bool]
"""Whether a group starts at a frame. Asked in decoding order, once for each frame that is no I and no B frame."""


def moved(picture: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """A picture of 4x4 cells moved along vectors in quarter pixels: `picture(p + vector(p))`, bilinear, float32.

    Args:
        picture: `[h, w]`.
        vectors: `[h, w, 2]`, x then y.
    """
    height, width = picture.shape
    where = vectors * np.float32(1 / (4 * CELL))
    x = np.clip(where[..., 0] + np.arange(width, dtype=np.float32), 0, width - 1)
    y = np.clip(where[..., 1] + np.arange(height, dtype=np.float32)[:, None], 0, height - 1)
    left, top = x.astype(np.intp), y.astype(np.intp)
    x -= left
    y -= top
    place = top * width + left
    right, below = (left < width - 1), (top < height - 1) * width
    flat = np.ascontiguousarray(picture, np.float32).ravel()
    upper = flat[place] * (1 - x) + flat[place + right] * x
    lower = flat[place + below] * (1 - x) + flat[place + below + right] * x
    return upper * (1 - y) + lower * y


def small_luma(frame: av.VideoFrame) -> np.ndarray:
    """Brightness of a decoded frame, float32 `[ceil(H/4), ceil(W/4)]` in 0..255: means over its 4x4 cells."""
    size = {"width": -(-frame.width // CELL), "height": -(-frame.height // CELL)}
    return frame.reformat(**size, format="gray", interpolation="AREA").to_ndarray().astype(np.float32)
