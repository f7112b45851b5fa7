"""The frame being painted: colours and labels, and how things are laid onto them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from arseg.labels import CAMVID

from .camera import View
from .lanes import ALPHA_SHIFT, EIGHT, FULL, MASK, Floats, Pixels, over, pack, pack_colour
from .light import Colour, Light

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(len(CAMVID.classes))

NEAR = 0.45
"""What comes closer than this (metres) is cut off or painted as if it were here."""

FADE, FAR = 120.0, 150.0
"""Things fade out between these distances (metres)."""


def scaled(colour: Colour, gain: float) -> Colour:
    """A colour times a factor."""
    return colour[0] * gain, colour[1] * gain, colour[2] * gain


class Canvas:
    """A frame being painted: packed colours and labels, both ``[height, width]``."""

    def __init__(self, width: int, height: int, view: View, light: Light) -> None:
        self.width, self.height, self.view = width, height, view
        self.pixels = np.zeros((height, width), np.uint64)
        self.labels = np.zeros((height, width), np.uint8)
        self.haze_distance = light.haze_distance
        self.haze_colour = light.horizon
        self.haze = pack_colour(light.horizon)
        self.tint = light.tint

    def haziness(self, depth: float) -> float:
        """Share of haze in the colour of things at a depth."""
        return float(1.0 - np.exp(-depth / self.haze_distance)) * 0.9

    def lay(
        self,
        pixels: Pixels,
        top: int,
        left: int,
        label: int,
        gain: float,
        depth: float,
        inside: np.ndarray | None = None,
    ) -> None:
        """Light, haze, fade and blend premultiplied pixels onto the canvas."""
        haze = self.haziness(depth)
        clear = np.uint64(min(256, round(256 * (1 - haze) * gain)))
        alpha = pixels >> ALPHA_SHIFT
        tinted = pixels * clear
        tinted += alpha * pack_colour(self.haze_colour * haze, 255) if haze > 0.004 else (alpha * FULL) << ALPHA_SHIFT
        tinted >>= EIGHT
        tinted &= MASK
        tinted &= np.uint64(0x0000FFFFFFFFFFFF)
        tinted |= alpha << ALPHA_SHIFT
        if depth > FADE:
            tinted *= np.uint64(max(0, round(256 * (FAR - depth) / (FAR - FADE))))
            tinted >>= EIGHT
            tinted &= MASK
        rows, columns = pixels.shape
        region = (slice(top, top + rows), slice(left, left + columns))
        alpha = over(self.pixels[region], tinted)
        where = alpha > 127 if inside is None else inside & (depth < (FAR + FADE) / 2)
        np.copyto(self.labels[region], np.uint8(label), where=where)

    def polygons(self, points: Floats, counts: Sequence[int], colours: Floats, depth: float, label: int) -> None:
        """Antialiased polygons in painter's order, as one thing.

        ``points`` float ``[sum(counts), 2]`` in pixels, ``counts`` corners of each polygon, ``colours`` float
        ``[n, 3]`` before the scene's tint and haze.
        """
        low, high = points.min(0).tolist(), points.max(0).tolist()
        left, right = max(0, math.floor(low[0])), min(self.width, math.ceil(min(high[0], 1e6)) + 1)
        top, bottom = max(0, math.floor(low[1])), min(self.height, math.ceil(min(high[1], 1e6)) + 1)
        if left >= right or top >= bottom:
            return
        size = max(right - left, bottom - top)
        fine = 4 if size < 90 else 3 if size < 170 else 2
        image = Image.new("CMYK", ((right - left) * fine, (bottom - top) * fine), (0, 0, 0, 0))
        draw = ImageDraw.Draw(image)
        haze = self.haziness(depth)
        inks = np.empty((len(counts), 4), np.int64)
        inks[:, :3] = np.minimum(colours * ((1 - haze) * self.tint) + haze * self.haze_colour, 255)
        inks[:, 3] = 255
        limit = 20.0 * (self.width + self.height)
        flat = np.clip((points - (left, top)) * fine - 0.5, -limit, limit).ravel().tolist()
        cursor = 0
        for count, ink in zip(counts, inks.tolist(), strict=True):
            draw.polygon(flat[cursor : cursor + 2 * count], tuple(ink))
            cursor += 2 * count
        pixels = pack(np.asarray(image.reduce(fine)))
        if depth > FADE:
            pixels = ((pixels * np.uint64(max(0, round(256 * (FAR - depth) / (FAR - FADE))))) >> EIGHT) & MASK
        region = (slice(top, bottom), slice(left, right))
        alpha = over(self.pixels[region], pixels)
        np.copyto(self.labels[region], np.uint8(label), where=alpha > 127)

    def shapes(self, shapes: Sequence[tuple[Floats, Colour]], depth: float, label: int) -> None:
        """`polygons` from a list of (points, colour)."""
        points = np.concatenate([shape[0] for shape in shapes])
        self.polygons(points, [len(shape[0]) for shape in shapes], np.array([s[1] for s in shapes]), depth, label)
