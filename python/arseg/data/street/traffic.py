"""Who moves along the street, and who crosses it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .camera import Drive
from .cars import Car, CarModel, make_car
from .figures import Look, make_look
from .ground import CROSSING, TILE, Profile
from .light import Colour


@dataclass(frozen=True)
class Stream:
    """Things that follow each other along the street at one speed."""

    name: str
    speed: float
    across: float
    spacing: float
    jitter: float
    share: float
    spread: float
    start: float


class Traffic:
    """The streams of cars, walkers and cyclists, and the people at the crossings."""

    def __init__(
        self,
        rng: np.random.Generator,
        seed: int,
        character: str,
        profile: Profile,
        drive: Drive,
        models: dict[str, CarModel],
    ) -> None:
        self._seed = seed
        self._drive = drive
        self._models = models
        self._known_cars: dict[tuple[int, int], Car] = {}
        self._known_crossings: dict[int, float | None] = {}
        self._known_people: dict[tuple[int, int], tuple[Look, Colour]] = {}
        lane = profile.lane
        swing = sum(change / rate for change, rate, _ in drive.surge)
        ahead = float(rng.uniform(12, 24)) + 2 * swing
        gap = float(rng.uniform(24, 46))
        self.cars = [
            Stream("oncoming", -float(rng.uniform(6, 10)), lane / 2 - 0.1, gap, (gap - 13) / 2, 0.75, 0.1, 0.0),
            Stream("ahead", drive.mean_speed, -lane / 2, float(rng.uniform(20, 34)), 3.0, 0.7, 0.12, ahead),
        ]
        self.people: list[Stream] = []
        for side in (-1, 1):
            inner, outer = profile.road(side) + 0.45, profile.edge(side) - 0.4
            for direction in (-1, 1):
                across = side * float(rng.uniform(inner, outer))
                spacing = float(rng.uniform(9, 24)) * (0.7 if character == "high street" else 1.0)
                pace = direction * float(rng.uniform(1.0, 1.6))
                start = float(rng.uniform(0, 30))
                self.people.append(Stream("walk", pace, across, spacing, 0.4 * spacing, 0.6, 0.25, start))
        self.cyclists = []
        for side, speed, low, high in (
            (-1, float(rng.uniform(3.6, 5.0)), 24, 38),
            (1, -float(rng.uniform(3.8, 5.4)), 26, 48),
        ):
            spacing, start = float(rng.uniform(low, high)), float(rng.uniform(0, 30))
            self.cyclists.append(Stream("ride", speed, side * (lane - 0.32), spacing, 8.0, 0.85, 0.1, start))
        self.crossing_side = [int(value) for value in rng.choice([-1, 1], 8)]

    def members(self, stream: Stream, key: int, low: float, high: float, time: float) -> list[tuple[int, float, float]]:
        """Who of a stream is between ``low`` and ``high``: (number, along, across)."""
        shift = stream.start + stream.speed * time
        first = int(np.floor((low - shift - stream.jitter) / stream.spacing))
        last = int(np.ceil((high - shift + stream.jitter) / stream.spacing))
        found = []
        for number in range(first, last + 1):
            if stream.name == "ahead" and number < 0:
                continue
            chance = np.random.default_rng([self._seed, 5, key, number % 2**32]).random(4)
            if chance[0] > stream.share and not (stream.name == "ahead" and number == 0):
                continue
            along = shift + number * stream.spacing + (chance[1] - 0.5) * 2 * stream.jitter
            if stream.name == "ahead":
                along = shift + number * stream.spacing + chance[1] * stream.jitter
            across = stream.across + (chance[2] - 0.5) * 2 * stream.spread
            if low <= along <= high:
                found.append((number, float(along), float(across)))
        return found

    def crossing_start(self, number: int) -> float | None:
        """When people start over the crossing of a segment, before the camera comes and between cars; None: never."""
        if number in self._known_crossings:
            return self._known_crossings[number]
        found = None
        place = number * TILE + CROSSING
        if self._drive.mean_speed > 0:
            low, high = 0.0, 2.0 * max(place, 1.0) / self._drive.mean_speed + 60.0
            for _ in range(40):
                middle = (low + high) / 2
                low, high = (middle, high) if self._drive.position(middle) < place else (low, middle)
            for lead in (10.0, 9.0, 11.0, 12.0, 13.5, 8.0, 15.0):
                begin = low - lead
                if all(self._clear(place, begin + 0.3, begin + 7.5, 0.5)):
                    found = begin
                    break
        self._known_crossings[number] = found
        return found

    def _clear(self, place: float, begin: float, end: float, step: float) -> Iterator[bool]:
        """Whether nothing drives at ``place``, for the times from ``begin`` to ``end``."""
        for time in np.arange(begin, end, step):
            for key, stream in [*enumerate(self.cars), *enumerate(self.cyclists, 30)]:
                margin = 5.5 + abs(stream.speed) * step / 2
                yield not self.members(stream, key, place - margin, place + margin, float(time))

    def car(self, key: int, number: int) -> Car:
        """The car with this number in a stream."""
        found = self._known_cars.get((key, number))
        if found is None:
            if len(self._known_cars) > 1024:
                self._known_cars.clear()
            rng = np.random.default_rng([self._seed, 6, key, number % 2**32])
            found = self._known_cars[key, number] = make_car(rng, self._models, big=not (key == 1 and number == 0))
        return found

    def person(self, key: int, number: int) -> tuple[Look, Colour]:
        """The person with this number in a stream, and a bright colour for a bicycle."""
        found = self._known_people.get((key, number))
        if found is None:
            if len(self._known_people) > 1024:
                self._known_people.clear()
            rng = np.random.default_rng([self._seed, 7, key, number % 2**32])
            options: list[Colour] = [
                (170, 40, 40),
                (40, 70, 150),
                (40, 40, 44),
                (200, 200, 196),
                (60, 120, 80),
                (210, 200, 60),
            ]
            found = self._known_people[key, number] = (make_look(rng), options[int(rng.integers(len(options)))])
        return found
