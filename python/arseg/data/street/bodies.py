"""Painting what is built from polygons in three dimensions: vehicles, and jointed figures."""

from __future__ import annotations

import math

import numpy as np

from .canvas import CAR, NEAR, Canvas, scaled
from .cars import Car
from .figures import Ball, Limb, Part, Ring
from .lanes import Floats
from .light import Colour

_CIRCLE = np.stack(
    [np.cos(np.linspace(0, 2 * np.pi, 12, endpoint=False)), np.sin(np.linspace(0, 2 * np.pi, 12, endpoint=False))], 1
)


def paint_car(canvas: Canvas, car: Car, along: float, across: float, direction: int, gain: tuple[float, float]) -> None:
    """A vehicle; ``gain``: brightness of its left and right flank."""
    view, model = canvas.view, car.model
    depth = along - view.along
    sideways = across - view.across + view.bend_at(depth)
    centre = view.centre_x + view.focal * sideways / max(depth, 4.0)
    reach = view.focal * model.size[0] / max(depth, 4.0)
    if depth > 8 and not -reach < centre < canvas.width + reach:
        return
    skew = view.course.slope(along) - view.slope
    eye_l = -depth * direction
    eye = np.array([eye_l, -direction * sideways - skew * eye_l, view.height])
    scale = view.focal / max(depth - model.size[0] / 2, 1.0)
    detail = 2 if scale > 22 else 1 if scale > 9 else 0
    visible = ((model.normal * (eye - model.origin)).sum(1) > 1e-3) & (model.details <= detail)
    vertices = model.vertices[np.repeat(visible, model.counts)]
    if not len(vertices):
        return
    z = np.maximum(depth + direction * vertices[:, 0], NEAR)
    lateral = sideways + direction * (vertices[:, 1] + skew * vertices[:, 0])
    points = np.stack([view.centre_x + view.focal * lateral / z, view.y(vertices[:, 2], z)], 1)
    flank = model.normal[visible, 1] * direction
    shade = model.gains[visible] * np.where(flank < -0.3, gain[0], np.where(flank > 0.3, gain[1], 1.0))
    colours = car.colours[visible] * shade[:, None]
    canvas.polygons(points, model.counts[visible].tolist(), colours, depth, CAR)


def paint_figure(
    canvas: Canvas,
    parts: list[Part],
    along: float,
    across: float,
    forward: tuple[float, float],
    label: int,
    gain: tuple[float, float],
) -> None:
    """A jointed figure; ``forward`` is its heading (along, across). Limbs are halved in light and shade."""
    view = canvas.view
    depth = along - view.along
    base = across - view.across + view.bend_at(depth)
    if (
        not -0.9 * view.focal / depth
        < view.centre_x + view.focal * base / depth
        < canvas.width + 0.9 * view.focal / depth
    ):
        return
    # The limbs of the far side come first: mirror the figure where the camera looks at its other side.
    fa, fx = forward
    side = 1.0 if depth * fx - base * fa >= 0 else -1.0
    joints: list[tuple[float, float, float]] = []
    for part in parts:
        joints += (part.start, part.end) if isinstance(part, Limb) else (part.centre,)
    place = np.array(joints)
    z = np.maximum(depth + place[:, 0] * fa - side * place[:, 1] * fx, NEAR)
    k = view.focal / z
    xs = view.centre_x + (base + place[:, 0] * fx + side * place[:, 1] * fa) * k
    ys = view.horizon + (view.height - place[:, 2]) * k
    joint = np.stack([xs, ys, k], 1).tolist()
    small = view.focal / depth < 14
    shapes: list[tuple[Floats | list[tuple[float, float]], Colour]] = []
    middle_gain, dark_gain = (gain[0] + gain[1]) / 2, min(gain)
    cursor = 0
    for part in parts:
        x0, y0, k0 = joint[cursor]
        if isinstance(part, Limb):
            x1, y1, k1 = joint[cursor + 1]
            cursor += 2
            r0, r1 = max(0.3, part.width0 * k0 / 2), max(0.3, part.width1 * k1 / 2)
            dx, dy = x1 - x0, y1 - y0
            length = math.hypot(dx, dy) + 1e-6
            dx, dy = dx / length, dy / length
            outline = [
                (x0 - dy * r0, y0 + dx * r0),
                (x0 - dx * r0 * 0.7, y0 - dy * r0 * 0.7),
                (x0 + dy * r0, y0 - dx * r0),
                (x1 + dy * r1, y1 - dx * r1),
                (x1 + dx * r1 * 0.7, y1 + dy * r1 * 0.7),
                (x1 - dy * r1, y1 + dx * r1),
            ]
            if small or part.width0 < 0.06:
                shapes.append((outline, scaled(part.colour, middle_gain)))
            else:
                first, second = gain if dy >= 0 else (gain[1], gain[0])
                shapes.append((outline, scaled(part.colour, first)))
                shapes.append(([(x0, y0), *outline[1:5], (x1, y1)], scaled(part.colour, second)))
            continue
        cursor += 1
        if isinstance(part, Ball):
            circle = _CIRCLE * (part.radius * k0, part.radius * part.stretch * k0) + (x0, y0)
            shapes.append((circle, scaled(part.colour, gain[0])))
            if not small:
                cut = circle[[9, 10, 11, 0, 1, 2, 3]] if gain[0] >= gain[1] else circle[[3, 4, 5, 6, 7, 8, 9]]
                shapes.append((cut, scaled(part.colour, dark_gain)))
        else:
            shapes += _wheel(part, x0, y0, k0, fx * depth - fa * base, depth)
    canvas.shapes(shapes, depth, label)  # type: ignore[arg-type]


def _wheel(ring: Ring, x: float, y: float, k: float, turn: float, depth: float) -> list[tuple[Floats, Colour]]:
    """A bicycle wheel as a ring of quads; ``turn`` / ``depth`` is the sine of the angle under which it is seen."""
    squeeze = min(1.0, max(abs(turn) / depth, 0.6 * ring.width / ring.radius))
    radius = np.array([ring.radius * squeeze * k, ring.radius * k])
    line = max(ring.width * k, 0.8)
    outer = _CIRCLE * radius + (x, y)
    inner = _CIRCLE * np.maximum(radius - line, 0.0) + (x, y)
    following = np.roll(np.arange(len(_CIRCLE)), -1)
    quads = np.stack([outer, outer[following], inner[following], inner], 1)
    return [(quad, ring.colour) for quad in quads]
