"""Painting a frame: sky, ground, then walls and things from far to near."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from arseg.data.camvid import CLASSES
from arseg.data.street.cars import Car
from arseg.data.street.figures import Ball, Limb, Part, Ring
from arseg.data.street.ground import ACROSS_LEVELS, ALONG_LEVELS, HALF_WIDTH, PPM_ACROSS, PPM_ALONG, TILE, Ground
from arseg.data.street.lanes import (
    ALPHA_SHIFT,
    EIGHT,
    FULL,
    MASK,
    Floats,
    Pixels,
    expand,
    mix,
    over,
    pack,
    pack_colour,
    taps,
)
from arseg.data.street.layout import World
from arseg.data.street.textures import Sprite, WallTexture

Colour = tuple[float, float, float]

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(len(CLASSES))

FAR = 150.0
FADE = 120.0
NEAR = 0.45

_CIRCLE = np.stack(
    [np.cos(np.linspace(0, 2 * np.pi, 12, endpoint=False)), np.sin(np.linspace(0, 2 * np.pi, 12, endpoint=False))], 1
)


@dataclass(frozen=True)
class View:
    """The camera at one moment. A point ``across`` the street and ``along`` it is seen at ``x``, `y`."""

    world: World
    along: float
    across: float
    height: float
    focal: float
    centre_x: float
    middle: float
    horizon: float
    pan: float
    course: float
    slope: float

    def bend(self, depth: Floats | float) -> Floats:
        """Sideways shift of the street at a depth ahead of the camera."""
        return self.world.course(self.along + np.asarray(depth)) - self.course - self.slope * np.asarray(depth)

    def bend_at(self, depth: float) -> float:
        """`bend` of one depth, faster."""
        along = self.along + depth
        total = -self.course - self.slope * depth
        for size, k, phase in self.world.bends:
            total += size * math.sin(k * along + phase)
        return total

    def x_at(self, across: float, depth: float) -> float:
        """`x` of one point, faster."""
        return self.centre_x + self.focal * (across - self.across + self.bend_at(depth)) / depth

    def y_at(self, up: float, depth: float) -> float:
        """`y` of one point, faster."""
        return self.horizon + self.focal * (self.height - up) / depth

    def x(self, across: Floats | float, depth: Floats | float) -> Floats:
        """Column of points at a position across the street and a depth."""
        return self.centre_x + self.focal * (across - self.across + self.bend(depth)) / depth

    def y(self, up: Floats | float, depth: Floats | float) -> Floats:
        """Row of points at a height and a depth."""
        return self.horizon + self.focal * (self.height - np.asarray(up)) / depth


class Canvas:
    """A frame being painted: packed colours and labels, both ``[height, width]``."""

    def __init__(self, width: int, height: int, view: View, haze: Floats) -> None:
        self.width, self.height, self.view = width, height, view
        self.pixels = np.zeros((height, width), np.uint64)
        self.labels = np.zeros((height, width), np.uint8)
        light = view.world.light
        self.haze_distance = light.haze_distance
        self.haze_colour = haze
        self.haze = pack_colour(haze)
        self.tint = light.tint

    def haziness(self, depth: float) -> float:
        """Share of haze in the colour of things at a depth."""
        return float(1.0 - np.exp(-depth / self.haze_distance)) * 0.9

    # --- sky and ground ----------------------------------------------------------------------------------------

    def sky(self, panorama: Pixels, kinds: np.ndarray, above: int) -> None:
        """Fill everything above the horizon (and a little below it) from the panorama."""
        view = self.view
        stop = min(self.height, max(0, math.ceil(view.horizon) + 1))
        if stop <= 0:
            return
        top = above - view.horizon
        left = panorama.shape[1] / 2 + view.pan - view.centre_x
        top = float(np.clip(top, 0, panorama.shape[0] - stop - 1.01))
        left = float(np.clip(left, 0, panorama.shape[1] - self.width - 1.01))
        row, column = int(top), int(left)
        down, right = np.uint64((top - row) * 256), np.uint64((left - column) * 256)
        part = panorama[row : row + stop + 1, column : column + self.width + 1]
        part = mix(part[:-1], part[1:], np.asarray(down))
        self.pixels[:stop] = mix(part[:, :-1], part[:, 1:], np.asarray(right))
        kind = kinds[round(top) : round(top) + stop, round(left) : round(left) + self.width]
        self.labels[:stop] = np.array([SKY, BUILDING, TREE], np.uint8)[kind]

    def ground(self, ground: Ground) -> None:
        """Fill the rows below the horizon from the ground tiles."""
        view = self.view
        first = max(0, math.ceil(view.horizon + 0.2))
        if first >= self.height:
            return
        rows = np.arange(first, self.height)
        depth = view.focal * view.height / (rows + 0.5 - view.horizon)
        keep = depth < 400
        rows, depth = rows[keep], depth[keep]
        if not len(rows):
            return
        start = int(rows[0])
        along = view.along + depth
        number = np.floor(along / TILE).astype(int)
        low, high = int(number.min()), int(number.max())
        kinds = np.array([view.world.segment(k).tile for k in range(low, min(high, low + 8) + 1)])
        tile = kinds[np.minimum(number - low, len(kinds) - 1)]
        across_level = np.clip(np.round(np.log2(depth / view.focal * PPM_ACROSS) - 0.15), 0, ACROSS_LEVELS - 1).astype(
            int
        )
        footprint = depth**2 / (view.focal * view.height)
        along_level = np.clip(np.round(np.log2(footprint * PPM_ALONG) - 0.1), 0, ALONG_LEVELS - 1).astype(int)
        along_level = np.maximum(along_level, across_level)
        count = (int(TILE * PPM_ALONG) >> along_level).astype(int)
        texel = (along - number * TILE) * PPM_ALONG / 2.0**along_level - 0.5
        texel = np.clip(texel, 0, count - 1.001)
        line = texel.astype(int)
        weight = ((texel - line) * 256).astype(np.uint64)[:, None]
        haze = np.clip((1 - np.exp(-depth / self.haze_distance)) * 0.9 * 256, 0, 256).astype(np.uint64)[:, None]
        columns = np.arange(self.width, dtype=np.float64) + 0.5 - view.centre_x
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
            self.labels[region] = np.where(pixels >> ALPHA_SHIFT > 127, np.uint8(PAVEMENT), np.uint8(ROAD))
            self.pixels[region] = ((pixels * (FULL - haze[a:b]) + self.haze * haze[a:b]) >> EIGHT) & MASK
        if start > first:
            self.pixels[first:start] = self.haze
            self.labels[first:start] = ROAD

    def shadows(self, polygons: list[tuple[Floats, int]]) -> None:
        """Darken the ground: polygons of (points ``[n, 3]`` along, across, up; strength 0..255)."""
        view = self.view
        half = 2
        width, height = -(-self.width // half), -(-self.height // half)
        top = min(height - 1, max(0, int(view.horizon) // half))
        image = Image.new("L", (width, height - top), 0)
        draw = ImageDraw.Draw(image)
        if polygons:
            points = np.concatenate([polygon for polygon, _ in polygons])
            depth = np.maximum(points[:, 0] - view.along, 1.0)
            place = np.stack([view.x(points[:, 1], depth) / half, view.y(points[:, 2], depth) / half - top], 1)
            np.clip(place, -4000, 4000, out=place)
            cursor = 0
            for polygon, strength in polygons:
                flat = place[cursor : cursor + len(polygon)]
                cursor += len(polygon)
                if flat[:, 0].max() > 0 and flat[:, 0].min() < width:
                    draw.polygon(flat.ravel().tolist(), strength)
        image = image.filter(ImageFilter.BoxBlur(0.8))
        image = image.resize((width * half, (height - top) * half), Image.Resampling.BILINEAR)
        mask = np.asarray(image)[: self.height - top * half, : self.width]
        region = self.pixels[top * half :]
        region *= FULL - mask.astype(np.uint64)
        region >>= EIGHT
        region &= MASK

    # --- walls -------------------------------------------------------------------------------------------------

    def wall(
        self,
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
        view = self.view
        low, high = start - view.along, stop - view.along
        if high <= NEAR:
            return
        low = max(low, NEAR)
        near_x, far_x = view.x_at(across, low), view.x_at(across, high)
        if across > 0:
            near_x, far_x = far_x, near_x
        if far_x < 0.5 or near_x > self.width or math.ceil(near_x - 0.5) >= math.ceil(far_x - 0.5):
            return
        inverse = np.linspace(1.0 / low, 1.0 / high, 2 if high - low < 1.0 else 5)
        x = view.x(across, 1.0 / inverse)
        if across > 0:
            x, inverse = x[::-1], inverse[::-1]
        if (x[1:] <= x[:-1]).any():
            return
        first, last = max(0, math.ceil(x[0] - 0.5)), min(self.width, math.ceil(x[-1] - 0.5))
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
        bottom_row = min(self.height, math.ceil(view.y_at(0.0, nearest)) + 1)
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
        self._lay(pixels, top_row, first, label, gain, middle, inside)

    def _lay(
        self,
        pixels: Pixels,
        top: int,
        left: int,
        label: int,
        gain: float,
        depth: float,
        inside: np.ndarray | None = None,
    ) -> None:
        """Light, haze, fade and blend premultiplied pixels onto the canvas."""
        haze = self.haziness(depth)
        clear = np.uint64(min(256, round(256 * (1 - haze) * gain)))
        alpha = pixels >> ALPHA_SHIFT
        tinted = pixels * clear
        tinted += alpha * pack_colour(self.haze_colour * haze, 255) if haze > 0.004 else (alpha * FULL) << ALPHA_SHIFT
        tinted >>= EIGHT
        tinted &= MASK
        tinted &= np.uint64(0x0000FFFFFFFFFFFF)
        tinted |= alpha << ALPHA_SHIFT
        if depth > FADE:
            tinted *= np.uint64(max(0, round(256 * (FAR - depth) / (FAR - FADE))))
            tinted >>= EIGHT
            tinted &= MASK
        rows, columns = pixels.shape
        region = (slice(top, top + rows), slice(left, left + columns))
        alpha = over(self.pixels[region], tinted)
        where = alpha > 127 if inside is None else inside & (depth < (FAR + FADE) / 2)
        np.copyto(self.labels[region], np.uint8(label), where=where)

    def sprite(
        self,
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
        view = self.view
        depth = along - view.along
        scale = view.focal / depth
        x0 = view.x_at(across, depth) - anchor * width * scale
        x1 = x0 + width * scale
        y1 = view.y_at(0.0, depth)
        y0 = y1 - height * scale
        first, last = max(0, math.floor(x0 - 0.5)), min(self.width, math.ceil(x1 + 0.5))
        top, bottom = max(0, math.floor(y0 - 0.5)), min(self.height, math.ceil(y1 + 0.5))
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
        self._lay(pixels, top, first, label, gain, depth)

    # --- polygons ----------------------------------------------------------------------------------------------

    def polygons(self, points: Floats, counts: Sequence[int], colours: Floats, depth: float, label: int) -> None:
        """Antialiased polygons in painter's order, as one thing.

        ``points`` float ``[sum(counts), 2]`` in pixels, ``counts`` corners of each polygon, ``colours`` float
        ``[n, 3]`` before the scene's tint and haze.
        """
        low, high = points.min(0).tolist(), points.max(0).tolist()
        left, right = max(0, math.floor(low[0])), min(self.width, math.ceil(min(high[0], 1e6)) + 1)
        top, bottom = max(0, math.floor(low[1])), min(self.height, math.ceil(min(high[1], 1e6)) + 1)
        if left >= right or top >= bottom:
            return
        size = max(right - left, bottom - top)
        fine = 4 if size < 90 else 3 if size < 170 else 2
        image = Image.new("CMYK", ((right - left) * fine, (bottom - top) * fine), (0, 0, 0, 0))
        draw = ImageDraw.Draw(image)
        haze = self.haziness(depth)
        inks = np.empty((len(counts), 4), np.int64)
        inks[:, :3] = np.minimum(colours * ((1 - haze) * self.tint) + haze * self.haze_colour, 255)
        inks[:, 3] = 255
        limit = 20.0 * (self.width + self.height)
        flat = np.clip((points - (left, top)) * fine - 0.5, -limit, limit).ravel().tolist()
        cursor = 0
        for count, ink in zip(counts, inks.tolist(), strict=True):
            draw.polygon(flat[cursor : cursor + 2 * count], tuple(ink))
            cursor += 2 * count
        pixels = pack(np.asarray(image.reduce(fine)))
        if depth > FADE:
            pixels = ((pixels * np.uint64(max(0, round(256 * (FAR - depth) / (FAR - FADE))))) >> EIGHT) & MASK
        region = (slice(top, bottom), slice(left, right))
        alpha = over(self.pixels[region], pixels)
        np.copyto(self.labels[region], np.uint8(label), where=alpha > 127)

    def shapes(self, shapes: Sequence[tuple[Floats, Colour]], depth: float, label: int) -> None:
        """`polygons` from a list of (points, colour)."""
        points = np.concatenate([shape[0] for shape in shapes])
        self.polygons(points, [len(shape[0]) for shape in shapes], np.array([s[1] for s in shapes]), depth, label)

    def car(self, car: Car, along: float, across: float, direction: int, gain: tuple[float, float]) -> None:
        """A vehicle; ``gain``: brightness of its left and right flank."""
        view, model = self.view, car.model
        depth = along - view.along
        sideways = across - view.across + view.bend_at(depth)
        centre = view.centre_x + view.focal * sideways / max(depth, 4.0)
        reach = view.focal * model.size[0] / max(depth, 4.0)
        if depth > 8 and not -reach < centre < self.width + reach:
            return
        skew = view.world.heading(along) - view.slope
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
        self.polygons(points, model.counts[visible].tolist(), colours, depth, CAR)

    def figure(
        self,
        parts: list[Part],
        along: float,
        across: float,
        forward: tuple[float, float],
        label: int,
        gain: tuple[float, float],
    ) -> None:
        """A jointed figure; ``forward`` is its heading (along, across). Limbs are halved in light and shade."""
        view = self.view
        depth = along - view.along
        base = across - view.across + view.bend_at(depth)
        if (
            not -0.9 * view.focal / depth
            < view.centre_x + view.focal * base / depth
            < self.width + 0.9 * view.focal / depth
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
                    shapes.append((outline, _times(part.colour, middle_gain)))
                else:
                    first, second = gain if dy >= 0 else (gain[1], gain[0])
                    shapes.append((outline, _times(part.colour, first)))
                    shapes.append(([(x0, y0), *outline[1:5], (x1, y1)], _times(part.colour, second)))
                continue
            cursor += 1
            if isinstance(part, Ball):
                circle = _CIRCLE * (part.radius * k0, part.radius * part.stretch * k0) + (x0, y0)
                shapes.append((circle, _times(part.colour, gain[0])))
                if not small:
                    cut = circle[[9, 10, 11, 0, 1, 2, 3]] if gain[0] >= gain[1] else circle[[3, 4, 5, 6, 7, 8, 9]]
                    shapes.append((cut, _times(part.colour, dark_gain)))
            else:
                shapes += _wheel(part, x0, y0, k0, fx * depth - fa * base, depth)
        self.shapes(shapes, depth, label)  # type: ignore[arg-type]


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


def _times(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor
