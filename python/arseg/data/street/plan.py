"""What a frame needs painted, collected before the painting starts, and the shadows that things cast."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from .camera import View
from .canvas import FAR, Canvas
from .lanes import Floats
from .light import Light
from .shadows import Shadow, box, disc, hull, streak

SLAB = 8.0
"""Depth of the slabs (metres) in which the street is painted from far to near."""

NEAREST = 0.9
"""Things that stand closer than this (metres) are not painted."""


class Plan:
    """The things and shadows of one frame; things of one slab are painted by rising ``order``."""

    def __init__(self, view: View, light: Light, time: float) -> None:
        self.view, self.light, self.time = view, light, time
        self.flanks = light.side_gain(1) * 1.05, light.side_gain(-1) * 1.05
        self.sunny = light.shadow > 0.3
        self.shadows: list[Shadow] = []
        self._strength = int(255 * light.shadow)
        self._jobs: list[tuple[tuple[int, int, float], Callable[[Canvas], None]]] = []

    def add(self, along: float, order: int, paint: Callable[[Canvas], None]) -> None:
        """Have a thing painted."""
        slab = -math.floor(along / SLAB)
        self._jobs.append(((slab, order, -along), paint))

    def paint(self, canvas: Canvas) -> None:
        """Paint all things from far to near."""
        self._jobs.sort(key=lambda job: job[0])
        for _, paint in self._jobs:
            paint(canvas)

    # --- what can be seen --------------------------------------------------------------------------------------

    def sees(self, along: float, across: float, far: float, reach: float) -> bool:
        """Whether something ``reach`` metres wide to either side may show in the frame."""
        view = self.view
        depth = along - view.along
        if not NEAREST < depth < far:
            return False
        x, margin = view.x_at(across, depth), view.focal * reach / depth
        return -margin < x < 2 * view.middle + margin

    def is_small(self, along: float) -> bool:
        """Whether a person there is less than about 16 pixels high."""
        return self.view.focal < 9.0 * (along - self.view.along)

    def pieces(self, start: float, stop: float) -> list[tuple[float, float]]:
        """Cut start..stop at the slabs (far away: at every other one), keeping what lies ahead and near enough."""
        camera = self.view.along
        start, stop = max(start, camera), min(stop, camera + FAR)
        cuts = [start]
        edge = (math.floor(start / SLAB) + 1) * SLAB
        while edge < stop:
            if edge - camera < 24 or edge % (2 * SLAB) == 0:
                cuts.append(edge)
            edge += SLAB
        cuts.append(stop)
        return [(low, high) for low, high in itertools.pairwise(cuts) if high - low > 1e-6]

    # --- shadows -----------------------------------------------------------------------------------------------

    def cast(self, outline: Floats, share: float = 1.0) -> None:
        """Cast a shadow in the sun, ``share`` as dark as a full one."""
        self.shadows.append((outline, int(self._strength * share)))

    def cast_streak(self, along: float, across: float, half: float, height: float) -> None:
        """Cast the long shadow of something thin, if the sun is out."""
        if self.sunny:
            self.cast(streak(along, across, half, self.light.shadow_reach, height))

    def cast_car(self, along: float, across: float, size: Floats) -> None:
        """Cast the shadow of a vehicle."""
        self.shadows.append((box(along, across, size[0] / 2 + 0.25, size[1] / 2 + 0.2), 64))
        self.shadows.append((box(along, across, size[0] / 2, size[1] / 2), 170))
        if self.sunny:
            reach_x, reach_s = self.light.shadow_reach
            height = size[2] * 0.85
            base = box(along, across, size[0] / 2, size[1] / 2)
            moved = base + np.array([reach_s * height, reach_x * height, 0.0])
            self.cast(hull(np.concatenate([base, moved])))

    def cast_person(self, along: float, across: float, height: float) -> None:
        """Cast the shadow of someone on foot."""
        self.shadows.append((disc(along, across, 0.26, 0.26), 90))
        self.cast_streak(along, across, 0.2, height)
