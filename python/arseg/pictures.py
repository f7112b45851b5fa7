"""Pictures in files as RGB, whatever they are stored as."""

from __future__ import annotations

import numpy as np
from PIL import Image

UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for a file that is no picture, or a damaged one."""


def as_rgb(picture: Image.Image) -> np.ndarray:
    """uint8 `[H, W, 3]`; 16 bits are brought to 8, white is white.

    Raises `ValueError` for what no range is known of: floating point, and integers beyond 16 bits.
    """
    if picture.mode == "F":
        raise ValueError("its values are floating point, whose range is not known")
    if picture.mode.startswith("I"):  # Pillow clips these
        grey = np.asarray(picture)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("its values are beyond 16 bits")
        if picture.mode == "I" and grey.max() <= 255:  # of a byte each, in a larger type
            return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
        return np.repeat(((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    return np.array(picture.convert("RGB"))
