"""Planning how what stands along the street is painted."""

from __future__ import annotations

import math

import numpy as np

from .bodies import paint_car, paint_figure
from .canvas import BUILDING, FAR, FENCE, PEDESTRIAN, TREE, Canvas
from .figures import walker
from .furniture import paint_post, paint_sign
from .houses import GABLE_DEPTH
from .plan import Plan
from .shadows import disc
from .standing import Barrier, Building, Parked, Post, Segment, Standing, Tree
from .surfaces import paint_sprite, paint_wall


def plan_segment(plan: Plan, segment: Segment) -> None:
    """Plan all that stands on a segment of street."""
    for building in segment.buildings:
        _plan_building(plan, building)
    for barrier in segment.barriers:
        _plan_barrier(plan, barrier)
    for tree in segment.trees:
        _plan_tree(plan, tree)
    for post in segment.posts:
        _plan_post(plan, post)
    for sign in segment.signs:
        if plan.sees(sign.along, sign.across, FAR * 0.75, 1.5):
            plan.add(sign.along - 0.01, 3, paint_sign(plan.view, sign))
    for parked in segment.parked:
        _plan_parked(plan, parked)
    for index, person in enumerate(segment.standing):
        _plan_person(plan, person, index)


def _plan_building(plan: Plan, building: Building) -> None:
    low, high = building.start - plan.view.along, building.stop - plan.view.along
    if high < 0.5 or low > FAR:
        return
    side = 1 if building.across > 0 else -1
    front = building.house.front
    stretch = (building.stop - building.start) / front.width
    gain = plan.light.side_gain(side)
    if building.gable and low > 1.0:
        gable = building.house.gable
        anchor = 0.0 if side > 0 else 1.0
        end_gain = 0.5 + 0.42 * (gain if plan.light.contrast > 0.2 else 1.0)

        def paint_gable(canvas: Canvas) -> None:
            paint_sprite(
                canvas,
                gable,
                building.across,
                building.start,
                GABLE_DEPTH,
                gable.height,
                False,
                end_gain,
                BUILDING,
                anchor,
            )

        plan.add(building.start, 0, paint_gable)
    for start, stop in plan.pieces(building.start, building.stop):

        def paint(canvas: Canvas, start: float = start, stop: float = stop) -> None:
            paint_wall(canvas, front, building.across, start, stop, building.start, stretch, gain, BUILDING, False)

        plan.add(stop - 1e-6, 1, paint)
    if low < 60:
        _cast_building(plan, building, side)


def _cast_building(plan: Plan, building: Building, side: int) -> None:
    height = building.house.body_height
    reach_x, reach_s = plan.light.shadow_reach
    inner, start, stop = building.across, building.start, building.stop
    edge = inner - side * 0.7
    corners = [(start, inner, 0), (stop, inner, 0), (stop, edge, 0), (start, edge, 0)]
    plan.shadows.append((np.array(corners, float), 60))
    if reach_x * side < 0 and plan.sunny:
        far = inner + reach_x * height
        shift = reach_s * height
        corners = [(start, inner, 0), (stop, inner, 0), (stop + shift, far, 0), (start + shift, far, 0)]
        plan.cast(np.array(corners, float))


def _plan_barrier(plan: Plan, barrier: Barrier) -> None:
    low, high = barrier.start - plan.view.along, barrier.stop - plan.view.along
    if high < 0.5 or low > FAR * 0.8:
        return
    side = 1 if barrier.across > 0 else -1
    gain = plan.light.side_gain(side)
    label = TREE if barrier.hedge else FENCE
    for start, stop in plan.pieces(barrier.start, barrier.stop):

        def paint(canvas: Canvas, start: float = start, stop: float = stop) -> None:
            paint_wall(canvas, barrier.texture, barrier.across, start, stop, 0.0, 1.0, gain, label, not barrier.hedge)

        plan.add(stop - 1e-6, 4 if barrier.kerbside else 2, paint)
    if low < 40:
        near, far = barrier.across - side * 0.25, barrier.across + side * 0.15
        start, stop = barrier.start, barrier.stop
        corners = [(start, near, 0), (stop, near, 0), (stop, far, 0), (start, far, 0)]
        plan.shadows.append((np.array(corners, float), 56))


def _plan_tree(plan: Plan, tree: Tree) -> None:
    width, height = tree.sprite.width * tree.size, tree.sprite.height * tree.size
    if not plan.sees(tree.along, tree.across, FAR, 0.5 * tree.sprite.width * tree.size + 9):
        return
    gain = min(1.0, plan.light.side_gain(1 if tree.across > 0 else -1) + 0.05)

    def paint(canvas: Canvas) -> None:
        paint_sprite(canvas, tree.sprite, tree.across, tree.along, width, height, tree.flip, gain, TREE, 0.5)

    plan.add(tree.along, 3, paint)
    plan.shadows.append((disc(tree.along, tree.across, 0.45, 0.4), 80))
    if plan.sunny:
        radius = width * 0.42
        reach_x, reach_s = plan.light.shadow_reach
        along, across = tree.along + reach_s * height * 0.6, tree.across + reach_x * height * 0.6
        angles = np.linspace(0, 2 * np.pi, 18, endpoint=False)
        wobble = 1 + 0.14 * np.sin(5 * angles + tree.along) + 0.08 * np.sin(9 * angles)
        crown = [along + radius * wobble * np.cos(angles), across + radius * wobble * np.sin(angles), 0 * angles]
        plan.cast(np.stack(crown, 1), 0.85)
        plan.cast_streak(tree.along, tree.across, 0.15, height * 0.5)


def _plan_post(plan: Plan, post: Post) -> None:
    if not plan.sees(post.along, post.across, FAR * 0.75, 4.0):
        return
    plan.add(post.along, 3, paint_post(plan.view, post, plan.flanks))
    if post.along - plan.view.along < 40:
        plan.shadows.append((disc(post.along, post.across, 0.16, 0.16), 70))
    plan.cast_streak(post.along, post.across, 0.07, min(3.5, post.height))


def _plan_parked(plan: Plan, parked: Parked) -> None:
    if not -3 < parked.along - plan.view.along < FAR:
        return

    def paint(canvas: Canvas) -> None:
        paint_car(canvas, parked.car, parked.along, parked.across, parked.direction, plan.flanks)

    plan.add(parked.along, 5, paint)
    plan.cast_car(parked.along, parked.across, parked.car.model.size)


def _plan_person(plan: Plan, person: Standing, index: int) -> None:
    along, across = person.along, person.across
    if not plan.sees(along, across, 80.0, 2.5):
        return
    phase = person.look.phase + 0.6 * math.sin(0.8 * plan.time + index)
    parts = walker(person.look, phase, False, plan.is_small(along))
    heading = (-1.0, 0.0) if index % 2 else (0.0, -1.0 if across > 0 else 1.0)
    plan.add(along, 3, lambda canvas: paint_figure(canvas, parts, along, across, heading, PEDESTRIAN, plan.flanks))
    plan.cast_person(along, across, person.look.height)
