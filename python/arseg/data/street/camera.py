"""The camera: the course of the street it follows, its drive along it, and what it sees where."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .lanes import Floats


class Course:
    """The bends of the street's centre line."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.bends: list[tuple[float, float, float]] = []
        bendy = float(rng.choice([0.15, 0.6, 1.0]))
        for length in (rng.uniform(170, 240), rng.uniform(260, 420)):
            radius = rng.uniform(260, 600) / bendy
            size = (length / (2 * np.pi)) ** 2 / radius
            self.bends.append((float(size), float(2 * np.pi / length), float(rng.uniform(0, 2 * np.pi))))

    def at(self, along: np.ndarray | float) -> np.ndarray:
        """Sideways offset of the street's centre line."""
        return np.asarray(sum(size * np.sin(k * np.asarray(along) + phase) for size, k, phase in self.bends))

    def slope(self, along: float) -> float:
        """Slope of the street's centre line."""
        return float(sum(size * k * np.cos(k * along + phase) for size, k, phase in self.bends))


@dataclass(frozen=True)
class View:
    """The camera at one moment: where it is and at which column and row it sees a point.

    ``offset`` and ``slope`` are those of the street's centre line at the camera.
    """

    along: float
    across: float
    height: float
    focal: float
    centre_x: float
    middle: float
    horizon: float
    pan: float
    course: Course
    offset: float
    slope: float

    def bend(self, depth: Floats | float) -> Floats:
        """Sideways shift of the street at a depth ahead of the camera."""
        return self.course.at(self.along + np.asarray(depth)) - self.offset - self.slope * np.asarray(depth)

    def bend_at(self, depth: float) -> float:
        """`bend` of one depth, faster."""
        along = self.along + depth
        total = -self.offset - self.slope * depth
        for size, k, phase in self.course.bends:
            total += size * math.sin(k * along + phase)
        return total

    def x_at(self, across: float, depth: float) -> float:
        """`x` of one point, faster."""
        return self.centre_x + self.focal * (across - self.across + self.bend_at(depth)) / depth

    def y_at(self, up: float, depth: float) -> float:
        """`y` of one point, faster."""
        return self.horizon + self.focal * (self.height - up) / depth

    def x(self, across: Floats | float, depth: Floats | float) -> Floats:
        """Column of points at a position across the street and a depth."""
        return self.centre_x + self.focal * (across - self.across + self.bend(depth)) / depth

    def y(self, up: Floats | float, depth: Floats | float) -> Floats:
        """Row of points at a height and a depth."""
        return self.horizon + self.focal * (self.height - np.asarray(up)) / depth


class Drive:
    """How the camera is mounted, moves along the street and shakes."""

    def __init__(self, rng: np.random.Generator, mean_speed: float, lane: float) -> None:
        self.mean_speed = mean_speed
        self.view_angle = float(np.radians(rng.uniform(50, 66)))
        self.height = float(rng.uniform(1.2, 1.65))
        self.horizon = float(rng.uniform(0.45, 0.53))
        self.across = -lane / 2 + float(rng.uniform(-0.15, 0.35))
        self.surge = [
            (
                self.mean_speed * float(rng.uniform(0.08, 0.22)),
                float(rng.uniform(0.12, 0.5)),
                float(rng.uniform(0, 6.28)),
            )
            for _ in range(3)
        ]
        self.shake = rng.uniform(0, 2 * np.pi, 8)
        self.shake_rate = rng.uniform(0.75, 1.3, 8)
        self.shake_size = float(rng.uniform(0.5, 1.2))

    def position(self, time: float) -> float:
        """How far the camera has come, in metres."""
        total = self.mean_speed * time
        for change, rate, phase in self.surge:
            total += change / rate * (np.sin(rate * time + phase) - np.sin(phase))
        return float(total)

    def focal(self, width: int) -> float:
        """Focal length in pixels for frames of a width."""
        return width / 2 / math.tan(self.view_angle / 2)

    def view(self, time: float, course: Course, width: int, height: int) -> View:
        """The camera at a time, for frames of a size."""
        wave = [
            math.sin(rate * time * base + phase)
            for rate, phase, base in zip(
                self.shake_rate, self.shake, (1.9, 3.1, 0.7, 1.3, 0.45, 2.3, 0.6, 1.1), strict=True
            )
        ]
        size = self.shake_size
        along = self.position(time)
        slope = course.slope(along)
        yaw = size * (0.006 * wave[2] + 0.003 * wave[3])
        pitch = size * (0.004 * wave[0] + 0.002 * wave[1] + 0.003 * wave[7])
        focal = self.focal(width)
        return View(
            along=along,
            across=self.across + size * (0.10 * wave[4] + 0.03 * wave[6]),
            height=self.height + size * 0.012 * wave[5],
            focal=focal,
            centre_x=width / 2 - focal * yaw,
            middle=width / 2,
            horizon=height * self.horizon + focal * pitch,
            pan=focal * slope,
            course=course,
            offset=float(course.at(along)),
            slope=slope,
        )
