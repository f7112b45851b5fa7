"""Outlines of shadows on the ground: float ``[n, 3]`` (along, across, up = 0)."""

from __future__ import annotations

import math

import numpy as np

from .lanes import Floats

Shadow = tuple[Floats, int]
"""An outline, and how much light is lost inside it (0..255)."""


def box(along: float, across: float, half_length: float, half_width: float) -> Floats:
    low, high, left, right = along - half_length, along + half_length, across - half_width, across + half_width
    return np.array([(low, left, 0), (low, right, 0), (high, right, 0), (high, left, 0)], float)


def disc(along: float, across: float, length: float, width: float) -> Floats:
    angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    return np.stack([along + length * np.cos(angles), across + width * np.sin(angles), 0 * angles], 1)


def streak(along: float, across: float, half: float, reach: tuple[float, float], height: float) -> Floats:
    """The long shadow of something thin."""
    x, s = reach[0] * height, reach[1] * height
    length = math.hypot(x, s) + 1e-6
    nx, ns = -s / length * half, x / length * half
    points = [
        (along + ns, across + nx, 0),
        (along - ns, across - nx, 0),
        (along + s - ns, across + x - nx, 0),
        (along + s + ns, across + x + nx, 0),
    ]
    return np.array(points, float)


def hull(points: Floats) -> Floats:
    """Convex hull of points on the ground."""
    ordered = sorted({(float(p[0]), float(p[1])) for p in points})
    chains: list[tuple[float, float]] = []
    for sequence in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for p in sequence:
            while len(chain) > 1:
                (ax, ay), (bx, by) = chain[-2], chain[-1]
                if (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax) > 0:
                    break
                chain.pop()
            chain.append(p)
        chains += chain[:-1]
    return np.array([(a, b, 0.0) for a, b in chains])
