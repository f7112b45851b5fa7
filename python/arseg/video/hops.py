"""From the fields of two frames to their keyframe: the field from one to the other."""

from __future__ import annotations

import numpy as np

from arseg import _motion

from .motion import BlockField


def hop(now: BlockField, before: BlockField | None) -> tuple[np.ndarray, np.ndarray]:
    """The field from a frame to another, of the fields that lead both to one keyframe: `motion.chain` undone.

    The other is the frame before it, or any: so fields lead to a later frame, too.

    Args:
        now, before: of the frame and of the other, of the same size and block; `before` None: the other is the keyframe
            itself.

    Returns:
        vectors int16 `[Hb, Wb, 2]` in quarter pixels, and where they are known, bool `[Hb, Wb]`: where the codec has
        vectors all the way, and a vector h was found with now(p) = h(p) + before(p + h(p)); saturated.
    """
    if before is None:
        return now.vectors, now.valid
    vectors, valid = _motion.unchain(now.vectors, now.valid, before.vectors, now.block)
    return vectors, valid


def inverted(field: BlockField) -> tuple[np.ndarray, np.ndarray]:
    """The field back: `inverted(p) = -field(p + inverted(p))`; of what `field` leads to, to where it leads from.

    Returns vectors int16 `[Hb, Wb, 2]` and where they are known, as `hop`.
    """
    nothing = np.zeros_like(field.vectors)
    vectors, valid = _motion.unchain(nothing, np.ones(field.valid.shape, np.bool_), field.vectors, field.block)
    return vectors, valid
