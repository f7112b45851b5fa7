"""The boards of signs."""

from __future__ import annotations

import numpy as np

from .lanes import Floats

Colour = tuple[float, float, float]
Shape = tuple[Floats, Colour]

_ROUND = np.linspace(0, 2 * np.pi, 14, endpoint=False)


def board(kind: str, rng: np.random.Generator) -> tuple[list[Shape], float, float]:
    """A sign's board facing the traffic, centred on (0, 0): shapes, half width and half height in metres."""
    shapes: list[Shape] = []

    def disc(radius: float, colour: Colour) -> None:
        shapes.append((np.stack([0 * _ROUND, radius * np.cos(_ROUND), radius * np.sin(_ROUND)], 1), colour))

    def box(y0: float, h0: float, y1: float, h1: float, colour: Colour) -> None:
        shapes.append((np.array([(0, y0, h0), (0, y1, h0), (0, y1, h1), (0, y0, h1)], np.float64), colour))

    def triangle(size: float, colour: Colour) -> None:
        shapes.append((np.array([(0, -size, -0.6 * size), (0, size, -0.6 * size), (0, 0, 1.12 * size)]), colour))

    white, red, blue, black = (226, 226, 222), (186, 28, 34), (28, 76, 156), (30, 30, 32)
    if kind == "limit":
        disc(0.38, red)
        disc(0.28, white)
        box(-0.17, -0.14, -0.02, 0.14, black)
        box(0.04, -0.14, 0.18, 0.14, black)
        box(-0.12, -0.05, -0.07, 0.05, white)
        box(0.08, -0.08, 0.13, 0.08, white)
        return shapes, 0.38, 0.38
    if kind == "warning":
        triangle(0.46, red)
        triangle(0.3, white)
        box(-0.04, -0.12, 0.04, 0.12, black)
        return shapes, 0.46, 0.42
    if kind == "blue":
        disc(0.36, white)
        disc(0.33, blue)
        box(-0.04, -0.22, 0.04, 0.12, white)
        shapes.append((np.array([(0, -0.15, 0.06), (0, 0.15, 0.06), (0, 0, 0.24)]), white))
        return shapes, 0.36, 0.36
    if kind == "direction":
        colour = [(22, 92, 66), white, (28, 76, 156)][int(rng.integers(3))]
        ink = black if colour == white else white
        w, h = float(rng.uniform(0.75, 1.15)), float(rng.uniform(0.42, 0.7))
        box(-w, -h, w, h, ink)
        box(-w + 0.05, -h + 0.05, w - 0.05, h - 0.05, colour)
        rows = max(2, int(h / 0.2))
        for row in range(rows):
            level = h - 0.2 - (2 * h - 0.25) * row / rows
            cursor = -w + 0.15
            while cursor < w * rng.uniform(0.3, 0.8):
                letter = float(rng.uniform(0.05, 0.13))
                box(cursor, level - 0.1, cursor + letter, level + 0.04, ink)
                cursor += letter + 0.05
        return shapes, w, h
    if kind == "bus":
        box(-0.28, -0.36, 0.28, 0.36, (196, 40, 40) if rng.random() < 0.6 else (210, 180, 50))
        box(-0.2, -0.05, 0.2, 0.2, white)
        box(-0.2, -0.28, 0.2, -0.14, black)
        return shapes, 0.28, 0.36
    box(-0.33, -0.33, 0.33, 0.33, white)
    box(-0.3, -0.3, 0.3, 0.3, blue if rng.random() < 0.7 else (206, 176, 50))
    box(-0.12, -0.2, -0.02, 0.2, white)
    box(-0.02, 0.0, 0.14, 0.2, white)
    return shapes, 0.33, 0.33


SIGN_KINDS = ("limit", "warning", "blue", "direction", "bus", "plate")
