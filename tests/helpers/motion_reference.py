"""Slow, obvious versions of the functions in `arseg.video.motion`, cell by cell in Python integers."""

from __future__ import annotations

import numpy as np

CELL = 4


def divide_round(a: int, b: int) -> int:
    """a / b for b > 0, to the nearest integer, halves away from zero."""
    return (abs(a) + b // 2) // b * (1 if a >= 0 else -1)


def saturate(value: int) -> int:
    return max(-32768, min(32767, value))


def rasterize(records: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = -(-height // CELL), -(-width // CELL)
    vectors = np.zeros((rows, cols, 2), np.int16)
    valid = np.zeros((rows, cols), bool)
    for r in records:
        left, top = int(r["dst_x"]) - int(r["w"]) // 2, int(r["dst_y"]) - int(r["h"]) // 2
        vector = [saturate(divide_round(int(r[name]) * 4, int(r["motion_scale"]))) for name in ("motion_x", "motion_y")]
        for y in range(rows):
            for x in range(cols):
                centre_x, centre_y = CELL * x + CELL // 2, CELL * y + CELL // 2
                if left <= centre_x < left + int(r["w"]) and top <= centre_y < top + int(r["h"]):
                    vectors[y, x] = vector
                    valid[y, x] = True
    return vectors, valid


def fill_rings(vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Unknown cells become the mean of their known neighbours, ring by ring."""
    known = known.copy()
    out = np.where(known[..., None], vectors, 0).astype(np.int16)
    while known.any() and not known.all():
        before, filled = known.copy(), out.copy()
        for y, x in zip(*np.nonzero(~before), strict=True):
            around = (slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2))
            near = filled[around][before[around]].astype(int)
            if len(near):
                out[y, x] = [divide_round(int(near[:, k].sum()), len(near)) for k in (0, 1)]
                known[y, x] = True
    return out


def fill_holes(vectors: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Rings on cells of twice the size."""
    rows, cols = valid.shape
    large_rows, large_cols = -(-rows // 2), -(-cols // 2)
    large = np.zeros((large_rows, large_cols, 2), np.int16)
    known = np.zeros((large_rows, large_cols), bool)
    for y in range(large_rows):
        for x in range(large_cols):
            window = (slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2))
            near = vectors[window][valid[window]].astype(int)
            if len(near):
                large[y, x] = [divide_round(int(near[:, k].sum()), len(near)) for k in (0, 1)]
                known[y, x] = True
    large = fill_rings(large, known)
    out = vectors.copy()
    for y, x in zip(*np.nonzero(~valid), strict=True):
        out[y, x] = large[y // 2, x // 2]
    return out


def chain(
    step: np.ndarray, step_valid: np.ndarray, reference: np.ndarray, reference_valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = step_valid.shape
    vectors = np.zeros_like(step)
    valid = np.zeros_like(step_valid)
    for y in range(rows):
        for x in range(cols):
            # position in quarter pixels, then the cell it lies in
            to_x = 4 * (CELL * x + CELL // 2) + int(step[y, x, 0])
            to_y = 4 * (CELL * y + CELL // 2) + int(step[y, x, 1])
            from_x = min(max(to_x // (4 * CELL), 0), cols - 1)
            from_y = min(max(to_y // (4 * CELL), 0), rows - 1)
            vectors[y, x] = [saturate(int(step[y, x, k]) + int(reference[from_y, from_x, k])) for k in (0, 1)]
            valid[y, x] = step_valid[y, x] and reference_valid[from_y, from_x]
    return vectors, valid


def pool(vectors: np.ndarray, valid: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = (-(-side // factor) for side in valid.shape)
    out = np.zeros((rows, cols, 2), np.int16)
    mask = np.zeros((rows, cols), bool)
    for y in range(rows):
        for x in range(cols):
            window = (slice(y * factor, (y + 1) * factor), slice(x * factor, (x + 1) * factor))
            good = valid[window].ravel()
            cells = vectors[window].reshape(-1, 2).astype(int)
            chosen = cells[good] if good.any() else cells
            out[y, x] = [divide_round(int(chosen[:, k].sum()), len(chosen)) for k in (0, 1)]
            mask[y, x] = 2 * good.sum() >= good.size
    return out, mask


def unchain(
    now: np.ndarray, now_valid: np.ndarray, other: np.ndarray, block: int, rounds: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """out(p) = now(p) - other(p + out(p)), by repetition; in 64 bits, all cells at once."""
    rows, cols = now_valid.shape
    cell = 4 * block
    middle = np.stack(np.meshgrid(np.arange(cols), np.arange(rows)), -1) * cell + cell // 2
    last = step = np.zeros_like(now, np.int64)
    for _ in range(rounds):
        last, place = step, np.clip((middle + step) // cell, 0, (cols - 1, rows - 1))
        step = now.astype(np.int64) - other[place[..., 1], place[..., 0]]
    return np.clip(step, -32768, 32767).astype(np.int16), now_valid & (step == last).all(-1)
