"""What stands where: an endless street, made segment by segment from the seed, and what moves along it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from arseg.data.street.cars import CAR_KINDS, Car, CarModel, make_car
from arseg.data.street.figures import Look, make_look
from arseg.data.street.ground import CROSSING, MOUTH, TILE, Ground, Profile, choose_surface
from arseg.data.street.houses import House, make_house
from arseg.data.street.light import Light, choose_light
from arseg.data.street.roadside import make_fence, make_tree
from arseg.data.street.signs import SIGN_KINDS, Shape, board
from arseg.data.street.textures import Sprite, WallTexture

Colour = tuple[float, float, float]

SHADOW_CLOSE = 0.35
"""How much light contact shadows take away."""


@dataclass(frozen=True)
class Building:
    """A house front from ``start`` to ``stop`` at ``across``; ``gable``: its near end wall shows."""

    start: float
    stop: float
    across: float
    house: House
    gable: bool


@dataclass(frozen=True)
class Barrier:
    """A fence or hedge along the street; ``kerbside``: between pavement and road."""

    start: float
    stop: float
    across: float
    texture: WallTexture
    hedge: bool
    kerbside: bool


@dataclass(frozen=True)
class Tree:
    """A tree; ``size`` scales its sprite."""

    along: float
    across: float
    sprite: Sprite
    size: float
    flip: bool


@dataclass(frozen=True)
class Post:
    """A pole: lamp, telegraph, beacon, bollard, or the pole of a sign."""

    along: float
    across: float
    kind: str
    height: float
    colour: Colour


@dataclass(frozen=True)
class Sign:
    """A board on a pole, or traffic lights."""

    along: float
    across: float
    height: float
    shapes: tuple[Shape, ...]
    back: bool
    half_width: float


@dataclass(frozen=True)
class Parked:
    """A car at the kerb."""

    along: float
    across: float
    car: Car
    direction: int


@dataclass(frozen=True)
class Standing:
    """A person who waits or looks around."""

    along: float
    across: float
    look: Look


@dataclass
class Segment:
    """All that stands on one tile of street."""

    tile: int = 0
    buildings: list[Building] = field(default_factory=list)
    barriers: list[Barrier] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    signs: list[Sign] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    standing: list[Standing] = field(default_factory=list)


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


class World:
    """Everything about a scene that does not depend on the size of the frame."""

    def __init__(self, seed: int, speed: float | None) -> None:
        self.seed = seed
        rng = np.random.default_rng([seed, 1])
        self.light: Light = choose_light(rng)
        self.season = str(rng.choice(["summer", "autumn", "winter", "spring"], p=[0.5, 0.2, 0.12, 0.18]))
        self.mirror = bool(rng.random() < 0.3)
        self.mean_speed = float(rng.uniform(5.0, 10.0)) if speed is None else float(speed)
        self.character = str(
            rng.choice(["terraces", "suburb", "high street", "town", "mixed"], p=[0.22, 0.2, 0.22, 0.16, 0.2])
        )
        parking = [0.0 if rng.random() < 0.66 else 2.1, 0.0 if rng.random() < 0.55 else 2.1]
        self.parked_share = float(rng.uniform(0.3, 0.75))
        pavements = (float(rng.uniform(2.2, 4.1)), float(rng.uniform(2.2, 4.1)))
        self.profile = Profile(float(rng.uniform(2.8, 3.4)), (parking[0], parking[1]), pavements)
        self._camera(rng)
        self._course(rng)
        self.surface = choose_surface(rng)
        self._materials(seed)
        self.ground = Ground(seed, self.profile, self.surface, self.light)
        self._streams(rng)
        self._segments: dict[int, Segment] = {}
        self._cars: dict[tuple[int, int], Car] = {}
        self._crossings: dict[int, float | None] = {}
        self._looks: dict[tuple[int, int], tuple[Look, Colour]] = {}

    # --- camera and course -------------------------------------------------------------------------------------

    def _camera(self, rng: np.random.Generator) -> None:
        self.view_angle = float(np.radians(rng.uniform(50, 66)))
        self.camera_height = float(rng.uniform(1.2, 1.65))
        self.horizon = float(rng.uniform(0.45, 0.53))
        self.camera_across = -self.profile.lane / 2 + float(rng.uniform(-0.15, 0.35))
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

    def _course(self, rng: np.random.Generator) -> None:
        self.bends: list[tuple[float, float, float]] = []
        bendy = float(rng.choice([0.15, 0.6, 1.0]))
        for length in (rng.uniform(170, 240), rng.uniform(260, 420)):
            radius = rng.uniform(260, 600) / bendy
            size = (length / (2 * np.pi)) ** 2 / radius
            self.bends.append((float(size), float(2 * np.pi / length), float(rng.uniform(0, 2 * np.pi))))

    def position(self, time: float) -> float:
        """How far the camera has come, in metres."""
        total = self.mean_speed * time
        for change, rate, phase in self.surge:
            total += change / rate * (np.sin(rate * time + phase) - np.sin(phase))
        return float(total)

    def course(self, along: np.ndarray | float) -> np.ndarray:
        """Sideways offset of the street's centre line."""
        return np.asarray(sum(size * np.sin(k * np.asarray(along) + phase) for size, k, phase in self.bends))

    def heading(self, along: float) -> float:
        """Slope of the street's centre line."""
        return float(sum(size * k * np.cos(k * along + phase) for size, k, phase in self.bends))

    # --- materials ---------------------------------------------------------------------------------------------

    def _materials(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 2])
        mixes = {
            "terraces": ["terrace"] * 6 + ["render"] * 3 + ["shops"] * 2 + ["stone"],
            "suburb": ["terrace"] * 4 + ["render"] * 6 + ["flats"],
            "high street": ["shops"] * 7 + ["terrace"] + ["render"] + ["stone"] * 2 + ["office"],
            "town": ["stone"] * 4 + ["office"] * 2 + ["flats"] * 2 + ["shops"] * 2 + ["terrace"] * 2,
            "mixed": ["terrace"] * 3 + ["render"] * 3 + ["shops"] * 3 + ["flats", "office", "stone"],
        }
        self.houses: dict[int, list[House]] = {-1: [], 1: []}
        for index, style in enumerate(mixes[self.character]):
            house = make_house(rng, style, self.light)
            self.houses[-1 if index % 2 else 1].append(house)
        self.fences = [
            make_fence(rng, str(style), self.light)
            for style in rng.choice(["iron", "wood", "picket", "wall", "wood", "iron"], 3, replace=False)
        ]
        self.rail = make_fence(rng, "rail", self.light)
        self.hedge = make_fence(rng, "hedge", self.light)
        evergreen = ["summer" if self.season == "winter" and index == 0 else self.season for index in range(5)]
        self.tree_sprites = [make_tree(rng, self.light, season) for season in evergreen]
        self.models = {kind: CarModel(kind) for kind in CAR_KINDS}
        green = float(rng.uniform(0, 1))
        self.lamp_colour: Colour = [(74, 78, 80), (40, 54, 48), (120, 122, 122), (36, 36, 40)][int(rng.integers(4))]
        self.lamp_height = float(rng.uniform(5.5, 8.5))
        self.tree_share = {"terraces": 0.1, "suburb": 0.4, "high street": 0.1, "town": 0.2, "mixed": 0.25}[
            self.character
        ] + 0.2 * green
        self.setbacks = {
            side: float(0.0 if self.character in ("high street",) or rng.random() < 0.25 else rng.uniform(1.2, 3.4))
            for side in (-1, 1)
        }
        self.park_share = {"terraces": 0.12, "suburb": 0.22, "high street": 0.06, "town": 0.16, "mixed": 0.18}[
            self.character
        ]

    # --- what moves --------------------------------------------------------------------------------------------

    def _streams(self, rng: np.random.Generator) -> None:
        lane, profile = self.profile.lane, self.profile
        swing = sum(change / rate for change, rate, _ in self.surge)
        ahead = float(rng.uniform(12, 24)) + 2 * swing
        gap = float(rng.uniform(24, 46))
        self.traffic = [
            Stream("oncoming", -float(rng.uniform(6, 10)), lane / 2 - 0.1, gap, (gap - 13) / 2, 0.75, 0.1, 0.0),
            Stream("ahead", self.mean_speed, -lane / 2, float(rng.uniform(20, 34)), 3.0, 0.7, 0.12, ahead),
        ]
        self.people: list[Stream] = []
        for side in (-1, 1):
            inner, outer = profile.road(side) + 0.45, profile.edge(side) - 0.4
            for direction in (-1, 1):
                across = side * float(rng.uniform(inner, outer))
                spacing = float(rng.uniform(9, 24)) * (0.7 if self.character == "high street" else 1.0)
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
            chance = np.random.default_rng([self.seed, 5, key, number % 2**32]).random(4)
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
        if number in self._crossings:
            return self._crossings[number]
        found = None
        place = number * TILE + CROSSING
        if self.mean_speed > 0:
            low, high = 0.0, 2.0 * max(place, 1.0) / self.mean_speed + 60.0
            for _ in range(40):
                middle = (low + high) / 2
                low, high = (middle, high) if self.position(middle) < place else (low, middle)
            for lead in (10.0, 9.0, 11.0, 12.0, 13.5, 8.0, 15.0):
                begin = low - lead
                if all(self._clear(place, begin + 0.3, begin + 7.5, 0.5)):
                    found = begin
                    break
        self._crossings[number] = found
        return found

    def _clear(self, place: float, begin: float, end: float, step: float) -> Iterator[bool]:
        """Whether nothing drives at ``place``, for the times from ``begin`` to ``end``."""
        for time in np.arange(begin, end, step):
            for key, stream in [*enumerate(self.traffic), *enumerate(self.cyclists, 30)]:
                margin = 5.5 + abs(stream.speed) * step / 2
                yield not self.members(stream, key, place - margin, place + margin, float(time))

    def car(self, key: int, number: int) -> Car:
        """The car with this number in a stream."""
        found = self._cars.get((key, number))
        if found is None:
            if len(self._cars) > 1024:
                self._cars.clear()
            rng = np.random.default_rng([self.seed, 6, key, number % 2**32])
            found = self._cars[key, number] = make_car(rng, self.models, big=not (key == 1 and number == 0))
        return found

    def person(self, key: int, number: int) -> tuple[Look, Colour]:
        """The person with this number in a stream, and a bright colour for a bicycle."""
        found = self._looks.get((key, number))
        if found is None:
            if len(self._looks) > 1024:
                self._looks.clear()
            rng = np.random.default_rng([self.seed, 7, key, number % 2**32])
            options: list[Colour] = [
                (170, 40, 40),
                (40, 70, 150),
                (40, 40, 44),
                (200, 200, 196),
                (60, 120, 80),
                (210, 200, 60),
            ]
            found = self._looks[key, number] = (make_look(rng), options[int(rng.integers(len(options)))])
        return found

    # --- what stands -------------------------------------------------------------------------------------------

    def segment(self, number: int) -> Segment:
        """What stands on a segment of street; the same for the same number, whatever was asked before."""
        found = self._segments.get(number)
        if found is None:
            if len(self._segments) > 256:
                self._segments.clear()
            found = self._segments[number] = self._build(number)
        return found

    def _build(self, number: int) -> Segment:
        rng = np.random.default_rng([self.seed, 3, number % 2**32])
        segment = Segment()
        draw = rng.random()
        if number % 4 == 2 and draw < 0.8:
            segment.tile = 2
        elif number % 2 == 1 and draw < 0.75:
            segment.tile = 3 if rng.random() < 0.5 else 4
        else:
            segment.tile = int(rng.integers(2))
        start = number * TILE
        for side in (-1, 1):
            opened = segment.tile == (3 if side < 0 else 4)
            self._side(segment, rng, start, side, opened)
        if segment.tile == 2:
            self._crossing(segment, start)
        return segment

    def _side(self, segment: Segment, rng: np.random.Generator, start: float, side: int, opened: bool) -> None:
        profile = self.profile
        road, edge = profile.road(side), profile.edge(side)
        park = rng.random() < self.park_share
        setback = self.setbacks[side]
        spans = [(0.0, MOUTH - 5.5), (MOUTH + 5.5, TILE)] if opened else [(0.0, TILE)]
        fence = self.fences[int(rng.integers(len(self.fences)))]
        fenced = park or setback > 0.5
        for first, last in spans:
            if park:
                self._park(segment, rng, start + first, start + last, side, edge)
            else:
                self._row(segment, rng, start + first, start + last, side, edge + setback)
            if fenced:
                hedge = rng.random() < 0.25
                texture = self.hedge if hedge else fence
                across = side * (edge + 0.05)
                cuts = [start + first, start + last]
                if not park and rng.random() < 0.7:
                    gate = start + rng.uniform(first + 2, last - 3)
                    cuts = [start + first, gate, gate + 1.2, start + last]
                for low, high in zip(cuts[::2], cuts[1::2], strict=True):
                    segment.barriers.append(Barrier(low, high, across, texture, hedge, False))
        parking = profile.parking[side > 0] > 0.5
        if (not parking and segment.tile == 2) or (not opened and not parking and rng.random() < 0.2):
            low, high = (
                (start + CROSSING - 12, start + CROSSING - 2.5) if segment.tile == 2 else (start + 4, start + 22)
            )
            segment.barriers.append(Barrier(low, high, side * (road + 0.25), self.rail, False, True))
        if parking:
            self._parked(segment, rng, start, side, opened, road)
        self._furniture(segment, rng, start, side, opened, road, edge, setback)

    def _row(
        self, segment: Segment, rng: np.random.Generator, low: float, high: float, side: int, across: float
    ) -> None:
        houses = self.houses[side]
        places: list[House | None] = []
        total = 0.0
        while total < (high - low) - 3.0:
            if places and rng.random() < (0.25 if self.character == "suburb" else 0.06):
                places.append(None)
                total += 2.4
                continue
            fitting = [house for house in houses if house.front.width < (high - low) - total + 2.5]
            if not fitting:
                break
            house = fitting[int(rng.integers(len(fitting)))]
            repeat = 1 if rng.random() < 0.6 or house.front.width > 9 else 2
            for _ in range(repeat):
                if total < (high - low) - house.front.width * 0.8:
                    places.append(house)
                    total += house.front.width
        if not places or total <= 0:
            return
        stretch = (high - low) / total
        cursor, previous, step = low, None, 0.0
        for place in places:
            width = (place.front.width if place else 2.4) * stretch
            if place:
                forward = 0.0 if rng.random() < 0.75 else float(rng.uniform(0.0, 0.6))
                open_end = previous is None or previous.front.height < place.front.height - 0.1 or forward < step
                segment.buildings.append(Building(cursor, cursor + width, side * (across + forward), place, open_end))
                step = forward
            previous = place
            cursor += width

    def _park(
        self, segment: Segment, rng: np.random.Generator, low: float, high: float, side: int, edge: float
    ) -> None:
        segment.barriers.append(Barrier(low, high, side * (edge + 1.6), self.hedge, True, False))
        cursor = low + rng.uniform(0.5, 3)
        while cursor < high:
            sprite = self.tree_sprites[int(rng.integers(len(self.tree_sprites)))]
            segment.trees.append(
                Tree(
                    cursor,
                    side * (edge + rng.uniform(2.6, 7.5)),
                    sprite,
                    float(rng.uniform(0.8, 1.25)),
                    bool(rng.random() < 0.5),
                )
            )
            cursor += rng.uniform(2.2, 5.0)

    def _parked(
        self, segment: Segment, rng: np.random.Generator, start: float, side: int, opened: bool, road: float
    ) -> None:
        cursor = start + rng.uniform(2.4, 5)
        while cursor < start + TILE - 2.0:
            local = cursor - start
            blocked = (opened and abs(local - MOUTH) < 8.0) or (segment.tile == 2 and abs(local - CROSSING) < 7.5)
            car = make_car(rng, self.models, big=False)
            if not blocked and rng.random() < self.parked_share:
                direction = 1 if side < 0 else -1
                if rng.random() < 0.15:
                    direction = -direction
                segment.parked.append(
                    Parked(cursor, side * (road - car.model.size[1] / 2 - rng.uniform(0.12, 0.3)), car, direction)
                )
            cursor += car.model.size[0] + rng.uniform(0.7, 2.2)

    def _furniture(
        self,
        segment: Segment,
        rng: np.random.Generator,
        start: float,
        side: int,
        opened: bool,
        road: float,
        edge: float,
        setback: float,
    ) -> None:
        def free(local: float) -> bool:
            return not (opened and abs(local - MOUTH) < 6.5) and not (segment.tile == 2 and abs(local - CROSSING) < 2.2)

        lamp = 6.0 if side < 0 else 22.0
        if free(lamp):
            segment.posts.append(Post(start + lamp, side * (road + 0.45), "lamp", self.lamp_height, self.lamp_colour))
        if rng.random() < 0.35 and free(28.0):
            segment.posts.append(Post(start + 28.0, side * (edge - 0.2), "telegraph", 8.0, (92, 78, 62)))
        local = rng.uniform(1.0, 5.0)
        while local < TILE:
            if rng.random() < self.tree_share and free(local) and abs(local - lamp) > 1.5:
                sprite = self.tree_sprites[int(rng.integers(len(self.tree_sprites)))]
                verge = setback > 1.5 and rng.random() < 0.5
                across = edge + 0.9 if verge else road + 0.75
                size = min(float(rng.uniform(0.62, 1.05)), (2.0 * (2.2 if not verge else 3.2)) / sprite.width + 0.25)
                segment.trees.append(Tree(start + local, side * across, sprite, size, bool(rng.random() < 0.5)))
            local += rng.uniform(6.0, 11.0)
        for local in (4.0, 20.0):
            local += float(rng.uniform(0, 4))
            if rng.random() < 0.55 and free(local):
                self._sign(segment, rng, start + local, side, road)
        if rng.random() < 0.35:
            for step in range(4):
                local = 8.5 + 1.6 * step
                if free(local):
                    segment.posts.append(Post(start + local, side * (road + 0.35), "bollard", 0.95, (34, 34, 38)))
        if rng.random() < 0.45:
            local = rng.uniform(3, 29)
            for _ in range(int(rng.integers(1, 4))):
                if free(local):
                    across = side * rng.uniform(road + 0.6, edge - 0.35)
                    segment.standing.append(Standing(start + local, across, make_look(rng)))
                local += rng.uniform(0.6, 1.2)

    def _sign(self, segment: Segment, rng: np.random.Generator, along: float, side: int, road: float) -> None:
        kind = SIGN_KINDS[int(rng.integers(len(SIGN_KINDS)))]
        shapes, half_width, half_height = board(kind, rng)
        bottom = 2.0 + float(rng.uniform(0, 0.3)) if kind != "direction" else 1.6
        height = bottom + half_height
        across = side * (road + 0.4 + (half_width if kind == "direction" else 0.0))
        segment.posts.append(Post(along + 0.02, across, "sign", height + half_height, (116, 118, 118)))
        back = bool(side > 0 and rng.random() < 0.65)
        segment.signs.append(Sign(along, across, height, tuple(shapes), back, half_width))
        if kind in ("limit", "warning", "blue") and rng.random() < 0.4:
            plate, width, _ = board("plate", rng)
            segment.signs.append(Sign(along, across, height - half_height - 0.4, tuple(plate), back, width))

    def _crossing(self, segment: Segment, start: float) -> None:
        for side in (-1, 1):
            for along in (CROSSING - 1.8, CROSSING + 1.8):
                across = side * (self.profile.road(side) + 0.4)
                segment.posts.append(Post(start + along, across, "beacon", 2.9, (226, 226, 224)))
