"""How like a frame its keyframe is, as it is and moved along the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from arseg.video.motion import BlockField

__all__ = ["Gain", "gain_of", "grid", "luma", "mean", "psnr", "warp"]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Gain:
    """How like the frames at one distance their keyframe is, as means over these frames.

    Attributes:
        distance: frames since the keyframe; None for all distances together.
        frames: how many frames were measured.
        still_db: PSNR of the keyframe's luma as it is.
        moved_db: PSNR of the keyframe's luma moved along the vectors.
        filled: share of cells whose vector was filled from neighbours, 0..1.
    """

    distance: int | None
    frames: int
    still_db: float
    moved_db: float
    filled: float

    @property
    def gain_db(self) -> float:
        """What the vectors add."""
        return self.moved_db - self.still_db

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "distance": self.distance,
            "frames": self.frames,
            "still_db": round(self.still_db, 2),
            "moved_db": round(self.moved_db, 2),
            "gain_db": round(self.gain_db, 2),
            "filled": round(self.filled, 4),
        }


def gain_of(distance: int | None, sums: np.ndarray) -> Gain:
    """Of `[4]` sums over frames: their number, dB as it is, dB moved, share filled."""
    frames, still, moved, filled = (float(value) for value in sums)
    return Gain(distance, round(frames), still / frames, moved / frames, filled / frames)


def mean(gains: Sequence[Gain]) -> Gain:
    """Over all frames of several distances."""
    weights = np.array([gain.frames for gain in gains], float)
    figures = np.array([(gain.still_db, gain.moved_db, gain.filled) for gain in gains])
    return gain_of(None, np.array([weights.sum(), *(weights @ figures)]))


def luma(image: np.ndarray) -> np.ndarray:
    """Luma, float32 `[H, W]`, of RGB uint8 `[H, W, 3]`."""
    return image.astype(np.float32) @ _LUMA


def warp(reference: np.ndarray, motion: BlockField, step: int = 1) -> np.ndarray:
    """`reference` float32 `[H, W]`, read bilinearly at p + vector(p), clamped to the frame.

    Args:
        step: give each `step`-th row and column alone, beginning with number `step // 2`, or with the last one of a
            frame without that.
    """
    height, width = reference.shape
    rows, columns = grid(height, step), grid(width, step)
    vectors = motion.vectors[rows[:, None] // motion.block, columns // motion.block].astype(np.float32) / 4
    x = np.clip(columns + vectors[..., 0], 0, width - 1, dtype=np.float32)
    y = np.clip(rows[:, None] + vectors[..., 1], 0, height - 1, dtype=np.float32)
    left, top = x.astype(np.intp), y.astype(np.intp)
    right = (left < width - 1).astype(np.intp)
    below = (top < height - 1) * width
    first = top * width + left
    flat = reference.ravel()
    across, down = (x - left).astype(np.float32), (y - top).astype(np.float32)
    upper = flat[first] * (1 - across) + flat[first + right] * across
    lower = flat[first + below] * (1 - across) + flat[first + below + right] * across
    warped: np.ndarray = upper * (1 - down) + lower * down
    return warped


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of 8-bit signals in dB, at most 99."""
    error = float(np.mean((a - b) ** 2, dtype=np.float64))
    return min(99.0, float(10 * np.log10(255.0**2 / error))) if error > 0 else 99.0


def grid(length: int, step: int) -> np.ndarray:
    """Each `step`-th place of `length`, at least one."""
    return np.arange(min(step // 2, length - 1), length, step)
