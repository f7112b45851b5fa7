"""COCO's run-length coding of masks, as pycocotools writes it: runs down the columns, 0s first, 6 bits a sign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_MORE = 32  # a digit is not the last one
_FIRST = 48  # the sign of digit 0


def encode_classes(labels: np.ndarray) -> dict[int, dict[str, Any]]:
    """By id, in rising order, what COCO has of the mask of each id that is in uint8 `[H, W]`.

    Each has "segmentation" (`{"size": [H, W], "counts": text}`), "area" in pixels, and "bbox" `[x, y, width, height]`.
    """
    height, width = labels.shape
    flat = labels.T.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts, ends = np.concatenate(([0], edges)), np.concatenate((edges, [flat.size]))
    ids, found = flat[starts], {}
    for label in np.unique(ids):
        mine = ids == label
        first, last = starts[mine], ends[mine]
        counts = np.stack((first - np.concatenate(([0], last[:-1])), last - first), 1).ravel()
        if last[-1] < flat.size:
            counts = np.append(counts, flat.size - last[-1])
        found[int(label)] = {
            "segmentation": {"size": [height, width], "counts": as_text(counts)},
            "area": int((last - first).sum()),
            "bbox": _box(first, last, height),
        }
    return found


def as_text(counts: np.ndarray) -> str:
    """Lengths of runs as COCO writes them: from the fourth on, the difference to the last but one; 5 bits a sign."""
    values = counts.astype(np.int64)
    values[3:] -= counts[1:-2]
    signs: list[int] = []
    for value in values.tolist():
        while True:
            digit, value = value & 31, value >> 5
            done = value == (-1 if digit & 16 else 0)
            signs.append(_FIRST + (digit if done else digit | _MORE))
            if done:
                break
    return bytes(signs).decode("ascii")


def decode(segmentation: Mapping[str, Any]) -> np.ndarray:
    """The mask, bool `[H, W]`, of `{"size": [H, W], "counts": text}`."""
    height, width = segmentation["size"]
    counts: list[int] = []
    value = shift = 0
    for sign in segmentation["counts"].encode("ascii"):
        digit = sign - _FIRST
        value |= (digit & 31) << shift
        shift += 5
        if digit & _MORE:
            continue
        if digit & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    runs = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return runs.reshape(width, height).T


def _box(first: np.ndarray, last: np.ndarray, height: int) -> list[int]:
    """Around the runs from `first` up to `last`, places down the columns."""
    left, right = int(first[0] // height), int((last[-1] - 1) // height)
    over = first // height != (last - 1) // height  # from one column to the next: top and bottom are touched
    top = 0 if over.any() else int((first % height).min())
    bottom = height - 1 if over.any() else int(((last - 1) % height).max())
    return [left, top, right - left + 1, bottom - top + 1]
