"""Procedural surfaces: facades, gable walls, fences, trees and the sky, each drawn once when a scene is made.

Every function takes a random generator and a `Light` and returns packed, premultiplied pixels, already lit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from arseg.data.street.lanes import Floats, Pixels, halve, pack, premultiply
from arseg.data.street.light import Light

Colour = tuple[int, int, int]

FACADE_PPM = 24
"""Texels per metre of facades; fences use twice as many."""
GABLE_DEPTH = 9.0

BRICKS = [(146, 92, 74), (160, 108, 84), (128, 82, 70), (178, 152, 116), (196, 176, 138), (170, 140, 104)]
RENDERS = [(206, 198, 182), (214, 208, 198), (188, 176, 158), (198, 190, 160), (176, 186, 186), (204, 178, 158)]
STONES = [(166, 156, 134), (178, 166, 140), (150, 144, 132)]
CONCRETES = [(142, 140, 136), (126, 126, 126), (158, 152, 142)]
SHOP_COLOURS = [(150, 34, 34), (28, 72, 128), (24, 92, 62), (60, 56, 60), (206, 180, 52), (116, 46, 106), (220, 220, 214)]


def noise(
    rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 1, wrap: bool = False
) -> Floats:
    """Smooth noise of about unit variance, float32 ``[height, width]``; the largest features span ``cell`` texels."""
    total = np.zeros((height, width), np.float32)
    weight = 1.0
    for _ in range(octaves):
        rows, columns = max(2, round(height / cell)), max(2, round(width / cell))
        grid = rng.standard_normal((rows, columns)).astype(np.float32)
        if wrap:
            grid = np.pad(grid, 2, mode="wrap")
            box = (2.0, 2.0, columns + 2.0, rows + 2.0)
            total += weight * np.asarray(
                Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box=box)
            )
        else:
            total += weight * np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
        weight *= 0.55
        cell = max(1.0, cell / 2.3)
    return total


def vary(rng: np.random.Generator, colour: Colour, amount: float = 12) -> Colour:
    """A colour near the given one."""
    shift = rng.normal(0, amount * 0.5) + rng.normal(0, amount * 0.35, 3)
    red, green, blue = (int(np.clip(value + change, 8, 245)) for value, change in zip(colour, shift, strict=True))
    return red, green, blue


def darker(colour: Colour, factor: float) -> Colour:
    """A colour times a factor."""
    red, green, blue = (int(np.clip(value * factor, 0, 255)) for value in colour)
    return red, green, blue


def pick(rng: np.random.Generator, options: Sequence[Colour]) -> Colour:
    """One of the colours."""
    return options[int(rng.integers(len(options)))]


class Sheet:
    """A drawing in metres, y upwards, twice oversampled; `finish` gives the packed texture, row 0 at the bottom."""

    def __init__(self, width: float, height: float, ppm: int) -> None:
        self.width, self.height, self.ppm = width, height, ppm
        self.columns, self.rows = max(4, round(width * ppm)), max(4, round(height * ppm))
        self.image = Image.new("RGBA", (2 * self.columns, 2 * self.rows), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.image)

    def points(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """Metres to pixels of the oversampled image."""
        k = 2 * self.ppm
        return [(x * k, 2 * self.rows - y * k) for x, y in points]

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill a rectangle."""
        (left, bottom), (right, top) = self.points([(x0, y0), (x1, y1)])
        if right - left >= 1 and bottom - top >= 1:
            self.draw.rectangle((round(left), round(top), round(right) - 1, round(bottom) - 1), (*colour, 255))

    def polygon(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon."""
        self.draw.polygon(self.points(points), (*colour, 255))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse."""
        (left, bottom), (right, top) = self.points([(x - rx, y - ry), (x + rx, y + ry)])
        self.draw.ellipse((left, top, right, bottom), (*colour, 255))

    def line(self, points: Sequence[tuple[float, float]], width: float, colour: Colour) -> None:
        """Draw a polyline of the given width in metres."""
        pixels = max(1, round(width * 2 * self.ppm))
        self.draw.line(self.points(points), (*colour, 255), pixels, joint="curve")

    def finish(self, light: Light, grain: Floats | None = None, gain: float = 1.0) -> Pixels:
        """Reduce, add ``grain`` (float ``[rows, columns]``, in grey levels), light, premultiply and pack."""
        rgba = np.asarray(self.image.reduce(2), np.float32)[::-1]
        colour = rgba[..., :3]
        if grain is not None:
            colour = colour + grain[..., None]
        return premultiply(np.clip(colour, 0, 255) * (light.tint * gain).astype(np.float32), rgba[..., 3] / 255.0)


class WallTexture:
    """Prefiltered texture of a vertical wall: for every vertical level, all horizontal levels side by side.

    ``levels[v]`` is ``[columns of level 0 + level 1 + …, texels upwards + 2]`` (column-major, transparent border above
    and below); ``starts[h]`` and ``widths[h]`` locate a horizontal level in it.
    """

    MAX_LEVEL = 5

    def __init__(self, texture: Pixels, width: float, height: float) -> None:
        self.width, self.height = width, height
        columns = [np.ascontiguousarray(texture.T)]
        while len(columns) <= self.MAX_LEVEL + 1 and columns[-1].shape[0] > 2:
            columns.append(halve(columns[-1], 0))
        self.widths = np.array([level.shape[0] for level in columns])
        self.starts = np.concatenate([[0], np.cumsum(self.widths)[:-1]])
        joined = np.concatenate(columns)
        self.levels: list[Pixels] = []
        for _ in range(self.MAX_LEVEL + 1):
            self.levels.append(np.pad(joined, ((0, 0), (1, 1))))
            if joined.shape[1] <= 2:
                break
            joined = halve(joined, 1)


class Sprite:
    """Prefiltered flat picture with a transparent border; ``levels[i]`` is reduced by 2**i."""

    def __init__(self, texture: Pixels, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.levels: list[Pixels] = []
        level = np.ascontiguousarray(texture[::-1])
        while True:
            self.levels.append(np.pad(level, 1))
            if min(level.shape) <= 2 or len(self.levels) > 7:
                break
            level = halve(halve(level, 0), 1)


@dataclass
class House:
    """One building type: its street front and the wall at its end."""

    front: WallTexture
    gable: Sprite
    body_height: float


def _glass(sheet: Sheet, rng: np.random.Generator, x0: float, y0: float, x1: float, y1: float) -> None:
    sky = int(rng.integers(-14, 30))
    base = (52 + sky, 60 + sky, 70 + sky)
    if rng.random() < 0.08:
        base = (186, 168, 112)
    sheet.box(x0, y0, x1, y1, base)
    if rng.random() < 0.6:
        cut = y0 + (y1 - y0) * rng.uniform(0.3, 0.7)
        sheet.box(x0, cut, x1, y1, darker(base, 1.35))
    if rng.random() < 0.35:
        curtain = vary(rng, (170, 164, 152), 20)
        share = rng.uniform(0.12, 0.3)
        sheet.box(x0, y0, x0 + (x1 - x0) * share, y1, curtain)
        sheet.box(x1 - (x1 - x0) * share, y0, x1, y1, curtain)


def _window(
    sheet: Sheet, rng: np.random.Generator, x: float, y: float, width: float, height: float, trim: Colour, bars: int
) -> None:
    x0, x1, y1 = x - width / 2, x + width / 2, y + height
    sheet.box(x0 - 0.12, y - 0.18, x1 + 0.12, y - 0.02, darker(trim, 0.92))
    sheet.box(x0 - 0.06, y1, x1 + 0.06, y1 + 0.2, darker(trim, 0.82))
    sheet.box(x0 - 0.04, y - 0.02, x1 + 0.04, y1 + 0.02, (60, 56, 54))
    sheet.box(x0, y, x1, y1, trim)
    _glass(sheet, rng, x0 + 0.09, y + 0.09, x1 - 0.09, y1 - 0.09)
    for bar in range(1, bars):
        position = x0 + width * bar / bars
        sheet.box(position - 0.035, y, position + 0.035, y1, trim)
    middle = y + height * 0.52
    sheet.box(x0, middle - 0.04, x1, middle + 0.04, trim)


def _door(sheet: Sheet, rng: np.random.Generator, x: float, trim: Colour) -> None:
    colour = vary(rng, pick(rng, [(90, 30, 30), (30, 50, 80), (34, 70, 52), (46, 44, 46), (150, 140, 120)]))
    sheet.box(x - 0.62, 0, x + 0.62, 2.55, trim)
    sheet.box(x - 0.48, 0, x + 0.48, 2.05, colour)
    sheet.box(x - 0.3, 1.15, x + 0.3, 1.85, darker(colour, 1.3))
    sheet.box(x - 0.48, 2.1, x + 0.48, 2.45, (70, 76, 84))
    sheet.box(x - 0.75, 2.55, x + 0.75, 2.75, darker(trim, 0.85))


def _shopfront(sheet: Sheet, rng: np.random.Generator, x0: float, x1: float) -> None:
    colour = vary(rng, pick(rng, SHOP_COLOURS))
    sheet.box(x0, 0, x1, 3.3, darker(colour, 0.72))
    sheet.box(x0 + 0.2, 0.55, x1 - 0.2, 2.55, (40, 42, 46))
    panes = max(2, round((x1 - x0) / 1.5))
    step = (x1 - x0 - 0.4) / panes
    for pane in range(panes):
        left = x0 + 0.2 + pane * step
        _glass(sheet, rng, left + 0.05, 0.6, left + step - 0.05, 2.5)
        for _ in range(int(rng.integers(1, 5))):
            gx, gy = left + rng.uniform(0.1, step - 0.4), rng.uniform(0.65, 1.6)
            sheet.box(gx, gy, gx + rng.uniform(0.15, 0.35), gy + rng.uniform(0.2, 0.7), vary(rng, (150, 130, 110), 70))
    door = x0 + 0.2 + int(rng.integers(panes)) * step
    sheet.box(door + 0.1, 0, door + step - 0.1, 2.4, darker(colour, 0.5))
    sheet.box(door + 0.25, 0.9, door + step - 0.25, 2.25, (74, 82, 90))
    sheet.box(x0, 2.62, x1, 3.35, colour)
    text = (236, 232, 220) if sum(colour) < 400 else (40, 38, 42)
    cursor, end = x0 + (x1 - x0) * 0.2, x1 - (x1 - x0) * 0.2
    while cursor < end:
        letter = rng.uniform(0.1, 0.28)
        if rng.random() < 0.85:
            sheet.box(cursor, 2.82, cursor + letter, 2.82 + rng.uniform(0.2, 0.32), text)
        cursor += letter + 0.07
    if rng.random() < 0.3:
        awning = vary(rng, pick(rng, SHOP_COLOURS))
        stripes = max(4, round((x1 - x0) / 0.4))
        for stripe in range(stripes):
            left = x0 + (x1 - x0) * stripe / stripes
            right = x0 + (x1 - x0) * (stripe + 1) / stripes
            sheet.box(left, 2.15, right, 2.7, awning if stripe % 2 else (226, 222, 212))


def _roof(sheet: Sheet, rng: np.random.Generator, base: float, top: float, wall: Colour, trim: Colour) -> None:
    slate = vary(rng, pick(rng, [(92, 88, 90), (110, 84, 72), (78, 80, 86), (124, 98, 80)]))
    width = sheet.width
    sheet.box(0, base, width, top, slate)
    course = base
    while course < top:
        sheet.box(0, course, width, course + 0.06, darker(slate, rng.uniform(0.8, 0.95)))
        course += 0.28
    sheet.box(0, top - 0.12, width, top, darker(slate, 0.75))
    sheet.box(0, base - 0.2, width, base + 0.06, darker(trim, 0.9))
    sheet.box(0, base - 0.28, width, base - 0.2, darker(wall, 0.55))
    if rng.random() < 0.3 and width > 5.0:
        x = rng.uniform(1.6, width - 1.6)
        sheet.polygon([(x - 1.1, base + 0.2), (x + 1.1, base + 0.2), (x + 1.1, top - 0.6), (x, top), (x - 1.1, top - 0.6)], wall)
        _window(sheet, rng, x, base + 0.5, 1.1, top - base - 1.3, trim, 2)
    for x in ([0.6, width - 0.6] if rng.random() < 0.5 else [float(rng.uniform(0.6, width - 0.6))]):
        sheet.box(x - 0.45, top - 0.4, x + 0.45, sheet.height - 0.35, darker(wall, 0.85))
        sheet.box(x - 0.52, sheet.height - 0.5, x + 0.52, sheet.height - 0.35, darker(wall, 0.7))
        for pot in (-0.25, 0.2):
            sheet.box(x + pot - 0.1, sheet.height - 0.35, x + pot + 0.1, sheet.height, (150, 92, 70))


def _bay(sheet: Sheet, rng: np.random.Generator, x: float, floor: float, floors: int, trim: Colour) -> None:
    for level in range(floors):
        y = 0.55 + level * floor
        sheet.box(x - 1.25, y - 0.5, x + 1.25, y + 2.0, darker(trim, 0.86))
        for part, width in ((-0.85, 0.55), (0.0, 0.95), (0.85, 0.55)):
            _window(sheet, rng, x + part, y + 0.15, width, 1.55, trim, 1)


def make_house(rng: np.random.Generator, style: str, light: Light) -> House:
    """One building. Styles: terrace, render, shops, stone, flats, office."""
    floor = float(rng.uniform(2.75, 3.2))
    floors = int(rng.integers(2, 4))
    pitched = True
    width = float(rng.uniform(5.2, 8.0))
    if style == "terrace":
        wall = vary(rng, pick(rng, BRICKS))
    elif style == "render":
        wall = vary(rng, pick(rng, RENDERS))
    elif style == "shops":
        wall = vary(rng, pick(rng, BRICKS + RENDERS))
        width = float(rng.uniform(6.0, 11.0))
        pitched = rng.random() < 0.6
    elif style == "stone":
        wall = vary(rng, pick(rng, STONES))
        width, floor = float(rng.uniform(10.0, 16.0)), float(rng.uniform(3.3, 4.0))
        pitched = rng.random() < 0.5
    elif style == "flats":
        wall = vary(rng, pick(rng, CONCRETES + BRICKS))
        width, floors, pitched = float(rng.uniform(11.0, 17.0)), int(rng.integers(3, 6)), False
    else:
        wall = vary(rng, pick(rng, CONCRETES + [(96, 108, 118), (176, 176, 172)]))
        width, floors, floor, pitched = float(rng.uniform(12.0, 18.0)), int(rng.integers(3, 6)), 3.5, False
    trim = vary(rng, pick(rng, [(222, 218, 208), (206, 200, 188), (232, 230, 224), (96, 84, 74)]), 8)
    body = floor * floors + 0.5
    height = body + (float(rng.uniform(2.6, 3.6)) if pitched else 0.9)
    sheet = Sheet(width, height, FACADE_PPM)
    sheet.box(0, 0, width, body, wall)
    rows, columns = sheet.rows, sheet.columns
    if style in ("terrace", "shops", "stone"):
        for _ in range(int(width * body * 2.2)):
            x, y = rng.uniform(0, width), 0.3 * int(rng.integers(0, body / 0.3))
            sheet.box(x, y, x + rng.uniform(0.25, 0.7), y + 0.26, vary(rng, wall, 15))
    if rng.random() < 0.4:
        sheet.box(0, 0, width, rng.uniform(0.5, 1.1), darker(wall, 0.78))
    start = 0
    if style == "shops":
        units = max(1, round(width / 5.5))
        for unit in range(units):
            _shopfront(sheet, rng, width * unit / units + 0.08, width * (unit + 1) / units - 0.08)
        start = 1
    bars = int(rng.integers(1, 4))
    if style == "office":
        band = vary(rng, (86, 100, 112), 18)
        for level in range(floors):
            y = level * floor + 0.9
            sheet.box(0.3, y, width - 0.3, y + floor - 1.3, darker(band, 0.6))
            count = max(4, round(width / 1.4))
            for pane in range(count):
                left = 0.3 + (width - 0.6) * pane / count
                right = 0.3 + (width - 0.6) * (pane + 1) / count
                sheet.box(left + 0.05, y + 0.05, right - 0.05, y + floor - 1.35, vary(rng, band, 26))
        sheet.box(width / 2 - 1.6, 0, width / 2 + 1.6, 2.7, (58, 62, 66))
        sheet.box(width / 2 - 1.4, 0.1, width / 2 - 0.05, 2.5, (104, 116, 124))
        sheet.box(width / 2 + 0.05, 0.1, width / 2 + 1.4, 2.5, (104, 116, 124))
    else:
        spacing = 2.4 if style in ("terrace", "render", "shops") else 2.7
        count = max(2, round(width / spacing))
        size = (float(rng.uniform(0.95, 1.4)), float(rng.uniform(1.4, min(1.9, floor - 0.9))))
        door = int(rng.integers(count))
        bay = style in ("terrace", "render") and rng.random() < 0.4
        for level in range(start, floors):
            for column in range(count):
                x = width * (column + 0.5) / count
                if level == 0 and column == door:
                    _door(sheet, rng, x, trim)
                elif style == "flats" and column % 2 == 0 and level > 0:
                    y = level * floor
                    sheet.box(x - 1.2, y + 0.1, x + 1.2, y + 2.3, (70, 72, 74))
                    _glass(sheet, rng, x - 1.1, y + 0.2, x + 1.1, y + 2.2)
                    sheet.box(x - 1.3, y, x + 1.3, y + 0.15, darker(wall, 1.15))
                    sheet.box(x - 1.3, y + 0.15, x + 1.3, y + 1.0, vary(rng, (150, 152, 150), 10))
                else:
                    _window(sheet, rng, x, level * floor + 0.95, *size, trim, bars)
        if bay:
            _bay(sheet, rng, width * ((door + 1) % count + 0.5) / count, floor, int(rng.integers(1, 3)), trim)
        if rng.random() < 0.5:
            for level in range(1, floors):
                sheet.box(0, level * floor + 0.25, width, level * floor + 0.42, darker(trim, 0.9))
    pipe = rng.uniform(0.1, 0.25)
    sheet.box(pipe, 0, pipe + 0.1, body, (56, 54, 54))
    if pitched:
        _roof(sheet, rng, body, height - 0.9, wall, trim)
    else:
        sheet.box(0, body - 0.25, width, body, darker(trim, 0.9))
        sheet.box(0, body, width, body + 0.7, darker(wall, 0.92))
        sheet.box(0, body + 0.55, width, body + 0.75, darker(trim, 0.85))
        if rng.random() < 0.5:
            x = rng.uniform(1, width - 2)
            sheet.box(x, body + 0.7, x + 1.2, height, (120, 122, 122))
    grain = noise(rng, rows, columns, 60, 3) * 5.0 + rng.standard_normal((rows, columns)).astype(np.float32) * 3.5
    grain -= 26 * np.exp(-np.arange(rows, dtype=np.float32) / FACADE_PPM / 0.35)[:, None]
    front = WallTexture(sheet.finish(light, grain), width, height)
    return House(front, _gable(rng, wall, body, height if pitched else 0.0, light), body)


def _gable(rng: np.random.Generator, wall: Colour, body: float, peak: float, light: Light) -> Sprite:
    top = max(body + 0.7, peak - 0.9)
    sheet = Sheet(GABLE_DEPTH, top, FACADE_PPM // 2)
    colour = darker(wall, 0.94)
    if peak:
        sheet.polygon([(0, 0), (GABLE_DEPTH, 0), (GABLE_DEPTH, body), (GABLE_DEPTH / 2, top), (0, body)], colour)
        for x0, x1 in ((0.0, GABLE_DEPTH / 2), (GABLE_DEPTH, GABLE_DEPTH / 2)):
            sheet.line([(x0, body), (x1, top - 0.1)], 0.25, (88, 84, 84))
    else:
        sheet.box(0, 0, GABLE_DEPTH, top, colour)
    for _ in range(int(rng.integers(0, 4))):
        x, y = float(rng.uniform(1.5, GABLE_DEPTH - 1.5)), 0.9 + 3.0 * int(rng.integers(0, max(1, int(body / 3.2))))
        _window(sheet, rng, x, y, 0.9, 1.3, (216, 212, 204), 1)
    grain = noise(rng, sheet.rows, sheet.columns, 30, 3) * 6.0
    grain += rng.standard_normal((sheet.rows, sheet.columns)).astype(np.float32) * 3
    return Sprite(sheet.finish(light, grain), GABLE_DEPTH, top)


def make_fence(rng: np.random.Generator, style: str, light: Light) -> WallTexture:
    """A stretch of fence, repeated along the street. Styles: iron, wood, picket, wall, rail, hedge."""
    width = 6.0
    ppm = 2 * FACADE_PPM if style in ("iron", "picket", "rail") else FACADE_PPM
    height = {"iron": 1.3, "wood": 1.7, "picket": 1.0, "wall": 1.35, "rail": 1.05, "hedge": 1.6}[style]
    height *= float(rng.uniform(0.92, 1.1))
    sheet = Sheet(width, height, ppm)
    strength = 5.0
    if style in ("iron", "rail"):
        colour = vary(rng, pick(rng, [(40, 42, 44), (34, 60, 48), (120, 124, 126), (60, 62, 70)]), 6)
        pitch, bar = (0.125, 0.045) if style == "iron" else (0.12, 0.035)
        for step in range(round(width / pitch)):
            x = step * pitch
            sheet.box(x, 0.05, x + bar, height - (0.0 if style == "iron" else 0.08), colour)
        for y in (0.14, height - 0.2 if style == "iron" else height - 0.08):
            sheet.box(0, y, width, y + 0.08, colour)
        for x in (0.0, 2.0, 4.0):
            sheet.box(x, 0, x + 0.1, height, darker(colour, 0.8))
        if style == "iron":
            sheet.box(0, 0, width, 0.28, vary(rng, (140, 132, 120)))
    elif style in ("wood", "picket"):
        options = [(138, 108, 76), (112, 86, 62), (150, 130, 104), (96, 78, 62)]
        colour = vary(rng, pick(rng, options)) if style == "wood" else vary(rng, (218, 214, 204), 8)
        pitch, board = (0.15, 0.14) if style == "wood" else (0.15, 0.1)
        for step in range(round(width / pitch)):
            x, top = step * pitch, height - rng.uniform(0.0, 0.04)
            tone = vary(rng, colour, 18 if style == "wood" else 6)
            sheet.polygon([(x, 0.02), (x + board, 0.02), (x + board, top - 0.06), (x + board / 2, top), (x, top - 0.06)], tone)
            if style == "wood":
                sheet.box(x + board, 0, x + pitch, height - 0.08, darker(colour, 0.5))
        if style == "picket":
            for y in (0.25, height - 0.3):
                sheet.box(0, y, width, y + 0.09, darker(colour, 0.9))
        else:
            for x in (0.0, 2.0, 4.0):
                sheet.box(x, 0, x + 0.12, height, darker(colour, 0.75))
    elif style == "wall":
        colour = vary(rng, pick(rng, BRICKS + STONES))
        sheet.box(0, 0, width, height * 0.55, colour)
        for _ in range(120):
            x, y = rng.uniform(0, width), 0.12 * int(rng.integers(0, height * 0.55 / 0.12))
            sheet.box(x, y, x + 0.25, y + 0.1, vary(rng, colour, 24))
        sheet.box(0, height * 0.55, width, height * 0.55 + 0.1, (176, 168, 154))
        for step in range(round(width / 0.15)):
            sheet.box(step * 0.15, height * 0.55 + 0.1, step * 0.15 + 0.06, height, (48, 48, 52))
        sheet.box(0, height - 0.18, width, height - 0.1, (48, 48, 52))
    else:
        colour = vary(rng, pick(rng, [(58, 76, 42), (72, 84, 46), (48, 66, 42)]))
        sheet.box(0, 0, width, height - 0.12, darker(colour, 0.6))
        for _ in range(1400):
            x, y = rng.uniform(-0.1, width), rng.uniform(0, height - 0.08)
            radius = rng.uniform(0.04, 0.1)
            tone = vary(rng, darker(colour, 0.6 + 0.6 * y / height), 26)
            for shift in (0.0, width) if x < 0.1 else (0.0,):
                sheet.ellipse(x + shift, y, radius, radius, tone)
        strength = 9.0
    grain = rng.standard_normal((sheet.rows, sheet.columns)).astype(np.float32) * strength
    grain += noise(rng, sheet.rows, sheet.columns, 24, 2, wrap=True) * strength
    grain -= 24 * np.exp(-np.arange(sheet.rows, dtype=np.float32) / ppm / 0.2)[:, None]
    return WallTexture(sheet.finish(light, grain), width, height)


def make_tree(rng: np.random.Generator, light: Light, season: str) -> Sprite:
    """A tree: trunk, branches and a crown of many leaf clusters, or a bare one in winter."""
    height = float(rng.uniform(5.5, 11.0))
    shape = str(rng.choice(["round", "tall", "wide", "cone"], p=[0.45, 0.2, 0.25, 0.1]))
    width = height * {"round": 0.75, "tall": 0.45, "wide": 1.0, "cone": 0.5}[shape]
    ppm = int(np.clip(190 / height, 16, 30))
    sheet = Sheet(width, height, ppm)
    bark = vary(rng, pick(rng, [(82, 68, 54), (96, 84, 70), (66, 56, 48)]), 8)
    middle, trunk = width / 2, height * 0.024 + 0.05
    clear = min(2.6, height * 0.28)
    sheet.polygon(
        [(middle - trunk * 1.5, 0), (middle + trunk * 1.5, 0), (middle + trunk * 0.7, height * 0.6), (middle - trunk * 0.7, height * 0.6)], bark
    )
    sheet.polygon(
        [(middle + trunk * 0.2, 0), (middle + trunk * 1.5, 0), (middle + trunk * 0.7, height * 0.6), (middle + trunk * 0.1, height * 0.6)],
        darker(bark, 0.7),
    )
    lit = -1.0 if light.sun_side < 0 else 1.0
    palettes = {
        "summer": [(84, 104, 50), (66, 90, 48), (100, 112, 58), (56, 78, 50), (92, 98, 62)],
        "autumn": [(160, 112, 46), (134, 96, 44), (116, 104, 52), (168, 132, 60)],
        "winter": [(82, 70, 58)],
        "spring": [(124, 138, 72), (110, 130, 64), (188, 164, 168)],
    }
    leaf = vary(rng, pick(rng, palettes[season]), 10)
    for _ in range(9 if season != "winter" else 16):
        angle, start = rng.uniform(-0.9, 0.9), rng.uniform(clear, height * 0.55)
        _branch(sheet, rng, (middle, start), angle, height * rng.uniform(0.2, 0.34), trunk * 0.9, bark, 4 if season == "winter" else 2)
    if season != "winter" or shape == "cone":
        centre, ry, rx = (clear + height) / 2, (height - clear) / 2, width / 2
        lumps = [(rng.uniform(-0.55, 0.55), rng.uniform(-0.6, 0.65), rng.uniform(0.3, 0.5)) for _ in range(11)]
        lumps.append((0.0, 0.0, 0.7))
        clusters = []
        for _ in range(1150):
            lx, ly, radius = lumps[int(rng.integers(len(lumps)))]
            angle, reach = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.random())
            u, v = lx + reach * np.cos(angle), ly + reach * np.sin(angle)
            if shape == "cone":
                u *= 0.55 - 0.5 * v
            if u * u + v * v > 1.0 and shape != "cone":
                continue
            tone = 0.72 + 0.26 * v + 0.16 * u * lit + 0.22 * np.sin(angle) * reach / radius + rng.normal(0, 0.1)
            clusters.append((rng.random() + 0.5 * (0.4 - abs(u)) + 0.25 * v, u, v, tone))
        for _, u, v, tone in sorted(clusters):
            size = rng.uniform(0.09, 0.24) * (0.7 + 0.03 * height)
            x = float(np.clip(middle + u * rx, size, width - size))
            y = float(np.clip(centre + v * ry, size, height - size))
            sheet.ellipse(x, y, size, size * rng.uniform(0.6, 0.95), vary(rng, darker(leaf, max(0.35, tone)), 10))
    grain = noise(rng, sheet.rows, sheet.columns, 7, 2) * 7.0
    return Sprite(sheet.finish(light, grain), width, height)


def _branch(
    sheet: Sheet, rng: np.random.Generator, start: tuple[float, float], angle: float, length: float, width: float, bark: Colour, depth: int
) -> None:
    end = (start[0] + np.sin(angle) * length, start[1] + np.cos(angle) * length)
    sheet.line([start, end], max(0.03, width), bark)
    if depth:
        for _ in range(2 if depth > 1 else 3):
            share = rng.uniform(0.5, 1.0)
            fork = (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)
            _branch(sheet, rng, fork, angle + rng.uniform(-0.7, 0.7), length * rng.uniform(0.5, 0.75), width * 0.55, bark, depth - 1)


def make_sky(
    rng: np.random.Generator, light: Light, width: int, above: int, below: int, focal: float, season: str
) -> tuple[Pixels, np.ndarray]:
    """A panorama of sky, clouds and a distant skyline: packed ``[above + below, width]`` and bool "is skyline".

    One texel is one pixel of the frame; the horizon lies ``above`` texels from the top.
    """
    rows = above + below
    height = (above - np.arange(rows, dtype=np.float32)) / focal
    share = np.clip(height / 0.75, 0, 1)[:, None, None] ** 0.7
    colour = light.horizon.astype(np.float32) * (1 - share) + light.zenith.astype(np.float32) * share
    colour = np.repeat(colour, width, 1)
    squash = np.clip(height, 0.02, None)[:, None]
    big = noise(rng, rows, width, max(4.0, focal * 0.35), 5)
    stretched = noise(rng, max(8, rows * 3), width, max(4.0, focal * 0.3), 4)
    stretched = np.asarray(Image.fromarray(stretched).resize((width, rows), Image.Resampling.BILINEAR))
    field = np.where(squash > 0.25, big, 0.5 * big + 0.7 * stretched) / 1.2
    threshold = 1.2 - 2.4 * light.cloud_cover
    cover = np.clip((field - threshold) / 0.9, 0, 1)[..., None]
    cloud = light.cloud.astype(np.float32) * (0.97 - 0.1 * np.clip(big - 0.3, -0.5, 1.2))[..., None]
    colour = colour * (1 - 0.85 * cover) + cloud * 0.85 * cover
    if light.name in ("sunny", "late", "hazy"):
        sun_x = width / 2 + light.sun_side * focal * 0.42
        sun_y = above - focal * (0.62 if light.name != "late" else 0.3)
        grid_y, grid_x = np.mgrid[0:rows, 0:width].astype(np.float32)
        radius = np.hypot(grid_x - sun_x, grid_y - sun_y) / focal
        glow = np.exp(-radius * 5.0)[..., None] * 70 + np.exp(-((radius / 0.05) ** 2))[..., None] * 80
        colour = colour + glow * np.array([1.0, 0.93, 0.78], np.float32)
    ragged = noise(rng, 2, width, focal * 0.05, 4)[0] * 0.010 + noise(rng, 2, width, focal * 0.4, 2)[0] * 0.018
    top = np.clip(0.045 + ragged, 0.012, 0.14) * focal
    blocks = np.zeros(width, np.float32)
    cursor = 0
    while cursor < width:
        span = max(1, int(rng.uniform(0.03, 0.1) * focal))
        if rng.random() < 0.4:
            blocks[cursor : cursor + span] = rng.uniform(0.03, 0.1) * focal
        cursor += span
    level = (above - np.arange(rows, dtype=np.float32))[:, None] - 0.5
    green = np.asarray(
        {"summer": (92, 106, 74), "autumn": (124, 104, 72), "winter": (98, 90, 82), "spring": (112, 124, 84)}[season],
        np.float32,
    )
    haze = 0.45
    for heights, base, spread in ((blocks, np.array([138, 128, 120], np.float32), 6.0), (top, green, 16.0)):
        alpha = np.clip(heights[None] - level + 0.5, 0, 1)[..., None]
        texture = noise(rng, rows, width, max(2.0, focal * 0.012), 2)[..., None] * spread
        flat = np.clip(base + texture, 0, 255) * light.tint.astype(np.float32) * (1 - haze) + light.horizon.astype(
            np.float32
        ) * haze
        colour = colour * (1 - alpha) + flat * alpha
    kind = np.zeros((rows, width), np.uint8)
    kind[blocks[None] > level] = 1
    kind[top[None] > level] = 2
    rgba = np.full((rows, width, 4), 255, np.uint8)
    rgba[..., :3] = np.clip(colour, 0, 255)
    return pack(rgba), kind
