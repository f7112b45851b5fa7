"""How poles and signs are painted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .camera import View
from .canvas import POLE, SIGN, Canvas, scaled
from .lanes import Floats
from .light import Colour
from .standing import Post, Sign


def paint_post(view: View, post: Post, gain: tuple[float, float]) -> Callable[[Canvas], None]:
    depth = post.along - view.along
    x, foot = view.x_at(post.across, depth), view.y_at(0.0, depth)
    k = view.focal / depth
    inwards = -1.0 if post.across > 0 else 1.0
    shapes: list[tuple[Floats, Colour]] = []

    def column(low: float, high: float, wide: float, narrow: float, colour: Colour) -> None:
        y0, y1 = foot - low * k, foot - high * k
        r0, r1 = max(0.32, wide * k / 2), max(0.32, narrow * k / 2)
        shapes.append((np.array([(x - r0, y0), (x + r0, y0), (x + r1, y1), (x - r1, y1)]), scaled(colour, gain[0])))
        shapes.append((np.array([(x, y0), (x + r0, y0), (x + r1, y1), (x, y1)]), scaled(colour, gain[1] * 0.8)))

    def arm(reach: float, low: float, high: float, thick: float, colour: Colour) -> None:
        x1, y0, y1, half = x + inwards * reach * k, foot - low * k, foot - high * k, max(0.32, thick * k / 2)
        shapes.append((np.array([(x, y0 - half), (x1, y1 - half), (x1, y1 + half), (x, y0 + half)]), colour))

    if post.kind == "lamp":
        column(0, 1.1, 0.24, 0.2, post.colour)
        column(1.1, post.height, 0.15, 0.1, post.colour)
        arm(1.1, post.height - 0.05, post.height + 0.25, 0.09, post.colour)
        x1, y1 = x + inwards * 1.1 * k, foot - (post.height + 0.25) * k
        head = np.array(
            [
                (x1 - 0.3 * k, y1 - 0.06 * k),
                (x1 + 0.3 * k, y1 - 0.06 * k),
                (x1 + 0.24 * k, y1 + 0.1 * k),
                (x1 - 0.24 * k, y1 + 0.1 * k),
            ]
        )
        shapes.append((head, (196, 196, 188)))
    elif post.kind == "telegraph":
        column(0, post.height, 0.28, 0.18, post.colour)
        for level in (0.25, 0.8):
            y = foot - (post.height - level) * k
            shapes.append(
                (
                    np.array(
                        [
                            (x - 0.8 * k, y - 0.05 * k),
                            (x + 0.8 * k, y - 0.05 * k),
                            (x + 0.8 * k, y + 0.05 * k),
                            (x - 0.8 * k, y + 0.05 * k),
                        ]
                    ),
                    post.colour,
                )
            )
    elif post.kind == "beacon":
        for band in range(6):
            column(0.4 * band, 0.4 * (band + 1), 0.13, 0.13, (34, 34, 36) if band % 2 else post.colour)
        angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        ball = np.stack([x + 0.2 * k * np.cos(angles), foot - 2.58 * k + 0.2 * k * np.sin(angles)], 1)
        shapes.append((ball, (226, 152, 42)))
    elif post.kind == "bollard":
        column(0, post.height, 0.16, 0.13, post.colour)
        column(post.height * 0.78, post.height * 0.9, 0.145, 0.145, (200, 200, 196))
    else:
        column(0, post.height, 0.09, 0.09, post.colour)
    return lambda canvas: canvas.shapes(shapes, depth, POLE)


def paint_sign(view: View, sign: Sign) -> Callable[[Canvas], None]:
    depth = sign.along - view.along
    k = view.focal / depth
    x, y = view.x_at(sign.across, depth), view.y_at(sign.height, depth)
    chosen = sign.shapes[:1] if sign.back else sign.shapes if k > 9 else sign.shapes[:3]
    shapes = []
    for points, colour in chosen:
        flat = np.stack([x + points[:, 1] * k, y - points[:, 2] * k], 1)
        shapes.append((flat, (104.0, 106.0, 108.0) if sign.back else colour))
    return lambda canvas: canvas.shapes(shapes, depth, SIGN)
