"""The ground: road, markings, kerbs and pavement, as prefiltered tiles of 32 m of street."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .lanes import Floats, Pixels, halve, pack, squeeze
from .light import Light
from .textures import noise

TILE = 32.0
"""Length of a tile and of a segment of street, in metres."""
HALF_WIDTH = 10.0
PPM_ACROSS, PPM_ALONG = 32, 16
MOUTH = 16.0
"""Where in a tile a side street opens; it is 7 m wide."""
CROSSING = 26.0
"""Where in a tile a zebra crossing lies."""
ACROSS_LEVELS, ALONG_LEVELS = 5, 7


@dataclass(frozen=True)
class Profile:
    """Cross section of the street, in metres from its centre line."""

    lane: float
    parking: tuple[float, float]
    pavement: tuple[float, float]

    def road(self, side: int) -> float:
        """Distance from the centre line to the kerb on a side (-1 left, +1 right)."""
        return self.lane + self.parking[side > 0]

    def edge(self, side: int) -> float:
        """Distance to the back of the pavement."""
        return self.road(side) + self.pavement[side > 0]


@dataclass(frozen=True)
class Surface:
    """Colours and markings that all tiles of a scene share."""

    asphalt: Floats
    paving: Floats
    kerb: Floats
    garden: Floats
    slab: float
    centre: tuple[float, float]
    yellow: tuple[int, int]
    edge_line: bool
    wear: float
    grain: float


def choose_surface(rng: np.random.Generator) -> Surface:
    """Draw the materials of a street."""
    grey = rng.uniform(88, 128)
    paving = rng.uniform(128, 164)
    centre = [(2.0, 4.0), (4.0, 8.0), (2.0, 8.0), (4.0, 16.0)][int(rng.integers(4))]
    return Surface(
        asphalt=grey * np.array([1.0, 1.0, 1.0]) * rng.uniform(0.96, 1.04, 3),
        paving=paving * np.array([1.02, 1.0, 0.96]) * rng.uniform(0.97, 1.03, 3),
        kerb=(paving + rng.uniform(6, 30)) * np.array([1.0, 1.0, 0.98]),
        garden=np.array([(128, 122, 108), (140, 130, 116), (112, 110, 106)][int(rng.integers(3))], np.float64),
        slab=float(rng.choice([0.6, 0.9, 0.45])),
        centre=centre,
        yellow=(int(rng.integers(0, 3)), int(rng.integers(0, 3))),
        edge_line=bool(rng.random() < 0.3),
        wear=float(rng.uniform(0.55, 0.95)),
        grain=float(rng.uniform(4, 9)),
    )


def _band(position: Floats, low: float, high: float, soft: float) -> Floats:
    """1 inside low..high, ramps of ``soft`` metres."""
    return np.clip((np.minimum(position - low, high - position)) / soft + 0.5, 0, 1)


def _make_tile(
    rng: np.random.Generator, profile: Profile, surface: Surface, light: Light, left: bool, right: bool, crossing: bool
) -> Pixels:
    rows, columns = int(TILE * PPM_ALONG), int(2 * HALF_WIDTH * PPM_ACROSS)
    along = ((np.arange(rows, dtype=np.float32) + 0.5) / PPM_ALONG)[:, None]
    across = ((np.arange(columns, dtype=np.float32) + 0.5) / PPM_ACROSS - HALF_WIDTH)[None, :]
    side = across > 0
    road = np.where(side, profile.road(1), profile.road(-1)).astype(np.float32)
    kerb = np.broadcast_to(np.abs(across) - road, (rows, columns)).copy()
    for sign, opened in ((-1, left), (1, right)):
        if opened:
            depth = np.clip(np.abs(across) - road, 0, 3)
            corner = 3.0 - np.sqrt(np.clip(9.0 - (3.0 - depth) ** 2, 0, 9))
            distance = np.abs(along - MOUTH) - (3.5 + corner)
            kerb = np.where((across > 0) == (sign > 0), np.minimum(kerb, distance), kerb)
    fine = rng.standard_normal((rows, columns)).astype(np.float32)
    rough = noise(rng, rows, columns, 40, 3, wrap=True)
    blotch = noise(rng, rows, columns, 160, 2, wrap=True)
    asphalt = np.float32(1.0) + (fine * surface.grain + rough * 3.5 + blotch * 4.0) / 110
    for lane in (-1, 1):
        middle = lane * profile.lane / 2
        for track in (-0.8, 0.8):
            asphalt += 0.05 * np.exp(-(((across - middle - track) / 0.32) ** 2))
        asphalt -= 0.05 * np.exp(-(((across - middle) / 0.35) ** 2))
    asphalt -= 0.14 * np.exp(-np.clip(-kerb, 0, None) / 0.35)
    asphalt *= _wounds(rng, rows, columns)
    colour = asphalt[..., None] * surface.asphalt.astype(np.float32)

    worn = np.clip(surface.wear + 0.16 * rough + 0.10 * fine, 0.2, 1.0)
    soft_x, soft_s = 1.0 / PPM_ACROSS, 1.0 / PPM_ALONG
    on_road = np.clip(-kerb / 0.1, 0, 1)
    dash, period = surface.centre
    phase = np.mod(along, period)
    centre = _band(across, -0.06, 0.06, soft_x) * _band(phase, 0.5, 0.5 + dash, soft_s)
    if crossing:
        centre = centre * (1 - _band(along, CROSSING - 8, CROSSING + 6, 0.2))
    white = centre
    if surface.edge_line:
        for sign in (-1, 1):
            if profile.parking[sign > 0] > 0.5:
                line = _band(across * sign, profile.lane - 0.05, profile.lane + 0.07, soft_x)
                line = line * _band(np.mod(along, 2.0), 0.2, 1.4, soft_s)
            else:
                line = _band(across * sign, profile.road(sign) - 0.5, profile.road(sign) - 0.38, soft_x)
            white = np.maximum(white, line * (kerb < -0.3))
    for sign, opened in ((-1, left), (1, right)):
        if opened:
            reach = profile.road(sign)
            give_way = _band(across * sign, reach - 0.05, reach + 0.2, soft_x) * _band(
                np.mod(along, 0.9), 0.1, 0.7, soft_s
            )
            white = np.maximum(white, give_way * (np.abs(along - MOUTH) < 3.3))
    if crossing:
        stripes = _band(np.mod(across + 20.0, 1.2), 0.3, 0.9, soft_x) * _band(
            along, CROSSING - 1.5, CROSSING + 1.5, soft_s
        )
        white = np.maximum(white, stripes * (kerb < -0.2))
        for sign in (-1, 0, 1):
            zigzag = sign * (min(profile.road(-1), profile.road(1)) - 0.7) + 0.22 * (
                2 * np.abs(np.mod(along / 2.0, 2.0) - 1.0) - 1
            )
            near = np.maximum(
                _band(along, CROSSING - 8, CROSSING - 2, 0.1), _band(along, CROSSING + 2, CROSSING + 5.5, 0.1)
            )
            white = np.maximum(white, _band(across - zigzag, -0.06, 0.06, 2 * soft_x) * near)
    paint = (white * worn * on_road)[..., None]
    colour = colour * (1 - paint) + np.array([214, 214, 208], np.float32) * paint
    for sign in (-1, 1):
        count = surface.yellow[sign > 0]
        for line_index in range(count):
            inner = -0.32 - 0.2 * line_index
            line = _band(kerb, inner - 0.1, inner, soft_x) * ((across > 0) == (sign > 0))
            if crossing:
                line = line * (1 - _band(along, CROSSING - 8.5, CROSSING + 5.8, 0.1))
            line = (line * worn)[..., None]
            colour = colour * (1 - line) + np.array([196, 164, 62], np.float32) * line

    slabs_s, slabs_x = int(TILE / surface.slab) + 2, int(2 * HALF_WIDTH / surface.slab) + 2
    tone = 1.0 + 0.05 * rng.standard_normal((slabs_s, slabs_x)).astype(np.float32)
    index_s = (along / surface.slab).astype(int)
    index_x = ((across + HALF_WIDTH + 0.3 * (index_s % 2) * surface.slab) / surface.slab).astype(int)
    paving = tone[index_s, np.minimum(index_x, slabs_x - 1)] + (fine * 3.0 + rough * 3.0 + blotch * 4.0) / 140
    joint_s = np.abs(np.mod(along / surface.slab + 0.5, 1) - 0.5) * surface.slab
    shifted = (across + HALF_WIDTH + 0.3 * (index_s % 2) * surface.slab) / surface.slab
    joint_x = np.abs(np.mod(shifted + 0.5, 1) - 0.5) * surface.slab
    paving -= 0.16 * np.clip(1.5 - joint_s * PPM_ALONG, 0, 1) + 0.16 * np.clip(1.3 - joint_x * PPM_ACROSS, 0, 1)
    pavement = paving[..., None] * surface.paving.astype(np.float32)
    edge = np.where(side, profile.edge(1), profile.edge(-1))
    beyond = np.clip((np.abs(across) - edge) * 8, 0, 1) * np.ones_like(kerb)
    if left or right:
        beyond = beyond * np.clip((kerb - 2.0) * 8, 0, 1)
    soil = (1.0 + (fine * 7 + rough * 9) / 120)[..., None] * surface.garden.astype(np.float32)
    pavement = pavement * (1 - beyond[..., None]) + soil * beyond[..., None]
    stone = _band(kerb, 0.0, 0.16, soft_x) * (
        1 - 0.35 * np.clip(1.4 - np.abs(np.mod(along, 0.9) - 0.45) * PPM_ALONG, 0, 1)
    )
    stone = stone[..., None]
    pavement = pavement * (1 - stone) + (surface.kerb.astype(np.float32) * (1 + fine * 0.03)[..., None]) * stone
    raised = np.clip(kerb * PPM_ACROSS + 0.5, 0, 1)[..., None]
    face = _band(kerb, -0.09, 0.0, soft_x)[..., None]
    colour = colour * (1 - 0.4 * face)
    colour = colour * (1 - raised) + pavement * raised

    rgba = np.empty((rows, columns, 4), np.uint8)
    rgba[..., :3] = np.clip(colour * light.tint.astype(np.float32) * 0.97, 0, 255)
    rgba[..., 3] = np.clip(raised[..., 0] * 255, 0, 255)
    return pack(rgba)


def _wounds(rng: np.random.Generator, rows: int, columns: int) -> Floats:
    """Patches, cracks and covers as brightness factors, float32 ``[rows, columns]``."""
    image = Image.new("L", (columns, rows), 128)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 5))):
        x, s = rng.uniform(0.15, 0.75) * columns, rng.uniform(0.08, 0.75) * rows
        w, length = rng.uniform(0.7, 2.5) * PPM_ACROSS, rng.uniform(1.0, 7.0) * PPM_ALONG
        tone = int(128 * rng.choice([0.82, 0.9, 1.1]))
        draw.rectangle((x, s, x + w, min(s + length, rows - 4)), tone, int(tone * 0.82))
    for _ in range(int(rng.integers(2, 6))):
        x, s = rng.uniform(0.2, 0.8) * columns, rng.uniform(0.05, 0.6) * rows
        points = [(x, s)]
        for _ in range(10):
            x, s = x + rng.normal(0, 9), min(s + rng.uniform(2, 14), rows - 2)
            points.append((x, s))
        draw.line(points, int(128 * rng.uniform(0.6, 0.8)), 2)
    for _ in range(int(rng.integers(0, 3))):
        x, s = rng.uniform(0.3, 0.7) * columns, rng.uniform(0.1, 0.9) * rows
        draw.ellipse((x - 11, s - 5, x + 11, s + 5), 84, 60)
    return np.asarray(image, np.float32) / 128


class Ground:
    """All tiles of a scene with their prefiltered copies.

    ``lines[a]`` holds the texture lines of horizontal level ``a`` (squeezed, uint32 ``[lines, texels across]``) and
    ``first[a, tile, l]`` where the lines of tile and level-along ``l`` begin.
    """

    KINDS = (
        (False, False, False),
        (False, False, False),
        (False, False, True),
        (True, False, False),
        (False, True, False),
    )

    def __init__(self, seed: int, profile: Profile, surface: Surface, light: Light) -> None:
        self.first = np.zeros((ACROSS_LEVELS, len(self.KINDS), ALONG_LEVELS), np.intp)
        parts: list[list[NDArray[np.uint32]]] = [[] for _ in range(ACROSS_LEVELS)]
        totals = [0] * ACROSS_LEVELS
        for tile, kind in enumerate(self.KINDS):
            rng = np.random.default_rng([seed, 77, tile])
            along = _make_tile(rng, profile, surface, light, *kind)
            for level in range(ALONG_LEVELS):
                picture = along
                for across in range(min(level + 1, ACROSS_LEVELS)):
                    self.first[across, tile, level] = totals[across]
                    parts[across].append(squeeze(picture))
                    totals[across] += picture.shape[0]
                    picture = halve(picture, 1)
                along = halve(along, 0)
        self.lines = [np.concatenate(part) for part in parts]
