"""Buildings: street fronts with windows, doors, shops and roofs, and the walls at their ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .light import Light
from .textures import FACADE_PPM, Colour, Sheet, Sprite, WallTexture, darker, noise, pick, vary

GABLE_DEPTH = 9.0

BRICKS = [(146, 92, 74), (160, 108, 84), (128, 82, 70), (178, 152, 116), (196, 176, 138), (170, 140, 104)]
RENDERS = [(206, 198, 182), (214, 208, 198), (188, 176, 158), (198, 190, 160), (176, 186, 186), (204, 178, 158)]
STONES = [(166, 156, 134), (178, 166, 140), (150, 144, 132)]
CONCRETES = [(142, 140, 136), (126, 126, 126), (158, 152, 142)]
SHOP_COLOURS = [
    (150, 34, 34),
    (28, 72, 128),
    (24, 92, 62),
    (60, 56, 60),
    (206, 180, 52),
    (116, 46, 106),
    (220, 220, 214),
]


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
        sheet.polygon(
            [(x - 1.1, base + 0.2), (x + 1.1, base + 0.2), (x + 1.1, top - 0.6), (x, top), (x - 1.1, top - 0.6)], wall
        )
        _window(sheet, rng, x, base + 0.5, 1.1, top - base - 1.3, trim, 2)
    for x in [0.6, width - 0.6] if rng.random() < 0.5 else [float(rng.uniform(0.6, width - 0.6))]:
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
        wall = vary(rng, pick(rng, [*CONCRETES, (96, 108, 118), (176, 176, 172)]))
        width, floors, floor, pitched = float(rng.uniform(12.0, 18.0)), int(rng.integers(3, 6)), 3.5, False
    trim = vary(rng, pick(rng, [(222, 218, 208), (206, 200, 188), (232, 230, 224), (96, 84, 74)]), 8)
    body = floor * floors + 0.5
    height = body + (float(rng.uniform(2.6, 3.6)) if pitched else 0.9)
    sheet = Sheet(width, height, FACADE_PPM)
    sheet.box(0, 0, width, body, wall)
    rows, columns = sheet.rows, sheet.columns
    if style in ("terrace", "shops", "stone"):
        for _ in range(int(width * body * 2.2)):
            x, y = rng.uniform(0, width), 0.3 * int(rng.integers(0, int(body / 0.3)))
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
