"""What procedural surfaces are made with: noise, colours, a drawing sheet in metres, and prefiltered textures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .lanes import Floats, Pixels, halve, premultiply
from .light import Light

Colour = tuple[int, int, int]

FACADE_PPM = 24
"""Texels per metre of facades; fences use twice as many."""


def noise(
    rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 1, wrap: bool = False
) -> Floats:
    """Smooth noise of about unit variance, float32 ``[height, width]``; the largest features span ``cell`` texels."""
    total = np.zeros((height, width), np.float32)
    weight = 1.0
    for _ in range(octaves):
        rows, columns = max(2, round(height / cell)), max(2, round(width / cell))
        grid = rng.standard_normal((rows, columns)).astype(np.float32)
        if wrap:
            grid = np.pad(grid, 2, mode="wrap")
            box = (2.0, 2.0, columns + 2.0, rows + 2.0)
            total += weight * np.asarray(
                Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box=box)
            )
        else:
            total += weight * np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
        weight *= 0.55
        cell = max(1.0, cell / 2.3)
    return total


def vary(rng: np.random.Generator, colour: Colour, amount: float = 12) -> Colour:
    """A colour near the given one."""
    shift = rng.normal(0, amount * 0.5) + rng.normal(0, amount * 0.35, 3)
    red, green, blue = (int(min(max(value + change, 8.0), 245.0)) for value, change in zip(colour, shift, strict=True))
    return red, green, blue


def darker(colour: Colour, factor: float) -> Colour:
    """A colour times a factor."""
    red, green, blue = (int(min(max(value * factor, 0.0), 255.0)) for value in colour)
    return red, green, blue


def pick(rng: np.random.Generator, options: Sequence[Colour]) -> Colour:
    """One of the colours."""
    return options[int(rng.integers(len(options)))]


class Sheet:
    """A drawing in metres, y upwards, twice oversampled; `finish` gives the packed texture, row 0 at the bottom."""

    def __init__(self, width: float, height: float, ppm: int) -> None:
        self.width, self.height, self.ppm = width, height, ppm
        self.columns, self.rows = max(4, round(width * ppm)), max(4, round(height * ppm))
        self.image = Image.new("RGBA", (2 * self.columns, 2 * self.rows), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.image)

    def points(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """Metres to pixels of the oversampled image."""
        k = 2 * self.ppm
        return [(x * k, 2 * self.rows - y * k) for x, y in points]

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill a rectangle."""
        (left, bottom), (right, top) = self.points([(x0, y0), (x1, y1)])
        if right - left >= 1 and bottom - top >= 1:
            self.draw.rectangle((round(left), round(top), round(right) - 1, round(bottom) - 1), (*colour, 255))

    def polygon(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon."""
        self.draw.polygon(self.points(points), (*colour, 255))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse."""
        (left, bottom), (right, top) = self.points([(x - rx, y - ry), (x + rx, y + ry)])
        self.draw.ellipse((left, top, right, bottom), (*colour, 255))

    def line(self, points: Sequence[tuple[float, float]], width: float, colour: Colour) -> None:
        """Draw a polyline of the given width in metres."""
        pixels = max(1, round(width * 2 * self.ppm))
        self.draw.line(self.points(points), (*colour, 255), pixels, joint="curve")

    def finish(self, light: Light, grain: Floats | None = None, gain: float = 1.0) -> Pixels:
        """Reduce, add ``grain`` (float ``[rows, columns]``, in grey levels), light, premultiply and pack."""
        rgba = np.asarray(self.image.reduce(2), np.float32)[::-1]
        colour = rgba[..., :3]
        if grain is not None:
            colour = colour + grain[..., None].astype(np.float32)
        return premultiply(np.clip(colour, 0, 255) * (light.tint * gain).astype(np.float32), rgba[..., 3] / 255.0)


class WallTexture:
    """Prefiltered texture of a vertical wall: for every vertical level, all horizontal levels side by side.

    ``levels[v]`` is ``[columns of level 0 + level 1 + …, texels upwards + 2]`` (column-major, transparent border above
    and below); ``starts[h]`` and ``widths[h]`` locate a horizontal level in it.
    """

    MAX_LEVEL = 5

    def __init__(self, texture: Pixels, width: float, height: float) -> None:
        self.width, self.height = width, height
        columns = [np.ascontiguousarray(texture.T)]
        while len(columns) <= self.MAX_LEVEL + 1 and columns[-1].shape[0] > 2:
            columns.append(halve(columns[-1], 0))
        self.widths = np.array([level.shape[0] for level in columns])
        self.starts = np.concatenate([[0], np.cumsum(self.widths)[:-1]])
        joined = np.concatenate(columns)
        self.levels: list[Pixels] = []
        for _ in range(self.MAX_LEVEL + 1):
            self.levels.append(np.pad(joined, ((0, 0), (1, 1))))
            if joined.shape[1] <= 2:
                break
            joined = halve(joined, 1)


class Sprite:
    """Prefiltered flat picture with a transparent border; ``levels[i]`` is reduced by 2**i."""

    def __init__(self, texture: Pixels, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.levels: list[Pixels] = []
        level = np.ascontiguousarray(texture[::-1])
        while True:
            self.levels.append(np.pad(level, 1))
            if min(level.shape) <= 2 or len(self.levels) > 7:
                break
            level = halve(halve(level, 0), 1)
