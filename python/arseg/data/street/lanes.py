"""Packed pixels: four 8-bit channels in the 16-bit lanes of one uint64.

A pixel times a weight in 0..256 stays inside its lanes, so that one integer multiplication weighs red, green, blue
and alpha together. This is what makes the renderer fast in plain NumPy. Colours are premultiplied by alpha; channel 0
(red) is the lowest lane, alpha the highest.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint64]
Floats = NDArray[np.floating]

MASK = np.uint64(0x00FF00FF00FF00FF)
ONES = np.uint64(0x0001000100010001)
ALPHA_SHIFT = np.uint64(48)
EIGHT = np.uint64(8)
SIXTEEN = np.uint64(16)
HALVES = np.uint64(0x0000FFFF0000FFFF)
ONE = np.uint64(1)
SEVEN = np.uint64(7)
FULL = np.uint64(256)

if sys.byteorder != "little":  # pragma: no cover
    raise ImportError("arseg.data.street packs pixels for little-endian machines")


def pack(rgba: NDArray[np.uint8]) -> Pixels:
    """Pack uint8 ``[..., 4]`` into uint64 ``[...]``."""
    return np.ascontiguousarray(rgba).astype(np.uint16).view(np.uint64)[..., 0]


def unpack(pixels: Pixels) -> NDArray[np.uint8]:
    """The inverse of `pack`: uint8 ``[..., 4]``."""
    wide = np.ascontiguousarray(pixels).view(np.uint16).reshape(*pixels.shape, 4)
    return wide.astype(np.uint8)


def squeeze(pixels: Pixels) -> NDArray[np.uint32]:
    """Packed pixels in half the memory, for storage."""
    return unpack(pixels).view(np.uint32)[..., 0]


def expand(stored: NDArray[np.uint32]) -> Pixels:
    """The inverse of `squeeze`."""
    pixels = stored.astype(np.uint64)
    pixels |= pixels << SIXTEEN
    pixels &= HALVES
    pixels |= pixels << EIGHT
    pixels &= MASK
    return pixels


def pack_colour(rgb: tuple[float, float, float] | Floats, alpha: int = 255) -> np.uint64:
    """One opaque colour as a packed pixel."""
    channels = [max(0, min(255, round(float(value)))) for value in rgb] + [alpha]
    return np.uint64(sum(value << (16 * lane) for lane, value in enumerate(channels)))


def premultiply(rgb: Floats, alpha: Floats) -> Pixels:
    """Pack float colour ``[..., 3]`` (0..255) and alpha ``[...]`` (0..1)."""
    out = np.empty((*alpha.shape, 4), np.uint8)
    out[..., :3] = np.clip(rgb * alpha[..., None] + 0.5, 0, 255)
    out[..., 3] = np.clip(alpha * 255 + 0.5, 0, 255)
    return pack(out)


def mix(first: Pixels, second: Pixels, weight: Pixels) -> Pixels:
    """``first`` and ``second`` mixed with ``weight`` (0..256) of the second."""
    mixed = first * (FULL - weight)
    mixed += second * weight
    mixed >>= EIGHT
    mixed &= MASK
    return mixed


def halve(pixels: Pixels, axis: int) -> Pixels:
    """Average neighbouring pixels along ``axis``; an odd last pixel is repeated."""
    if pixels.shape[axis] % 2:
        pad = [(0, 0), (0, 0)]
        pad[axis] = (0, 1)
        pixels = np.pad(pixels, pad, mode="edge")
    if axis == 0:
        total = pixels[::2] + pixels[1::2]
    else:
        total = pixels[:, ::2] + pixels[:, 1::2]
    total += ONES
    total >>= ONE
    total &= MASK
    return total


def over(target: Pixels, source: Pixels) -> Pixels:
    """Lay premultiplied ``source`` over ``target`` in place; returns the alpha (0..255) as uint64."""
    alpha = source >> ALPHA_SHIFT
    keep = FULL - (alpha + (alpha >> SEVEN))
    keep *= target
    keep >>= EIGHT
    keep &= MASK
    keep += source
    target[...] = keep
    return alpha


def taps(position: Floats, size: int) -> tuple[NDArray[np.intp], Pixels]:
    """Left neighbour (0..size-2) and the weight (0..256) of the right one for each texel position."""
    clipped = np.minimum(np.maximum(position, 0.0), size - 1.001)
    left = clipped.astype(np.intp)
    weight = ((clipped - left) * 256.0).astype(np.uint64)
    return left, weight
