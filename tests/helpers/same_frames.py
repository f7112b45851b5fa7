"""Whether two readings gave the same frames, in all that they carry."""

from __future__ import annotations

import numpy as np

from arseg.video import BlockField, VideoFrame

_PLAIN = ("index", "frame_type", "keyframe", "distance", "pts", "time_base", "time", "references", "intra")


def differences(one: VideoFrame, other: VideoFrame) -> list[str]:
    """Names of the attributes that differ."""
    found = [name for name in _PLAIN if getattr(one, name) != getattr(other, name)]
    if not np.array_equal(one.image, other.image):
        found.append("image")
    if (one.records is None) != (other.records is None) or not np.array_equal(one.records, other.records):
        found.append("records")
    for name in ("motion", "link", "previous"):
        found += [f"{name}.{part}" for part in _field_differences(getattr(one, name), getattr(other, name))]
    return found


def _field_differences(one: BlockField | None, other: BlockField | None) -> list[str]:
    if one is None or other is None:
        return [] if one is other else ["presence"]
    same = {"vectors": np.array_equal(one.vectors, other.vectors), "valid": np.array_equal(one.valid, other.valid)}
    return [part for part, equal in {**same, "origin": one.origin == other.origin}.items() if not equal]
