"""How a player turns and mirrors a video's pictures: the display matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer

__all__ = ["Matrix", "display_matrix", "orientation", "upright"]

Matrix = tuple[int, ...]
"""FFmpeg's AVDisplayMatrix, (a, b, u, c, d, v, x, y, w): a pixel at (p, q), q downwards, is shown at
(a p + c q + x, b p + d q + y) / (u p + v q + w); a to d, x and y in units of 2^-16, u, v, w of 2^-30."""


def display_matrix(frame: av.VideoFrame) -> Matrix | None:
    """The matrix of a decoded frame; None without one, or where it would make a line or a point of the picture."""
    # `frame.side_data` would keep the container in the frame, which it refers to: a cycle.
    data = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
    return None if data is None else checked(np.frombuffer(bytes(data), np.int32).tolist())


def checked(matrix: Sequence[int] | None) -> Matrix | None:
    """`matrix`, or None where it cannot be inverted."""
    if matrix is None or len(matrix) != 9:
        return None
    a, b, _, c, d, _, _, _, w = matrix
    return tuple(int(value) for value in matrix) if a * d != b * c and w > 0 else None


def orientation(matrix: Matrix | None) -> tuple[int, bool]:
    """Degrees counter-clockwise, -180 < degrees <= 180, and whether the picture is mirrored left to right before that.

    Rounded, where the matrix is no such turn.
    """
    if matrix is None:
        return 0, False
    turn, mirrored = turning(matrix)
    degrees = round(turn)
    return 180 if degrees == -180 else degrees, mirrored


def turning(matrix: Matrix) -> tuple[float, bool]:
    """`orientation`, not rounded."""
    a, b, _, c, d, *_ = matrix
    mirrored = a * d < b * c
    if mirrored:
        a, b = -a, -b
    # As av_display_rotation_get, which evens out a stretched picture.
    return -math.degrees(math.atan2(b / math.hypot(b, d), a / math.hypot(a, c))) + 0.0, mirrored


def turned(degrees: float) -> Matrix | None:
    """The matrix that turns by `degrees` counter-clockwise; None for none."""
    if degrees % 360 == 0:
        return None
    angle = math.radians(degrees % 360)
    cosine, sine = round(math.cos(angle) * 65536), round(math.sin(angle) * 65536)
    return (cosine, -sine, 0, sine, cosine, 0, 0, 0, 1 << 30)


def upright(picture: np.ndarray, matrix: Matrix | None) -> np.ndarray:
    """A `[H, W, …]` picture as a player shows it, to the nearest quarter turn."""
    if matrix is None:
        return picture
    a, b, _, c, d, *_ = matrix
    if abs(a) + abs(d) >= abs(b) + abs(c):
        rows, columns = d, a
    else:
        picture, rows, columns = np.swapaxes(picture, 0, 1), b, c
    return np.ascontiguousarray(picture[:: -1 if rows < 0 else 1, :: -1 if columns < 0 else 1])
