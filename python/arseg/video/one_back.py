"""The field of a frame to the frame shown before, whatever the codec predicts it from.

Where the codec's vectors lead to another frame r, they go on from r to the frame before: back along that one's own
vectors to r, or along those of r, or by way of the keyframe.
"""

from __future__ import annotations

import numpy as np

from arseg import _motion

from .fields import PendingFrame, handed_out, step, sure
from .grouping import Chain
from .motion import CELL, BlockField, Origin

__all__ = ["by_keyframe", "one_back"]

_ENOUGH = 0.5  # share of cells that the frame before has to have vectors for


def one_back(item: PendingFrame, before: PendingFrame, block: int, *, transcoded: bool) -> BlockField | None:
    """The field from `item` to `before`, both finished by a builder with `keeps_references`.

    Returns:
        "exact" where the codec predicts from `before` alone, and that is certain; "transcoded" where all vectors are;
        else "inferred". None where no vectors lead there, as for I frames.
    """
    found = _found(item, before)
    if found is None:
        return None
    vectors, valid, exact = found
    origin: Origin = "transcoded" if transcoded else "exact" if exact else "inferred"
    return handed_out(vectors, valid, block, origin)


def _found(item: PendingFrame, before: PendingFrame) -> tuple[np.ndarray, np.ndarray, bool] | None:
    references = _all(item)
    if item.kind == "I":
        return None
    if before not in references and item in _all(before):  # the frame before is predicted from this one: shortest
        vectors, valid = _straight(before, item)
        if valid.mean() >= _ENOUGH:
            return *_inverted(vectors), False
    ways = {other.number: way for other in references if (way := _way(other, before)) is not None}
    if ways and item.references_kept is not None:
        vectors, valid, _ = step(item, *item.references_kept, ways, before)
        return vectors, valid, set(ways) == {before.number} and sure(item, *item.references_kept)
    way = by_keyframe(item, before)
    return None if way is None else (*way, False)


def _way(other: PendingFrame, before: PendingFrame) -> Chain | None:
    """From a reference to the frame before."""
    if other is before:
        return True
    if other in _all(before):
        return _inverted(_straight(before, other)[0])
    if before in _all(other):
        return _straight(other, before)
    return by_keyframe(other, before)


def by_keyframe(other: PendingFrame, before: PendingFrame) -> tuple[np.ndarray, np.ndarray] | None:
    """Vectors and mask at 4x4 cells by way of the keyframe of both; None without one. `before` may be later, too."""
    common = other.chains.keys() & before.chains.keys()
    if not common:
        return None
    (first, _), (second, _) = (frame.chains[max(common)] for frame in (other, before))
    if second is True:
        return None if first is True else first
    if first is True:
        return _inverted(second[0])
    vectors, valid = first
    return _motion.unchain(vectors, valid, second[0], CELL)


def _straight(item: PendingFrame, goal: PendingFrame) -> tuple[np.ndarray, np.ndarray]:
    """From a frame along those of its vectors that lead to `goal`; others are holes."""
    assert item.references_kept is not None
    vectors, valid, _ = step(item, *item.references_kept, {goal.number: True}, goal)
    return vectors, valid


def _inverted(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    nothing, known = np.zeros_like(vectors), np.ones(vectors.shape[:2], np.bool_)
    return _motion.unchain(nothing, known, vectors, CELL)


def _all(item: PendingFrame) -> list[PendingFrame]:
    past, future = item.references_kept or ((), ())
    return [other for other in (*past, *future) if other is not None]
