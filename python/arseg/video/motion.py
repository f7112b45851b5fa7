"""Block motion fields: from the codec's records to a field that reaches the keyframe.

The work is done in C++ (`csrc/motion`), which `arseg._motion` calls.

Source: the records are FFmpeg's `AVMotionVector`; the chain to the keyframe is the motion accumulation of Hu et al.,
CVPR 2023, with sub-pel kept at every hop and intra blocks filled from their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from arseg.errors import InputError

try:
    from arseg import _motion
except ImportError as error:
    raise ImportError(
        f"the motion library cannot be loaded ({error}): build it with `pip install .` in the "
        "repository, with the Python that runs this"
    ) from error

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "BLOCKS",
    "CELL",
    "RECORD",
    "BlockField",
    "MotionChain",
    "Origin",
    "chain",
    "fill_holes",
    "pool",
    "rasterize",
]

CELL: int = _motion.CELL
"""Video pixels per cell while vectors are drawn and chained."""

BLOCKS = (4, 8, 16)
"""The block sizes a field can be delivered in."""

RECORD = np.dtype(
    {
        "names": [
            "source",
            "w",
            "h",
            "src_x",
            "src_y",
            "dst_x",
            "dst_y",
            "flags",
            "motion_x",
            "motion_y",
            "motion_scale",
        ],
        "formats": ["<i4", "u1", "u1", "<i2", "<i2", "<i2", "<i2", "<u8", "<i4", "<i4", "<u2"],
        "offsets": [0, 4, 5, 6, 8, 10, 12, 16, 24, 28, 32],
        "itemsize": 40,
    }
)
"""numpy type of one motion vector record, 40 bytes."""


Origin = Literal["exact", "inferred", "transcoded"]
"""Where a field comes from: the stream's headers prove which frame each vector points to; the frame was chosen by
likeness, block by block; or the vectors were found by encoding the frames again."""


@dataclass(frozen=True)
class BlockField:
    """A motion field on a grid of square blocks.

    Attributes:
        vectors: int16 `[Hb, Wb, 2]`, (x, y) in quarter pixels of the video; where the block's content was in the
            reference: reference = current + vector. Hb = ceil(H / block), Wb = ceil(W / block).
        valid: bool `[Hb, Wb]`; False where the codec gave no vector (intra block) somewhere on the way to the
            keyframe, and the vector was filled from neighbours.
        block: video pixels per cell, 4, 8 or 16.
        origin: "exact", "inferred" or "transcoded"; a field is exact where every hop to the keyframe is.
    """

    vectors: np.ndarray
    valid: np.ndarray
    block: int
    origin: Origin = "exact"

    @property
    def missing(self) -> float:
        """Share of cells without a vector of their own, 0..1."""
        return 1.0 - float(self.valid.mean())

    def tensor(self, dtype: torch.dtype | None = None) -> Tensor:
        """The vectors `[Hb, Wb, 2]`, (x, y): int16 quarter pixels as `arseg_ext.ops` takes them, or pixels in a
        floating `dtype`. A copy; `torch.from_numpy(field.valid.copy())` is the mask.
        """
        import torch

        vectors = torch.from_numpy(self.vectors.copy())
        if dtype is None or dtype == torch.int16:
            return vectors
        if not dtype.is_floating_point:
            raise InputError(f"dtype: expected torch.int16 or a floating type, got {dtype}")
        return vectors.to(dtype) / 4


def rasterize(records: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the codec's records of one frame into a field of 4x4 cells.

    Args:
        records: `[n]` of `RECORD` (40 bytes each), as PyAV's `MOTION_VECTORS` side data gives them. Those that
            point to the future (`source > 0`) are left out.
        width, height: size of the frame in pixels; blocks in the padding beyond it are clipped.

    Returns:
        vectors int16 `[ceil(height/4), ceil(width/4), 2]` in quarter pixels, and bool mask of the same grid: False
        where no record lies, with a zero vector.

    Raises:
        ValueError: another dtype or shape, a size out of range, or a record that no decoder writes.
    """
    vectors, valid = _motion.rasterize(records, width, height)
    return vectors, valid


def fill_holes(vectors: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Give cells without a vector one from their surroundings.

    The work is done on cells twice as large, whose vector a hole takes: the mean of their known cells, or without any,
    of their known neighbours, ring by ring from the edge of the hole inwards.

    Args:
        vectors: int16 `[Hb, Wb, 2]`.
        valid: bool `[Hb, Wb]`, False for a hole. Without any valid cell the result is zero.

    Returns:
        int16 `[Hb, Wb, 2]`, a new array, equal to `vectors` where `valid`.

    Raises:
        ValueError: another dtype or shape.
    """
    filled: np.ndarray = _motion.fill_holes(vectors, valid)
    return filled


def chain(
    step_vectors: np.ndarray, step_valid: np.ndarray, reference_vectors: np.ndarray, reference_valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lengthen a field by one frame: `field(p) = step(p) + reference(p + step(p))`, for 4x4 cells.

    The reference field is read in the cell that the centre of p lands in, clamped to the frame; sums are saturated
    to int16.

    Args:
        step_vectors, step_valid: int16 `[Hb, Wb, 2]` and bool `[Hb, Wb]`, from the new frame to the one before.
        reference_vectors, reference_valid: the same shapes, from the frame before to the keyframe.

    Returns:
        vectors and mask from the new frame to the keyframe; valid where both links are.

    Raises:
        ValueError: another dtype, or shapes that differ.
    """
    vectors, valid = _motion.chain(step_vectors, step_valid, reference_vectors, reference_valid)
    return vectors, valid


def pool(vectors: np.ndarray, valid: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Make the cells `factor` (1, 2 or 4) times larger by averaging.

    Valid cells alone are averaged where there are any; a cell of the result is valid where at least half of its
    cells are.

    Args:
        vectors: int16 `[Hb, Wb, 2]`.
        valid: bool `[Hb, Wb]`.

    Returns:
        int16 `[ceil(Hb/factor), ceil(Wb/factor), 2]` and bool of the same grid.

    Raises:
        ValueError: another dtype, shape or factor.
    """
    pooled_vectors, pooled_valid = _motion.pool(vectors, valid, factor)
    return pooled_vectors, pooled_valid


class MotionChain:
    """The field from the current frame to its keyframe where every vector points one frame back; holds one field.

    For streams of your own; `VideoReader` reads all kinds.

    Args:
        width, height: size of the frames in pixels.
        block: size of the cells that `step` delivers: 4, 8 or 16. The chain itself is always kept at 4.

    Raises:
        ValueError: another block size.
    """

    def __init__(self, width: int, height: int, block: int = CELL) -> None:
        if block not in BLOCKS:
            raise ValueError(f"block: expected 4, 8 or 16, got {block!r}")
        self._width = width
        self._height = height
        self._block = block
        self._field: tuple[np.ndarray, np.ndarray] | None = None

    def restart(self) -> None:
        """The next `step` starts from a keyframe."""
        self._field = None

    def step(self, records: np.ndarray | None) -> BlockField:
        """Take the records of the next frame, each pointing one frame back; returns its field to the keyframe.

        Args:
            records: as for `rasterize`; None where the frame has none (all blocks intra).

        Raises:
            ValueError: as `rasterize`.
        """
        way = True if self._field is None else self._field
        vectors, valid, _ = _motion.step(
            np.empty(0, RECORD) if records is None else records,
            self._width,
            self._height,
            0,
            0,
            None,
            None,
            [(way, None, -1)],
            [],
        )
        self._field = (vectors, valid)
        if self._block != CELL:
            vectors, valid = pool(vectors, valid, self._block // CELL)
        # The arrays handed out at block 4 are the chain's own state.
        vectors.setflags(write=False)
        valid.setflags(write=False)
        return BlockField(vectors, valid, self._block)
