"""`StreetScene`: the frames of a drive along a synthetic street."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from arseg.data.street.cars import Car
from arseg.data.street.figures import Part, rider, walker
from arseg.data.street.furniture import paint_post, paint_sign
from arseg.data.street.ground import CROSSING, TILE
from arseg.data.street.houses import GABLE_DEPTH
from arseg.data.street.lanes import EIGHT, MASK, Floats, Pixels
from arseg.data.street.layout import Barrier, Building, Stream, Tree, World
from arseg.data.street.render import BICYCLIST, BUILDING, FAR, FENCE, PEDESTRIAN, TREE, Canvas, View
from arseg.data.street.shadows import box, disc, hull, streak
from arseg.data.street.sky import make_sky

SLAB = 8.0
"""Depth of the slabs (metres) in which the street is painted from far to near."""

NEAREST = 0.9
"""Things that stand closer than this (metres) are not painted."""


def _seen(view: View, along: float, across: float, far: float, reach: float) -> bool:
    """Whether something ``reach`` metres wide to either side may show in the frame."""
    depth = along - view.along
    if not NEAREST < depth < far:
        return False
    x, margin = view.x_at(across, depth), view.focal * reach / depth
    return -margin < x < 2 * view.middle + margin


def _far(view: View, along: float) -> bool:
    """Whether a person there is less than about 16 pixels high."""
    return view.focal < 9.0 * (along - view.along)


def _sign_of(stream: Stream) -> int:
    return 1 if stream.speed >= 0 else -1


def _job(view: View, along: float, order: int, paint: Callable[[Canvas], None]) -> Job:
    slab = -math.floor(along / SLAB)
    return (slab, order, -along), paint


def _pieces(start: float, stop: float, camera: float) -> list[tuple[float, float]]:
    """Cut start..stop at the slabs (far away: at every other one), keeping what lies ahead and near enough."""
    start, stop = max(start, camera), min(stop, camera + FAR)
    cuts = [start]
    edge = (math.floor(start / SLAB) + 1) * SLAB
    while edge < stop:
        if edge - camera < 24 or edge % (2 * SLAB) == 0:
            cuts.append(edge)
        edge += SLAB
    cuts.append(stop)
    return [(low, high) for low, high in itertools.pairwise(cuts) if high - low > 1e-6]


def _paint_tree(tree: Tree, gain: float) -> Callable[[Canvas], None]:
    width, height = tree.sprite.width * tree.size, tree.sprite.height * tree.size

    def paint(canvas: Canvas) -> None:
        canvas.sprite(tree.sprite, tree.across, tree.along, width, height, tree.flip, min(1.0, gain + 0.05), TREE, 0.5)

    return paint


def _paint_parts(
    parts: list[Part], along: float, across: float, heading: tuple[float, float], label: int, gain: tuple[float, float]
) -> Callable[[Canvas], None]:
    return lambda canvas: canvas.figure(parts, along, across, heading, label, gain)


Job = tuple[tuple[int, int, float], Callable[[Canvas], None]]
Shadow = tuple[Floats, int]


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
        self._focal = self.width / 2 / math.tan(self._world.view_angle / 2)
        steepest = sum(size * k for size, k, _ in self._world.bends)
        margin = math.ceil(self._focal * (steepest + 0.08)) + 4
        self._above = math.ceil(self.height * 0.6 + self._focal * 0.05) + 4
        below = math.ceil(self._focal * 0.05) + 6
        self._panorama, self._skyline = make_sky(
            np.random.default_rng([self.seed, 4]),
            self._world.light,
            self.width + 2 * margin,
            self._above,
            below,
            self._focal,
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
        of `arseg.data.camvid.CLASSES`. The same index always gives the same bits.

        Raises:
            ValueError: ``index`` is not a whole number from 0.
        """
        time = _whole("index", index, 0) / self.rate
        view = self._view(time)
        canvas = Canvas(self.width, self.height, view, self._world.light.horizon)
        canvas.sky(self._panorama, self._skyline, self._above)
        canvas.ground(self._world.ground)
        jobs: list[Job] = []
        shadows: list[Shadow] = []
        self._collect_standing(view, time, jobs, shadows)
        self._collect_moving(view, time, jobs, shadows)
        canvas.shadows(shadows)
        jobs.sort(key=lambda job: job[0])
        for _, paint in jobs:
            paint(canvas)
        pixels, labels = self._finish(canvas, time), canvas.labels
        if self._world.mirror:
            pixels, labels = np.ascontiguousarray(pixels[:, ::-1]), np.ascontiguousarray(labels[:, ::-1])
        return pixels, labels

    # --- camera ------------------------------------------------------------------------------------------------

    def _view(self, time: float) -> View:
        world = self._world
        wave = [
            math.sin(rate * time * base + phase)
            for rate, phase, base in zip(
                world.shake_rate, world.shake, (1.9, 3.1, 0.7, 1.3, 0.45, 2.3, 0.6, 1.1), strict=True
            )
        ]
        size = world.shake_size
        along = world.position(time)
        slope = world.heading(along)
        yaw = size * (0.006 * wave[2] + 0.003 * wave[3])
        pitch = size * (0.004 * wave[0] + 0.002 * wave[1] + 0.003 * wave[7])
        focal = self._focal
        return View(
            world=world,
            along=along,
            across=world.camera_across + size * (0.10 * wave[4] + 0.03 * wave[6]),
            height=world.camera_height + size * 0.012 * wave[5],
            focal=focal,
            centre_x=self.width / 2 - focal * yaw,
            middle=self.width / 2,
            horizon=self.height * world.horizon + focal * pitch,
            pan=focal * slope,
            course=float(world.course(along)),
            slope=slope,
        )

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
        shake = self._world.shake
        exposure = 0.965 + 0.035 * math.sin(0.31 * time + shake[0]) * math.sin(0.17 * time + shake[1])
        pixels *= (self._vignette * exposure).astype(np.uint64)
        pixels >>= EIGHT
        wide = pixels.view(np.uint8).reshape(self.height, self.width, 8)
        return np.ascontiguousarray(wide[..., 0:6:2])

    # --- what to paint -----------------------------------------------------------------------------------------

    def _collect_standing(self, view: View, time: float, jobs: list[Job], shadows: list[Shadow]) -> None:
        world, light = self._world, self._world.light
        first, last = int((view.along - 12) // TILE), int((view.along + FAR) // TILE)
        for number in range(first, last + 1):
            segment = world.segment(number)
            for building in segment.buildings:
                self._building(view, building, jobs, shadows)
            for barrier in segment.barriers:
                self._barrier(view, barrier, jobs, shadows)
            for tree in segment.trees:
                if _seen(view, tree.along, tree.across, FAR, 0.5 * tree.sprite.width * tree.size + 9):
                    jobs.append(
                        _job(view, tree.along, 3, _paint_tree(tree, light.side_gain(1 if tree.across > 0 else -1)))
                    )
                    self._tree_shadow(tree, shadows)
            for post in segment.posts:
                if _seen(view, post.along, post.across, FAR * 0.75, 4.0):
                    jobs.append(_job(view, post.along, 3, paint_post(view, post, self._flanks())))
                    if post.along - view.along < 40:
                        shadows.append((disc(post.along, post.across, 0.16, 0.16), 70))
                    if light.shadow > 0.3:
                        shadows.append(
                            (
                                streak(post.along, post.across, 0.07, light.shadow_reach, min(3.5, post.height)),
                                self._strength(),
                            )
                        )
            for sign in segment.signs:
                if _seen(view, sign.along, sign.across, FAR * 0.75, 1.5):
                    jobs.append(_job(view, sign.along - 0.01, 3, paint_sign(view, sign)))
            for parked in segment.parked:
                if -3 < parked.along - view.along < FAR:
                    jobs.append(self._vehicle_job(view, parked.car, parked.along, parked.across, parked.direction, 5))
                    self._box_shadow(parked.along, parked.across, parked.car.model.size, shadows)
            for index, person in enumerate(segment.standing):
                if _seen(view, person.along, person.across, 80.0, 2.5):
                    simple = _far(view, person.along)
                    phase = person.look.phase + 0.6 * math.sin(0.8 * time + index)
                    parts = walker(person.look, phase, False, simple)
                    heading = (-1.0, 0.0) if index % 2 else (0.0, -1.0 if person.across > 0 else 1.0)
                    jobs.append(
                        _job(
                            view,
                            person.along,
                            3,
                            _paint_parts(parts, person.along, person.across, heading, PEDESTRIAN, self._flanks()),
                        )
                    )
                    self._person_shadow(person.along, person.across, person.look.height, shadows)
            if segment.tile == 2:
                self._crossers(view, number, jobs, shadows, time)

    def _collect_moving(self, view: View, time: float, jobs: list[Job], shadows: list[Shadow]) -> None:
        world = self._world
        low, high = view.along - 4, view.along + FAR
        for key, stream in enumerate(world.traffic):
            for number, along, across in world.members(stream, key, low, high, time):
                car = world.car(key, number)
                direction = 1 if stream.name == "ahead" else -1
                if car.model.size[0] > 7:
                    across += 0.12 * direction
                jobs.append(self._vehicle_job(view, car, along, across, direction, 5))
                self._box_shadow(along, across, car.model.size, shadows)
        for key, stream in enumerate(world.people, 10):
            for number, along, across in world.members(stream, key, view.along + NEAREST, view.along + 85, time):
                if not _seen(view, along, across, 85.0, 2.5):
                    continue
                look, _ = world.person(key, number)
                phase = look.phase + stream.speed * time * 2.35 / look.stride / (look.height / 1.7) * _sign_of(stream)
                heading = (float(_sign_of(stream)), 0.0)
                jobs.append(
                    _job(
                        view,
                        along,
                        3,
                        _paint_parts(
                            walker(look, phase, True, _far(view, along)),
                            along,
                            across,
                            heading,
                            PEDESTRIAN,
                            self._flanks(),
                        ),
                    )
                )
                self._person_shadow(along, across, look.height, shadows)
        for key, stream in enumerate(world.cyclists, 30):
            for number, along, across in world.members(stream, key, view.along + NEAREST, view.along + 95, time):
                if not _seen(view, along, across, 95.0, 2.5):
                    continue
                look, frame = world.person(key, number)
                phase = look.phase - abs(stream.speed) * time * 1.5
                heading = (float(_sign_of(stream)), 0.0)
                jobs.append(
                    _job(
                        view,
                        along,
                        5,
                        _paint_parts(
                            rider(look, frame, phase, _far(view, along)),
                            along,
                            across,
                            heading,
                            BICYCLIST,
                            self._flanks(),
                        ),
                    )
                )
                shadows.append((box(along, across, 0.8, 0.16), 90))
                if self._world.light.shadow > 0.3:
                    shadows.append((streak(along, across, 0.35, self._world.light.shadow_reach, 1.6), self._strength()))

    def _flanks(self) -> tuple[float, float]:
        light = self._world.light
        return light.side_gain(1) * 1.05, light.side_gain(-1) * 1.05

    def _strength(self) -> int:
        return int(255 * self._world.light.shadow)

    def _vehicle_job(self, view: View, car: Car, along: float, across: float, direction: int, order: int) -> Job:
        flanks = self._flanks()
        return _job(view, along, order, lambda canvas: canvas.car(car, along, across, direction, flanks))

    def _building(self, view: View, building: Building, jobs: list[Job], shadows: list[Shadow]) -> None:
        low, high = building.start - view.along, building.stop - view.along
        if high < 0.5 or low > FAR:
            return
        side = 1 if building.across > 0 else -1
        front = building.house.front
        stretch = (building.stop - building.start) / front.width
        gain = self._world.light.side_gain(side)
        if building.gable and low > 1.0:
            gable = building.house.gable
            anchor = 0.0 if side > 0 else 1.0
            end_gain = 0.5 + 0.42 * (gain if self._world.light.contrast > 0.2 else 1.0)

            def paint_gable(canvas: Canvas) -> None:
                canvas.sprite(
                    gable, building.across, building.start, GABLE_DEPTH, gable.height, False, end_gain, BUILDING, anchor
                )

            jobs.append(_job(view, building.start, 0, paint_gable))
        for start, stop in _pieces(building.start, building.stop, view.along):

            def paint(canvas: Canvas, start: float = start, stop: float = stop) -> None:
                canvas.wall(front, building.across, start, stop, building.start, stretch, gain, BUILDING, False)

            jobs.append(_job(view, stop - 1e-6, 1, paint))
        height = building.house.body_height
        reach_x, reach_s = self._world.light.shadow_reach
        inner, start, stop = building.across, building.start, building.stop
        if low < 60:
            edge = inner - side * 0.7
            shadows.append(
                (np.array([(start, inner, 0), (stop, inner, 0), (stop, edge, 0), (start, edge, 0)], float), 60)
            )
            if reach_x * side < 0 and self._world.light.shadow > 0.3:
                far = inner + reach_x * height
                shift = reach_s * height
                points = [(start, inner, 0), (stop, inner, 0), (stop + shift, far, 0), (start + shift, far, 0)]
                shadows.append((np.array(points, float), self._strength()))

    def _barrier(self, view: View, barrier: Barrier, jobs: list[Job], shadows: list[Shadow]) -> None:
        low, high = barrier.start - view.along, barrier.stop - view.along
        if high < 0.5 or low > FAR * 0.8:
            return
        side = 1 if barrier.across > 0 else -1
        gain = self._world.light.side_gain(side)
        label = TREE if barrier.hedge else FENCE
        for start, stop in _pieces(barrier.start, barrier.stop, view.along):

            def paint(canvas: Canvas, start: float = start, stop: float = stop) -> None:
                canvas.wall(barrier.texture, barrier.across, start, stop, 0.0, 1.0, gain, label, not barrier.hedge)

            jobs.append(_job(view, stop - 1e-6, 4 if barrier.kerbside else 2, paint))
        if low < 40:
            near, far = barrier.across - side * 0.25, barrier.across + side * 0.15
            points = [
                (barrier.start, near, 0),
                (barrier.stop, near, 0),
                (barrier.stop, far, 0),
                (barrier.start, far, 0),
            ]
            shadows.append((np.array(points, float), 56))

    def _crossers(self, view: View, number: int, jobs: list[Job], shadows: list[Shadow], time: float) -> None:
        """People on a crossing; all have left the road before the camera arrives."""
        world = self._world
        place = number * TILE + CROSSING
        gap = place - view.along
        if not 1.0 < gap < 80.0:
            return
        begin = world.crossing_start(number)
        for index in range(3):
            look, _ = world.person(50 + index, number)
            side = world.crossing_side[(number + index) % 8]
            width = world.profile.road(-1) + world.profile.road(1) + 1.2
            progress = -1.0 if begin is None else 1.5 * (time - begin - 0.7 * index)
            along = place + (index - 1) * 0.8
            heading = (0.0, -float(side))
            if progress < 0:
                across, moving = side * (world.profile.road(side) + 0.6), False
            elif progress < width:
                across, moving = side * (world.profile.road(side) + 0.6 - progress), True
            else:
                across, moving = -side * (world.profile.road(-side) + 0.6), False
            parts = walker(look, look.phase + progress * 2.35, moving, _far(view, along))
            jobs.append(
                _job(
                    view,
                    along,
                    5 if moving else 3,
                    _paint_parts(parts, along, across, heading, PEDESTRIAN, self._flanks()),
                )
            )
            self._person_shadow(along, across, look.height, shadows)

    # --- shadows -----------------------------------------------------------------------------------------------

    def _box_shadow(self, along: float, across: float, size: Floats, shadows: list[Shadow]) -> None:
        shadows.append((box(along, across, size[0] / 2 + 0.25, size[1] / 2 + 0.2), 64))
        shadows.append((box(along, across, size[0] / 2, size[1] / 2), 170))
        light = self._world.light
        if light.shadow > 0.3:
            reach_x, reach_s = light.shadow_reach
            height = size[2] * 0.85
            base = box(along, across, size[0] / 2, size[1] / 2)
            moved = base + np.array([reach_s * height, reach_x * height, 0.0])
            shadows.append((hull(np.concatenate([base, moved])), self._strength()))

    def _person_shadow(self, along: float, across: float, height: float, shadows: list[Shadow]) -> None:
        shadows.append((disc(along, across, 0.26, 0.26), 90))
        if self._world.light.shadow > 0.3:
            shadows.append((streak(along, across, 0.2, self._world.light.shadow_reach, height), self._strength()))

    def _tree_shadow(self, tree: Tree, shadows: list[Shadow]) -> None:
        light = self._world.light
        shadows.append((disc(tree.along, tree.across, 0.45, 0.4), 80))
        if light.shadow > 0.3:
            height, radius = tree.sprite.height * tree.size, tree.sprite.width * tree.size * 0.42
            reach_x, reach_s = light.shadow_reach
            centre = (tree.along + reach_s * height * 0.6, tree.across + reach_x * height * 0.6)
            angles = np.linspace(0, 2 * np.pi, 18, endpoint=False)
            wobble = 1 + 0.14 * np.sin(5 * angles + tree.along) + 0.08 * np.sin(9 * angles)
            points = np.stack(
                [
                    centre[0] + radius * wobble * np.cos(angles),
                    centre[1] + radius * wobble * np.sin(angles),
                    0 * angles,
                ],
                1,
            )
            shadows.append((points, int(self._strength() * 0.85)))
            shadows.append((streak(tree.along, tree.across, 0.15, light.shadow_reach, height * 0.5), self._strength()))
