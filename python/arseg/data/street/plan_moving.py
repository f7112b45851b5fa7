"""Planning how who moves along and across the street is painted."""

from __future__ import annotations

from collections.abc import Iterator

from .bodies import paint_car, paint_figure
from .canvas import BICYCLIST, FAR, PEDESTRIAN, Canvas
from .cars import Car
from .figures import Part, rider, walker
from .ground import CROSSING, TILE, Profile
from .plan import NEAREST, Plan
from .shadows import box
from .traffic import Stream, Traffic


def plan_traffic(plan: Plan, traffic: Traffic) -> None:
    """Plan the cars, walkers and cyclists that are in view."""
    low, high = plan.view.along - 4, plan.view.along + FAR
    for key, stream in enumerate(traffic.cars):
        for number, along, across in traffic.members(stream, key, low, high, plan.time):
            _plan_car(plan, traffic.car(key, number), along, across, 1 if stream.name == "ahead" else -1)
    for key, stream in enumerate(traffic.people, 10):
        for number, along, across in _in_view(plan, traffic, stream, key, 85.0):
            look, _ = traffic.person(key, number)
            way = _way(stream)
            phase = look.phase + stream.speed * plan.time * 2.35 / look.stride / (look.height / 1.7) * way
            parts = walker(look, phase, True, plan.is_small(along))
            _plan_figure(plan, 3, parts, along, across, (float(way), 0.0), PEDESTRIAN)
            plan.cast_person(along, across, look.height)
    for key, stream in enumerate(traffic.cyclists, 30):
        for number, along, across in _in_view(plan, traffic, stream, key, 95.0):
            look, frame = traffic.person(key, number)
            phase = look.phase - abs(stream.speed) * plan.time * 1.5
            parts = rider(look, frame, phase, plan.is_small(along))
            _plan_figure(plan, 5, parts, along, across, (float(_way(stream)), 0.0), BICYCLIST)
            plan.shadows.append((box(along, across, 0.8, 0.16), 90))
            plan.cast_streak(along, across, 0.35, 1.6)


def plan_crossing(plan: Plan, traffic: Traffic, profile: Profile, number: int) -> None:
    """Plan the people on the crossing of a segment; all have left the road before the camera arrives."""
    place = number * TILE + CROSSING
    if not 1.0 < place - plan.view.along < 80.0:
        return
    begin = traffic.crossing_start(number)
    width = profile.road(-1) + profile.road(1) + 1.2
    for index in range(3):
        look, _ = traffic.person(50 + index, number)
        side = traffic.crossing_side[(number + index) % 8]
        progress = -1.0 if begin is None else 1.5 * (plan.time - begin - 0.7 * index)
        along = place + (index - 1) * 0.8
        if progress < 0:
            across, moving = side * (profile.road(side) + 0.6), False
        elif progress < width:
            across, moving = side * (profile.road(side) + 0.6 - progress), True
        else:
            across, moving = -side * (profile.road(-side) + 0.6), False
        parts = walker(look, look.phase + progress * 2.35, moving, plan.is_small(along))
        _plan_figure(plan, 5 if moving else 3, parts, along, across, (0.0, -float(side)), PEDESTRIAN)
        plan.cast_person(along, across, look.height)


def _in_view(plan: Plan, traffic: Traffic, stream: Stream, key: int, far: float) -> Iterator[tuple[int, float, float]]:
    """The members of a stream that may show in the frame."""
    camera = plan.view.along
    for number, along, across in traffic.members(stream, key, camera + NEAREST, camera + far, plan.time):
        if plan.sees(along, across, far, 2.5):
            yield number, along, across


def _way(stream: Stream) -> int:
    return 1 if stream.speed >= 0 else -1


def _plan_car(plan: Plan, car: Car, along: float, across: float, direction: int) -> None:
    if car.model.size[0] > 7:
        across += 0.12 * direction

    def paint(canvas: Canvas) -> None:
        paint_car(canvas, car, along, across, direction, plan.flanks)

    plan.add(along, 5, paint)
    plan.cast_car(along, across, car.model.size)


def _plan_figure(
    plan: Plan,
    order: int,
    parts: list[Part],
    along: float,
    across: float,
    heading: tuple[float, float],
    label: int,
) -> None:
    plan.add(along, order, lambda canvas: paint_figure(canvas, parts, along, across, heading, label, plan.flanks))
