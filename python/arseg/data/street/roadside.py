"""Fences, hedges and trees."""

from __future__ import annotations

import numpy as np

from .houses import BRICKS, STONES
from .light import Light
from .textures import FACADE_PPM, Colour, Sheet, Sprite, WallTexture, darker, noise, pick, vary


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
            sheet.polygon(
                [(x, 0.02), (x + board, 0.02), (x + board, top - 0.06), (x + board / 2, top), (x, top - 0.06)], tone
            )
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
            x, y = rng.uniform(0, width), 0.12 * int(rng.integers(0, int(height * 0.55 / 0.12)))
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
        [
            (middle - trunk * 1.5, 0),
            (middle + trunk * 1.5, 0),
            (middle + trunk * 0.7, height * 0.6),
            (middle - trunk * 0.7, height * 0.6),
        ],
        bark,
    )
    sheet.polygon(
        [
            (middle + trunk * 0.2, 0),
            (middle + trunk * 1.5, 0),
            (middle + trunk * 0.7, height * 0.6),
            (middle + trunk * 0.1, height * 0.6),
        ],
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
        _branch(
            sheet,
            rng,
            (middle, start),
            angle,
            height * rng.uniform(0.2, 0.34),
            trunk * 0.9,
            bark,
            4 if season == "winter" else 2,
        )
    if season != "winter" or shape == "cone":
        centre, ry, rx = (clear + height) / 2, (height - clear) / 2, width / 2
        lumps = [(rng.uniform(-0.55, 0.55), rng.uniform(-0.6, 0.65), rng.uniform(0.3, 0.5)) for _ in range(11)]
        lumps.append((0.0, 0.0, 0.7))
        count = 2600
        lump = np.array(lumps)[rng.integers(len(lumps), size=count)]
        around, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count))
        u, v = lump[:, 0] + lump[:, 2] * reach * np.cos(around), lump[:, 1] + lump[:, 2] * reach * np.sin(around)
        if shape == "cone":
            u = u * (0.55 - 0.5 * v)
        tone = 0.7 + 0.26 * v + 0.16 * u * lit + 0.24 * np.sin(around) * reach + rng.normal(0, 0.1, count)
        size = rng.uniform(0.06, 0.15, count) * (0.7 + 0.04 * height) * np.where(rng.random(count) < 0.25, 1.7, 1.0)
        order = np.argsort(rng.random(count) * 0.9 + 0.5 * (0.4 - np.abs(u)) + 0.25 * v - 2.0 * size)
        x = np.clip(middle + u * rx, size, width - size)
        y = np.clip(centre + v * ry, size, height - size)
        shades = np.array(leaf) * np.maximum(tone, 0.33)[:, None] + rng.normal(0, 4, (count, 3))
        shades = np.clip(shades, 4, 245).astype(int)
        flat = rng.uniform(0.6, 0.95, count) * size
        for i in order[(u * u + v * v < 1.0)[order] | (shape == "cone")].tolist():
            red, green, blue = shades[i].tolist()
            sheet.ellipse(x[i], y[i], size[i], flat[i], (red, green, blue))
    grain = noise(rng, sheet.rows, sheet.columns, 7, 2) * 7.0
    return Sprite(sheet.finish(light, grain), width, height)


def _branch(
    sheet: Sheet,
    rng: np.random.Generator,
    start: tuple[float, float],
    angle: float,
    length: float,
    width: float,
    bark: Colour,
    depth: int,
) -> None:
    end = (start[0] + np.sin(angle) * length, start[1] + np.cos(angle) * length)
    sheet.line([start, end], max(0.03, width), bark)
    if depth:
        for _ in range(2 if depth > 1 else 3):
            share = rng.uniform(0.5, 1.0)
            fork = (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)
            _branch(
                sheet,
                rng,
                fork,
                angle + rng.uniform(-0.7, 0.7),
                length * rng.uniform(0.5, 0.75),
                width * 0.55,
                bark,
                depth - 1,
            )
