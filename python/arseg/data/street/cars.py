"""Vehicles as convex parts in three dimensions, painted without the faces turned away from the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .lanes import Floats

Colour = tuple[float, float, float]

_ROUND = np.linspace(0, 2 * np.pi, 14, endpoint=False)

CAR_COLOURS = [
    (30, 32, 36), (52, 54, 58), (112, 116, 120), (168, 172, 176), (206, 208, 208), (214, 212, 204), (120, 24, 28),
    (158, 34, 36), (26, 44, 92), (50, 84, 140), (30, 64, 52), (92, 104, 84), (136, 128, 110), (60, 42, 40),
    (190, 160, 60),
]  # fmt: skip


class CarModel:
    """A vehicle of convex parts. Faces: vertices, outward normal, material, brightness, level of detail."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.points: list[Floats] = []
        self.normals: list[Floats] = []
        self.materials: list[str] = []
        self._gains: list[float] = []
        self._details: list[int] = []
        getattr(self, f"_{kind}")()
        self.origin = np.array([points[0] for points in self.points])
        self.normal = np.array(self.normals)
        self.gains, self.details = np.array(self._gains), np.array(self._details)
        self.counts = np.array([len(points) for points in self.points])
        self.vertices = np.concatenate(self.points)
        low, high = self.vertices.min(0), self.vertices.max(0)
        self.size = high - low

    def _face(
        self, points: Sequence[Sequence[float]], outward: Sequence[float], material: str, detail: int = 0
    ) -> None:
        array = np.array(points, np.float64)
        normal = np.cross(array[1] - array[0], array[2] - array[0])
        length = float(np.linalg.norm(normal))
        if length < 1e-9:
            normal = np.cross(array[1] - array[0], array[3] - array[0])
            length = float(np.linalg.norm(normal))
        normal = normal / length
        if float(normal @ np.array(outward, np.float64)) < 0:
            normal = -normal
        self.points.append(array)
        self.normals.append(normal)
        self.materials.append(material)
        self._gains.append(0.62 + 0.43 * max(0.0, float(normal[2])) + 0.10 * abs(float(normal[0])))
        self._details.append(detail)

    def _prism(
        self, profile: Sequence[tuple[float, float]], low: float, high: float, materials: Sequence[str], side: str
    ) -> None:
        """Extrude a side profile (along, up); half width ``low`` at its lowest point, ``high`` at its highest."""
        heights = [point[1] for point in profile]
        bottom, top = min(heights), max(heights)

        def half(height: float) -> float:
            return low + (high - low) * (height - bottom) / (top - bottom)

        centre = np.mean(np.array(profile), 0)
        count = len(profile)
        for index in range(count):
            (l0, h0), (l1, h1) = profile[index], profile[(index + 1) % count]
            middle = ((l0 + l1) / 2 - centre[0], 0.0, (h0 + h1) / 2 - centre[1])
            points = [(l0, -half(h0), h0), (l0, half(h0), h0), (l1, half(h1), h1), (l1, -half(h1), h1)]
            self._face(points, middle, materials[index])
        for sign in (-1, 1):
            self._face([(along, sign * half(up), up) for along, up in profile], (0, sign, 0), side)

    def _on_side(self, points: Sequence[tuple[float, float]], half: float, material: str, detail: int = 1) -> None:
        for sign in (-1, 1):
            self._face([(along, sign * half, up) for along, up in points], (0, sign, 0), material, detail)

    def _on_end(
        self, along: float, boxes: Sequence[tuple[float, float, float, float]], material: str, detail: int = 1
    ) -> None:
        for y0, h0, y1, h1 in boxes:
            self._face(
                [(along, y0, h0), (along, y1, h0), (along, y1, h1), (along, y0, h1)], (along, 0, 0), material, detail
            )

    def _wheels(self, places: Sequence[float], half: float, radius: float) -> None:
        for place in places:
            for size, material, detail in ((1.22, "arch", 0), (1.0, "tyre", 0), (0.6, "hub", 1)):
                ring = [(place + radius * size * np.cos(a), radius + radius * size * np.sin(a)) for a in _ROUND]
                if material == "arch":
                    ring = [(along, max(up, 0.22)) for along, up in ring]
                self._on_side(ring, half + 0.015, material, detail)

    def _passenger(
        self, body: Sequence[tuple[float, float]], cabin: Sequence[tuple[float, float]], half: float, belt: float
    ) -> None:
        rear, front = min(p[0] for p in body), max(p[0] for p in body)
        under = [(rear + 0.25, 0.14), (rear + 0.25, 0.4), (front - 0.25, 0.4), (front - 0.25, 0.14)]
        self._prism(under, half * 0.86, half * 0.86, ["dark"] * 4, "dark")
        self._prism(body, half, half * 0.97, ["body"] * len(body), "body")
        self._on_side(
            [(rear + 0.15, 0.26), (front - 0.15, 0.26), (front - 0.15, 0.4), (rear + 0.15, 0.4)], half + 0.004, "sill"
        )
        lower = [(rear + 0.06, 0.4), (front - 0.06, 0.4), (front - 0.05, 0.62), (rear + 0.05, 0.62)]
        self._on_side(lower, half + 0.002, "lower")
        for door in (-0.75, 0.25, 1.1):
            self._on_side(
                [(door, 0.42), (door + 0.025, 0.42), (door + 0.025, belt), (door, belt)], half + 0.004, "seam", 2
            )
        for door in (-0.6, 0.45):
            self._on_side(
                [(door, belt - 0.17), (door + 0.18, belt - 0.17), (door + 0.18, belt - 0.12), (door, belt - 0.12)],
                half + 0.006,
                "seam",
                2,
            )
        self._wheels((rear + 0.78, front - 0.82), half, 0.32)
        top = max(p[1] for p in cabin)
        c0, c1, c2, c3 = cabin
        self._prism(cabin, half * 0.95, half * 0.74, ["body", "body", "body", "body"], "body")

        def half_at(height: float) -> float:
            return half * (0.95 - 0.21 * (height - belt) / (top - belt))

        def pane(low: tuple[float, float], high: tuple[float, float], shift: float) -> None:
            points = []
            for share, sign in ((0.1, -1), (0.1, 1), (0.92, 1), (0.92, -1)):
                along, up = low[0] + (high[0] - low[0]) * share + shift, low[1] + (high[1] - low[1]) * share
                points.append((along, sign * half_at(up) * 0.88, up))
            self._face(points, (shift, 0, 0.2), "glass")

        pane(c0, c1, -0.01)
        pane(c3, c2, 0.01)
        for sign in (-1, 1):
            side = []
            low, high = belt + 0.05, top - 0.08
            for (a0, h0), (a1, h1), height, inset in (
                (c0, c1, low, 0.16),
                (c3, c2, low, -0.2),
                (c3, c2, high, -0.1),
                (c0, c1, high, 0.12),
            ):
                share = (height - h0) / (h1 - h0)
                side.append((a0 + (a1 - a0) * share + inset, sign * (half_at(height) + 0.006), height))
            self._face(side, (0, sign, 0), "glass")
            middle = (side[0][0] + side[1][0]) / 2 - 0.1
            pillar = [(middle, sign * (half_at(low) + 0.01), low), (middle + 0.08, sign * (half_at(low) + 0.01), low)]
            pillar += [
                (middle + 0.08, sign * (half_at(high) + 0.01), high),
                (middle, sign * (half_at(high) + 0.01), high),
            ]
            self._face(pillar, (0, sign, 0), "body", 1)
        self._ends(rear, front, half, belt)

    def _ends(self, rear: float, front: float, half: float, belt: float) -> None:
        back, nose = rear - 0.012, front + 0.012
        self._on_end(back, [(-half * 0.98, 0.28, half * 0.98, 0.44)], "sill")
        self._on_end(nose, [(-half * 0.98, 0.26, half * 0.98, 0.4)], "sill")
        lamp = belt - 0.2
        self._on_end(
            back,
            [
                (-half * 0.97, lamp - 0.12, -half * 0.68, lamp + 0.1),
                (half * 0.68, lamp - 0.12, half * 0.97, lamp + 0.1),
            ],
            "tail",
            0,
        )
        self._on_end(back, [(-0.27, 0.52, 0.27, 0.64)], "plate_rear")
        self._on_end(nose, [(-half * 0.95, 0.56, -half * 0.6, 0.74), (half * 0.6, 0.56, half * 0.95, 0.74)], "head", 0)
        self._on_end(nose, [(-half * 0.5, 0.5, half * 0.5, 0.68)], "grille")
        self._on_end(nose, [(-0.26, 0.36, 0.26, 0.47)], "plate_front")

    def _hatch(self) -> None:
        body = [(-1.95, 0.26), (-1.98, 0.6), (-1.9, 0.94), (1.0, 0.96), (1.86, 0.82), (1.98, 0.55), (1.95, 0.26)]
        self._passenger(body, [(-1.92, 0.93), (-1.5, 1.46), (0.25, 1.48), (1.1, 0.95)], 0.86, 0.94)

    def _saloon(self) -> None:
        body = [(-2.25, 0.26), (-2.28, 0.62), (-2.2, 0.95), (1.0, 0.96), (2.1, 0.8), (2.26, 0.55), (2.22, 0.26)]
        self._passenger(body, [(-1.75, 0.94), (-1.05, 1.42), (0.25, 1.44), (1.05, 0.95)], 0.89, 0.94)

    def _estate(self) -> None:
        body = [(-2.3, 0.28), (-2.33, 0.65), (-2.28, 0.98), (1.0, 1.0), (2.05, 0.88), (2.2, 0.6), (2.17, 0.28)]
        self._passenger(body, [(-2.28, 0.98), (-2.0, 1.6), (0.2, 1.64), (1.05, 0.99)], 0.92, 0.98)

    def _cab(self) -> None:
        body = [(-2.2, 0.28), (-2.22, 0.7), (-2.1, 1.05), (0.75, 1.05), (1.95, 0.95), (2.1, 0.6), (2.05, 0.28)]
        self._passenger(body, [(-2.12, 1.04), (-1.7, 1.76), (-0.1, 1.78), (0.72, 1.05)], 0.9, 1.05)

    def _tall(self, length: float, height: float, half: float, nose: float, glass: float) -> None:
        rear, front = -length / 2, length / 2
        body = [
            (rear, 0.35),
            (rear, height),
            (front - nose, height),
            (front - nose * 0.15, 1.15),
            (front, 1.05),
            (front, 0.35),
        ]
        self._prism(body, half, half * 0.94, ["body"] * 6, "body")
        self._on_side(
            [(rear + 0.1, 0.35), (front - 0.1, 0.35), (front - 0.1, 0.52), (rear + 0.1, 0.52)], half + 0.01, "sill"
        )
        self._wheels((rear + 0.2 * length, front - 0.2 * length), half, 0.36 if length < 7 else 0.46)

        def wide(up: float) -> float:
            return half * (1 - 0.06 * (up - 0.35) / (height - 0.35))

        low, high = 1.2, height - 0.25
        a_low, a_high = front - nose * 0.15 + 0.01, front - nose + 0.01
        share_l, share_h = (low - 1.15) / (height - 1.15), (high - 1.15) / (height - 1.15)
        along_l, along_h = a_low + (a_high - a_low) * share_l, a_low + (a_high - a_low) * share_h
        sill, head = wide(low) * 0.9, wide(high) * 0.88
        screen = [(along_l, -sill, low), (along_l, sill, low), (along_h, head, high), (along_h, -head, high)]
        self._face(screen, (1, 0, 0.3), "glass")
        panes = [(front - nose - 0.75, front - nose * 0.75)]
        if glass > 0:
            count = max(2, round((length - 2.2) / 1.3))
            step = (length - nose - 1.0) / count
            panes += [(rear + 0.25 + step * i, rear + 0.15 + step * (i + 1)) for i in range(count)]
        floors = [(1.25, min(height - 0.3, 2.05))]
        if height > 3.5:
            floors.append((2.75, height - 0.4))
        for bottom, top in floors:
            for a0, a1 in panes:
                for sign in (-1, 1):
                    points = [(a0, sign * (wide(bottom) + 0.01), bottom), (a1, sign * (wide(bottom) + 0.01), bottom)]
                    points += [(a1, sign * (wide(top) + 0.01), top), (a0, sign * (wide(top) + 0.01), top)]
                    self._face(points, (0, sign, 0), "glass")
            back = rear - 0.01
            if glass > 0:
                self._on_end(back, [(-half * 0.8, bottom, half * 0.8, top)], "glass", 0)
            else:
                self._on_end(back, [(-half * 0.8, bottom, -0.08, top), (0.08, bottom, half * 0.8, top)], "glass", 0)
                self._on_end(back, [(-0.015, 0.5, 0.015, height - 0.1)], "seam", 1)
        back, face = rear - 0.012, front + 0.012
        self._on_end(back, [(-half, 0.35, half, 0.5)], "sill")
        self._on_end(back, [(-half * 0.98, 0.75, -half * 0.82, 1.2), (half * 0.82, 0.75, half * 0.98, 1.2)], "tail", 0)
        self._on_end(back, [(-0.27, 0.6, 0.27, 0.72)], "plate_rear")
        self._on_end(
            face, [(-half * 0.95, 0.65, -half * 0.62, 0.88), (half * 0.62, 0.65, half * 0.95, 0.88)], "head", 0
        )
        self._on_end(face, [(-half * 0.5, 0.6, half * 0.5, 0.85)], "grille")
        self._on_end(face, [(-half, 0.35, half, 0.5)], "sill")
        if height > 3.5:
            self._on_end(back, [(-half * 0.4, 2.25, half * 0.4, 2.6)], "seam", 0)

    def _van(self) -> None:
        self._tall(4.9, 2.15, 0.95, 1.0, 0.0)

    def _bus(self) -> None:
        self._tall(9.6, 2.95, 1.14, 0.25, 1.0)

    def _decker(self) -> None:
        self._tall(9.8, 4.25, 1.14, 0.25, 1.0)


CAR_KINDS = ("hatch", "saloon", "estate", "cab", "van", "bus", "decker")


@dataclass(frozen=True)
class Car:
    """One vehicle: its model and the colour of each face, float ``[faces, 3]``."""

    model: CarModel
    colours: Floats


def make_car(rng: np.random.Generator, models: dict[str, CarModel], big: bool) -> Car:
    """A vehicle of a random kind and colour."""
    weights = [0.4, 0.22, 0.15, 0.05, 0.12, 0.03, 0.03] if big else [0.46, 0.25, 0.16, 0.02, 0.11, 0.0, 0.0]
    kind = str(rng.choice(CAR_KINDS, p=weights))
    body = np.array(CAR_COLOURS[int(rng.integers(len(CAR_COLOURS)))], np.float64) + rng.normal(0, 6, 3)
    if kind == "cab":
        body = np.array([28.0, 28.0, 32.0])
    elif kind == "van" and rng.random() < 0.6:
        body = np.array([212.0, 212.0, 210.0])
    elif kind == "decker":
        body = np.array([164.0, 34.0, 36.0])

    def tone(colour: Floats) -> Colour:
        red, green, blue = (float(value) for value in np.clip(colour, 12, 235))
        return red, green, blue

    brakes = rng.random() < 0.25
    colours: dict[str, Colour] = {
        "body": tone(body),
        "glass": tone(np.array([46.0, 54.0, 62.0]) + rng.uniform(-10, 22)),
        "dark": (22, 22, 24),
        "sill": tone(body * 0.45 if rng.random() < 0.7 else np.array([40.0, 40.0, 42.0])),
        "arch": (24, 24, 26),
        "tyre": (34, 34, 36),
        "hub": tone(np.full(3, rng.uniform(90, 170))),
        "lower": tone(body * 0.86),
        "seam": tone(body * 0.55),
        "tail": (236, 40, 32) if brakes else (150, 24, 26),
        "head": (232, 232, 220),
        "grille": (36, 36, 40),
        "plate_rear": (204, 176, 60),
        "plate_front": (214, 214, 210),
    }
    return Car(models[kind], np.array([colours[material] for material in models[kind].materials]))
