"""`StreetScene`: the frames of a drive along a synthetic street."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .backdrop import paint_ground, paint_shadows, paint_sky
from .camera import View
from .canvas import FAR, Canvas
from .ground import TILE
from .lanes import EIGHT, MASK, Pixels
from .plan import Plan
from .plan_moving import plan_crossing, plan_traffic
from .plan_standing import plan_segment
from .sky import make_sky
from .world import World


def _whole(name: str, value: object, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
        raise ValueError(f"{name} must be a whole number of at least {low}, got {value!r}")
    return int(value)


def _number(name: str, value: object, low: float, what: str) -> float:
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        number = float(value)
        if math.isfinite(number) and number >= low:
            return number
    raise ValueError(f"{name} must be {what}, got {value!r}")


class StreetScene:
    """A seeded drive along an endless street, with a label for every pixel.

    The same seed gives the same street at any size and frame rate. Frames may be asked for in any order.

    Args:
        seed: whole number from 0; everything about the street follows from it.
        width, height: frame size in pixels, at least 1.
        rate: frames per second.
        speed: mean speed of the camera in m/s; None lets the seed choose; 0 stands still.

    Raises:
        ValueError: an argument is of the wrong type or out of range.
    """

    def __init__(
        self, seed: int = 0, *, width: int = 480, height: int = 360, rate: float = 15.0, speed: float | None = None
    ) -> None:
        self.seed = _whole("seed", seed, 0)
        self.width = _whole("width", width, 1)
        self.height = _whole("height", height, 1)
        self.rate = _number("rate", rate, 1e-3, "a number above 0 (frames per second)")
        self.speed = None if speed is None else _number("speed", speed, 0.0, "None or a number from 0 (m/s)")
        self._world = World(self.seed, self.speed)
        focal = self._world.drive.focal(self.width)
        steepest = sum(size * k for size, k, _ in self._world.course.bends)
        margin = math.ceil(focal * (steepest + 0.08)) + 4
        self._above = math.ceil(self.height * 0.6 + focal * 0.05) + 4
        below = math.ceil(focal * 0.05) + 6
        self._panorama, self._skyline = make_sky(
            np.random.default_rng([self.seed, 4]),
            self._world.light,
            self.width + 2 * margin,
            self._above,
            below,
            focal,
            self._world.season,
        )
        self._vignette = self._make_vignette()

    def frames(self, count: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """``count`` frames from index ``start`` on, as `frame` gives them."""
        count, start = _whole("count", count, 0), _whole("start", start, 0)
        return (self.frame(index) for index in range(start, start + count))

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The frame ``index`` (from 0) as ``(rgb, labels)``.

        ``rgb`` is uint8 ``[height, width, 3]``; ``labels`` is uint8 ``[height, width]`` with ids 0..10, the classes
        of `arseg.labels.CAMVID`. The same index always gives the same bits.

        Raises:
            ValueError: ``index`` is not a whole number from 0.
        """
        time = _whole("index", index, 0) / self.rate
        world, view = self._world, self._view(time)
        canvas = Canvas(self.width, self.height, view, world.light)
        paint_sky(canvas, self._panorama, self._skyline, self._above)
        paint_ground(canvas, world.ground, world.street)
        plan = self._plan(view, time)
        paint_shadows(canvas, plan.shadows)
        plan.paint(canvas)
        pixels, labels = self._finish(canvas, time), canvas.labels
        if world.mirror:
            pixels, labels = np.ascontiguousarray(pixels[:, ::-1]), np.ascontiguousarray(labels[:, ::-1])
        return pixels, labels

    def _view(self, time: float) -> View:
        return self._world.drive.view(time, self._world.course, self.width, self.height)

    def _plan(self, view: View, time: float) -> Plan:
        world = self._world
        plan = Plan(view, world.light, time)
        first, last = int((view.along - 12) // TILE), int((view.along + FAR) // TILE)
        for number in range(first, last + 1):
            segment = world.street.segment(number)
            plan_segment(plan, segment)
            if segment.tile == 2:
                plan_crossing(plan, world.traffic, world.profile, number)
        plan_traffic(plan, world.traffic)
        return plan

    def _make_vignette(self) -> Pixels:
        rows = (np.arange(self.height) + 0.5) / self.height * 2 - 1
        columns = (np.arange(self.width) + 0.5) / self.width * 2 - 1
        radius = 0.5 * (rows[:, None] ** 2 + columns[None] ** 2)
        return np.asarray(256 * (1 - 0.16 * radius**1.5))

    def _finish(self, canvas: Canvas, time: float) -> np.ndarray:
        """Soften a little as a lens does, apply vignette and exposure, unpack."""
        pixels = canvas.pixels
        if min(self.width, self.height) >= 48:
            soft = pixels * np.uint64(6)
            soft[:, 1:-1] += pixels[:, :-2] + pixels[:, 2:]
            soft[:, 0] += pixels[:, 0] + pixels[:, 1]
            soft[:, -1] += pixels[:, -1] + pixels[:, -2]
            soft >>= np.uint64(3)
            soft &= MASK
            pixels = soft * np.uint64(6)
            pixels[1:-1] += soft[:-2] + soft[2:]
            pixels[0] += soft[0] + soft[1]
            pixels[-1] += soft[-1] + soft[-2]
            pixels >>= np.uint64(3)
            pixels &= MASK
        shake = self._world.drive.shake
        exposure = 0.965 + 0.035 * math.sin(0.31 * time + shake[0]) * math.sin(0.17 * time + shake[1])
        pixels *= (self._vignette * exposure).astype(np.uint64)
        pixels >>= EIGHT
        wide = pixels.view(np.uint8).reshape(self.height, self.width, 8)
        return np.ascontiguousarray(wide[..., 0:6:2])
