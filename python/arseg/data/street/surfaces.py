"""Painting what has a texture: walls along the street, and flat pictures that face the camera."""

from __future__ import annotations

import math

import numpy as np

from .canvas import NEAR, Canvas
from .lanes import mix, taps
from .textures import Sprite, WallTexture


def paint_wall(
    canvas: Canvas,
    texture: WallTexture,
    across: float,
    start: float,
    stop: float,
    origin: float,
    stretch: float,
    gain: float,
    label: int,
    hull: bool,
) -> None:
    """A wall along the street from ``start`` to ``stop``; texture columns count from ``origin``.

    ``hull``: the label covers the holes of the texture too (railings).
    """
    view = canvas.view
    low, high = start - view.along, stop - view.along
    if high <= NEAR:
        return
    low = max(low, NEAR)
    near_x, far_x = view.x_at(across, low), view.x_at(across, high)
    if across > 0:
        near_x, far_x = far_x, near_x
    if far_x < 0.5 or near_x > canvas.width or math.ceil(near_x - 0.5) >= math.ceil(far_x - 0.5):
        return
    inverse = np.linspace(1.0 / low, 1.0 / high, 2 if high - low < 1.0 else 5)
    x = view.x(across, 1.0 / inverse)
    if across > 0:
        x, inverse = x[::-1], inverse[::-1]
    if (x[1:] <= x[:-1]).any():
        return
    first, last = max(0, math.ceil(x[0] - 0.5)), min(canvas.width, math.ceil(x[-1] - 0.5))
    if first >= last:
        return
    centres = np.arange(first, last) + 0.5
    near_ness = np.interp(centres, x, inverse)
    depth = 1.0 / near_ness
    slope = abs(float(inverse[-1] - inverse[0])) / float(x[-1] - x[0])
    nearest, farthest = sorted((float(depth[0]), float(depth[-1])))
    middle = math.sqrt(nearest * farthest)
    per_metre = texture.levels[0].shape[1] - 2
    scale = per_metre / texture.height
    vertical = round(math.log2(max(1e-6, middle / view.focal * scale)) - 0.2)
    vertical = max(0, min(vertical, len(texture.levels) - 1))
    columns = texture.levels[vertical]
    tall = columns.shape[1]
    ratio = texture.widths[0] / texture.width / stretch
    span = depth * depth * (slope * ratio)
    horizontal = np.log2(np.maximum(span, 0.4)) + 0.35
    horizontal = np.minimum(horizontal, len(texture.widths) - 1).astype(int)
    along = (view.along + depth - origin) / stretch
    position = np.mod(along, texture.width) * (texture.widths[0] / texture.width) / 2.0**horizontal - 0.5
    wide = texture.widths[horizontal]
    left = np.floor(position).astype(int)
    share = ((position - left) * 256).astype(np.uint64)[:, None]
    begin = texture.starts[horizontal]
    strips = mix(columns[begin + np.maximum(left, 0)], columns[begin + np.minimum(left + 1, wide - 1)], share)

    top_depth = nearest if texture.height > view.height else farthest
    top_row = max(0, math.floor(view.y_at(texture.height, top_depth)) - 1)
    bottom_row = min(canvas.height, math.ceil(view.y_at(0.0, nearest)) + 1)
    if top_row >= bottom_row:
        return
    rows = np.arange(top_row, bottom_row, dtype=np.float32) + np.float32(0.5 - view.horizon)
    unit = (tall - 2) / texture.height
    per_row = (depth / view.focal * unit).astype(np.float32)
    base = np.float32(view.height * unit + 0.5)
    level = base - rows[:, None] * per_row[None]
    inside = (level > 0.5) & (level < tall - 1.5) if hull else None
    np.maximum(level, 0, out=level)
    np.minimum(level, np.float32(tall - 1.01), out=level)
    index = level.astype(np.int32)
    weight = ((level - index) * np.float32(256)).astype(np.uint64)
    index += (np.arange(last - first, dtype=np.int32) * tall)[None]
    flat = strips.ravel()
    pixels = mix(flat.take(index), flat.take(index + 1), weight)
    canvas.lay(pixels, top_row, first, label, gain, middle, inside)


def paint_sprite(
    canvas: Canvas,
    sprite: Sprite,
    across: float,
    along: float,
    width: float,
    height: float,
    flip: bool,
    gain: float,
    label: int,
    anchor: float,
) -> None:
    """A flat picture on the ground, facing the camera; the share ``anchor`` of it lies left of ``across``."""
    view = canvas.view
    depth = along - view.along
    scale = view.focal / depth
    x0 = view.x_at(across, depth) - anchor * width * scale
    x1 = x0 + width * scale
    y1 = view.y_at(0.0, depth)
    y0 = y1 - height * scale
    first, last = max(0, math.floor(x0 - 0.5)), min(canvas.width, math.ceil(x1 + 0.5))
    top, bottom = max(0, math.floor(y0 - 0.5)), min(canvas.height, math.ceil(y1 + 0.5))
    if first >= last or top >= bottom:
        return
    shrink = (sprite.levels[0].shape[0] - 2) / (y1 - y0)
    level = max(0, min(round(math.log2(max(shrink, 1e-6)) - 0.2), len(sprite.levels) - 1))
    picture = sprite.levels[level]
    tall, wide = picture.shape
    u = (np.arange(first, last) + 0.5 - x0) / (x1 - x0)
    if flip:
        u = 1.0 - u
    column, share_x = taps(u * (wide - 2) + 0.5, wide)
    row, share_y = taps((np.arange(top, bottom) + 0.5 - y0) / (y1 - y0) * (tall - 2) + 0.5, tall)
    lines = mix(picture[row], picture[row + 1], share_y[:, None])
    pixels = mix(lines.take(column, 1), lines.take(column + 1, 1), share_x[None])
    canvas.lay(pixels, top, first, label, gain, depth)
