"""The first passes over a frame: sky, ground, and the shadows on the ground."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .canvas import BUILDING, PAVEMENT, ROAD, SKY, TREE, Canvas
from .ground import ACROSS_LEVELS, ALONG_LEVELS, HALF_WIDTH, PPM_ACROSS, PPM_ALONG, TILE, Ground
from .lanes import ALPHA_SHIFT, EIGHT, FULL, MASK, Pixels, expand, mix
from .segments import Street
from .shadows import Shadow


def paint_sky(canvas: Canvas, panorama: Pixels, kinds: np.ndarray, above: int) -> None:
    """Fill everything above the horizon (and a little below it) from the panorama."""
    view = canvas.view
    stop = min(canvas.height, max(0, math.ceil(view.horizon) + 1))
    if stop <= 0:
        return
    top = above - view.horizon
    left = panorama.shape[1] / 2 + view.pan - view.centre_x
    top = float(np.clip(top, 0, panorama.shape[0] - stop - 1.01))
    left = float(np.clip(left, 0, panorama.shape[1] - canvas.width - 1.01))
    row, column = int(top), int(left)
    down, right = np.uint64((top - row) * 256), np.uint64((left - column) * 256)
    part = panorama[row : row + stop + 1, column : column + canvas.width + 1]
    part = mix(part[:-1], part[1:], np.asarray(down))
    canvas.pixels[:stop] = mix(part[:, :-1], part[:, 1:], np.asarray(right))
    kind = kinds[round(top) : round(top) + stop, round(left) : round(left) + canvas.width]
    canvas.labels[:stop] = np.array([SKY, BUILDING, TREE], np.uint8)[kind]


def paint_ground(canvas: Canvas, ground: Ground, street: Street) -> None:
    """Fill the rows below the horizon from the ground tiles."""
    view = canvas.view
    first = max(0, math.ceil(view.horizon + 0.2))
    if first >= canvas.height:
        return
    rows = np.arange(first, canvas.height)
    depth = view.focal * view.height / (rows + 0.5 - view.horizon)
    keep = depth < 400
    rows, depth = rows[keep], depth[keep]
    if not len(rows):
        return
    start = int(rows[0])
    along = view.along + depth
    number = np.floor(along / TILE).astype(int)
    low, high = int(number.min()), int(number.max())
    kinds = np.array([street.segment(k).tile for k in range(low, min(high, low + 8) + 1)])
    tile = kinds[np.minimum(number - low, len(kinds) - 1)]
    across_level = np.clip(np.round(np.log2(depth / view.focal * PPM_ACROSS) - 0.15), 0, ACROSS_LEVELS - 1).astype(int)
    footprint = depth**2 / (view.focal * view.height)
    along_level = np.clip(np.round(np.log2(footprint * PPM_ALONG) - 0.1), 0, ALONG_LEVELS - 1).astype(int)
    along_level = np.maximum(along_level, across_level)
    count = (int(TILE * PPM_ALONG) >> along_level).astype(int)
    texel = (along - number * TILE) * PPM_ALONG / 2.0**along_level - 0.5
    texel = np.clip(texel, 0, count - 1.001)
    line = texel.astype(int)
    weight = ((texel - line) * 256).astype(np.uint64)[:, None]
    haze = np.clip((1 - np.exp(-depth / canvas.haze_distance)) * 0.9 * 256, 0, 256).astype(np.uint64)[:, None]
    columns = np.arange(canvas.width, dtype=np.float64) + 0.5 - view.centre_x
    for level in range(ACROSS_LEVELS):
        chosen = np.flatnonzero(across_level == level)
        if not len(chosen):
            continue
        a, b = int(chosen[0]), int(chosen[-1]) + 1
        source = ground.lines[level]
        index = ground.first[level, tile[a:b], along_level[a:b]] + line[a:b]
        lines = mix(expand(source[index]), expand(source[index + 1]), weight[a:b])
        size = lines.shape[1]
        step = PPM_ACROSS / 2.0**level
        scale = depth[a:b] / view.focal * step
        offset = (view.across - view.bend(depth[a:b]) + HALF_WIDTH) * step - 0.5
        position = (scale[:, None] * columns[None] + offset[:, None]).astype(np.float32)
        np.clip(position, 0, size - 1.01, out=position)
        left = position.astype(np.int32)
        share = ((position - left) * np.float32(256)).astype(np.uint64)
        left += (np.arange(b - a, dtype=np.int32) * size)[:, None]
        flat = lines.ravel()
        pixels = mix(flat.take(left), flat.take(left + 1), share)
        region = slice(start + a, start + b)
        canvas.labels[region] = np.where(pixels >> ALPHA_SHIFT > 127, np.uint8(PAVEMENT), np.uint8(ROAD))
        canvas.pixels[region] = ((pixels * (FULL - haze[a:b]) + canvas.haze * haze[a:b]) >> EIGHT) & MASK
    if start > first:
        canvas.pixels[first:start] = canvas.haze
        canvas.labels[first:start] = ROAD


def paint_shadows(canvas: Canvas, shadows: list[Shadow]) -> None:
    """Darken the ground."""
    view = canvas.view
    half = 2
    width, height = -(-canvas.width // half), -(-canvas.height // half)
    top = min(height - 1, max(0, int(view.horizon) // half))
    image = Image.new("L", (width, height - top), 0)
    draw = ImageDraw.Draw(image)
    if shadows:
        points = np.concatenate([polygon for polygon, _ in shadows])
        depth = np.maximum(points[:, 0] - view.along, 1.0)
        place = np.stack([view.x(points[:, 1], depth) / half, view.y(points[:, 2], depth) / half - top], 1)
        np.clip(place, -4000, 4000, out=place)
        cursor = 0
        for polygon, strength in shadows:
            flat = place[cursor : cursor + len(polygon)]
            cursor += len(polygon)
            if flat[:, 0].max() > 0 and flat[:, 0].min() < width:
                draw.polygon(flat.ravel().tolist(), strength)
    image = image.filter(ImageFilter.BoxBlur(0.8))
    image = image.resize((width * half, (height - top) * half), Image.Resampling.BILINEAR)
    mask = np.asarray(image)[: canvas.height - top * half, : canvas.width]
    region = canvas.pixels[top * half :]
    region *= FULL - mask.astype(np.uint64)
    region >>= EIGHT
    region &= MASK
