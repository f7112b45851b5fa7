"""What stands where: an endless street, made segment by segment from the seed."""

from __future__ import annotations

import numpy as np

from .cars import make_car
from .figures import make_look
from .ground import CROSSING, MOUTH, TILE, Profile
from .houses import House
from .materials import Materials
from .signs import SIGN_KINDS, board
from .standing import Barrier, Building, Parked, Post, Segment, Sign, Standing, Tree


class Street:
    """The segments of an endless street; ``parked_share`` of the places at the kerb are taken."""

    def __init__(self, seed: int, profile: Profile, materials: Materials, parked_share: float) -> None:
        self._seed = seed
        self._profile = profile
        self._materials = materials
        self._parked_share = parked_share
        self._segments: dict[int, Segment] = {}

    def segment(self, number: int) -> Segment:
        """What stands on a segment of street; the same for the same number, whatever was asked before."""
        found = self._segments.get(number)
        if found is None:
            if len(self._segments) > 256:
                self._segments.clear()
            found = self._segments[number] = self._build(number)
        return found

    def _build(self, number: int) -> Segment:
        rng = np.random.default_rng([self._seed, 3, number % 2**32])
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
        profile = self._profile
        road, edge = profile.road(side), profile.edge(side)
        park = rng.random() < self._materials.park_share
        setback = self._materials.setbacks[side]
        spans = [(0.0, MOUTH - 5.5), (MOUTH + 5.5, TILE)] if opened else [(0.0, TILE)]
        fence = self._materials.fences[int(rng.integers(len(self._materials.fences)))]
        fenced = park or setback > 0.5
        for first, last in spans:
            if park:
                self._park(segment, rng, start + first, start + last, side, edge)
            else:
                self._row(segment, rng, start + first, start + last, side, edge + setback)
            if fenced:
                hedge = rng.random() < 0.25
                texture = self._materials.hedge if hedge else fence
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
            segment.barriers.append(Barrier(low, high, side * (road + 0.25), self._materials.rail, False, True))
        if parking:
            self._parked(segment, rng, start, side, opened, road)
        self._furniture(segment, rng, start, side, opened, road, edge, setback)

    def _row(
        self, segment: Segment, rng: np.random.Generator, low: float, high: float, side: int, across: float
    ) -> None:
        houses = self._materials.houses[side]
        places: list[House | None] = []
        total = 0.0
        while total < (high - low) - 3.0:
            if places and rng.random() < self._materials.gap_share:
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
        segment.barriers.append(Barrier(low, high, side * (edge + 1.6), self._materials.hedge, True, False))
        cursor = low + rng.uniform(0.5, 3)
        while cursor < high:
            sprite = self._materials.tree_sprites[int(rng.integers(len(self._materials.tree_sprites)))]
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
            car = make_car(rng, self._materials.models, big=False)
            if not blocked and rng.random() < self._parked_share:
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
            segment.posts.append(
                Post(
                    start + lamp, side * (road + 0.45), "lamp", self._materials.lamp_height, self._materials.lamp_colour
                )
            )
        if rng.random() < 0.35 and free(28.0):
            segment.posts.append(Post(start + 28.0, side * (edge - 0.2), "telegraph", 8.0, (92, 78, 62)))
        local = rng.uniform(1.0, 5.0)
        while local < TILE:
            if rng.random() < self._materials.tree_share and free(local) and abs(local - lamp) > 1.5:
                sprite = self._materials.tree_sprites[int(rng.integers(len(self._materials.tree_sprites)))]
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
                across = side * (self._profile.road(side) + 0.4)
                segment.posts.append(Post(start + along, across, "beacon", 2.9, (226, 226, 224)))
