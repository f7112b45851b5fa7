"""A motion field in pictures: arrows, colours, what was filled; and a difference of brightness in colours."""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image, ImageDraw

from arseg.video.motion import BlockField

from .likeness import luma

__all__ = ["arrows", "draw_arrow", "each_pixel", "error_colours", "field_colours", "field_scale", "mask", "resized"]

Picture = Image.Image

OWN = (255, 221, 40)
FILLED = (255, 110, 40)
EDGE = (16, 16, 24)

# Shown pixels from arrow to arrow, and the lengths that most of them may have.
_SPACING = 24
_SHORT, _LONG = 14.0, 52.0
_FACTORS = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)

# Drawn so much larger, then reduced.
SUPER = 4

# Difference in brightness that is white.
ERROR_FULL = 64

# From black over purple and orange to white.
_RAMP = np.array([(0, 0, 0), (58, 12, 88), (168, 36, 82), (240, 104, 34), (250, 200, 60), (255, 255, 240)], np.float32)


def field_scale(motion: BlockField) -> float:
    """Length in pixels that only two cells in a hundred exceed, at least 1: the one that is drawn in full colour."""
    return max(1.0, float(np.percentile(_lengths(motion.vectors), 98)))


def field_colours(vectors: np.ndarray, full: float) -> np.ndarray:
    """uint8 `[H, W, 3]` of int16 `[H, W, 2]` in quarter pixels: hue for where the content went, strength for how far.

    Args:
        full: length in pixels from which on a colour is as strong as can be; no motion is dark grey.
    """
    # The vector points to where the content was: it moved the other way.
    x, y = -vectors[..., 0].astype(np.float32), -vectors[..., 1].astype(np.float32)
    hue = np.arctan2(y, x) / (2 * np.pi) % 1.0
    strength = np.clip(_lengths(vectors) / full, 0, 1)
    ring = np.array([colorsys.hsv_to_rgb(i / 360, 1, 1) for i in range(360)], np.float32) * 255
    pure = ring[np.round(hue * 360).astype(int) % 360]
    still = np.float32(44)
    return np.round(still + (pure - still) * strength[..., None]).astype(np.uint8)


def error_colours(difference: np.ndarray) -> np.ndarray:
    """uint8 `[H, W, 3]` of a difference in brightness: black for none, white from 64 of 255 on."""
    place = np.clip(np.abs(difference) / ERROR_FULL, 0, 1) * (len(_RAMP) - 1)
    low = np.minimum(place.astype(int), len(_RAMP) - 2)
    part = (place - low)[..., None]
    return np.round(_RAMP[low] * (1 - part) + _RAMP[low + 1] * part).astype(np.uint8)


def mask(image: np.ndarray, motion: BlockField) -> np.ndarray:
    """The uint8 `[H, W, 3]` frame, dimmed, with the cells that were filled from their neighbours in orange."""
    filled = each_pixel(~motion.valid, motion.block, image.shape[0], image.shape[1])
    dimmed = _dimmed(image)
    dimmed[filled] = np.round(dimmed[filled] * 0.45 + np.array(FILLED) * 0.55).astype(np.uint8)
    return dimmed


def arrows(image: np.ndarray, motion: BlockField, size: tuple[int, int]) -> tuple[Picture, float]:
    """The dimmed frame with arrows from where the content was to where it is now.

    Args:
        image: uint8 `[H, W, 3]`.
        size: of the picture to make.

    Returns:
        The picture, and how many times as long as they are the vectors are drawn.
    """
    height, width = image.shape[:2]
    scale = size[0] / width
    picture = resized(_dimmed(image), size)
    xs, ys = (_places(length, motion.block * scale) for length in size)
    columns = np.minimum((xs / scale).astype(int) // motion.block, motion.vectors.shape[1] - 1)
    rows = np.minimum((ys * height / size[1]).astype(int) // motion.block, motion.vectors.shape[0] - 1)
    vectors = motion.vectors[np.ix_(rows, columns)].astype(np.float64) / 4 * scale
    factor = _arrow_factor(_lengths(vectors))
    own = motion.valid[np.ix_(rows, columns)]
    large = (size[0] * SUPER, size[1] * SUPER)
    layers = {colour: Image.new("L", large) for colour in (EDGE, OWN, FILLED)}
    pens = {colour: ImageDraw.Draw(layer) for colour, layer in layers.items()}
    for j, y in enumerate(ys):
        for i, x in enumerate(xs):
            tail = np.array([x, y]) + vectors[j, i] * factor
            draw_arrow(pens[EDGE], tail, np.array([x, y]), outline=1.2)
            draw_arrow(pens[OWN if own[j, i] else FILLED], tail, np.array([x, y]))
    for colour, layer in layers.items():
        picture.paste(colour, mask=layer.reduce(SUPER))
    return picture, factor


def _dimmed(image: np.ndarray) -> np.ndarray:
    """Darker and greyer, so that what is laid over it stands out."""
    grey = luma(image)[..., None]
    return np.round((image * 0.35 + grey * 0.65) * 0.6).astype(np.uint8)


def resized(picture: np.ndarray, size: tuple[int, int], blocks: bool = False) -> Picture:
    image = Image.fromarray(picture)
    if image.size == size:
        return image
    larger = max(size[0] / image.width, size[1] / image.height)
    # Single pixels, shown large, are to look like pixels.
    sharp = larger > (1 if blocks else 6)
    return image.resize(size, Image.Resampling.NEAREST if sharp else Image.Resampling.LANCZOS)


def each_pixel(values: np.ndarray, block: int, height: int, width: int) -> np.ndarray:
    """Each cell's value for each of its pixels."""
    return values.repeat(block, 0).repeat(block, 1)[:height, :width]


def _lengths(vectors: np.ndarray) -> np.ndarray:
    """In the unit of floating-point vectors, and in pixels of integer ones, which count quarters."""
    lengths: np.ndarray = np.hypot(vectors[..., 0].astype(np.float64), vectors[..., 1].astype(np.float64))
    return lengths / 4 if np.issubdtype(vectors.dtype, np.integer) else lengths


def _places(length: int, cell: float) -> np.ndarray:
    """Centres of the arrows along a side: not denser than the cells."""
    count = max(1, int(length / max(_SPACING, cell)))
    return (np.arange(count) + 0.5) * length / count


def _arrow_factor(lengths: np.ndarray) -> float:
    """How many times as long to draw vectors, so that they are seen but do not cover each other."""
    usual = float(np.percentile(lengths, 95))
    if usual < 0.05 or _SHORT <= usual <= _LONG:
        return 1.0
    if usual < _SHORT:
        # Not so much that the few longest arrows cross the picture.
        most = 2 * _LONG / float(lengths.max())
        return max([1.0, *(factor for factor in _FACTORS if factor <= most and usual * factor < 2 * _SHORT)])
    return next((factor for factor in reversed(_FACTORS) if usual * factor <= _LONG), _FACTORS[0])


def draw_arrow(draw: ImageDraw.ImageDraw, tail: np.ndarray, tip: np.ndarray, outline: float = 0.0) -> None:
    """From `tail` to `tip` in shown pixels; a dot where it is too short to have a direction."""
    way = tip - tail
    length = float(np.hypot(*way))
    if length < 1.5:
        radius = 1.3 + outline
        draw.ellipse(_super(tip[0] - radius, tip[1] - radius, tip[0] + radius, tip[1] + radius), 255)
        return
    along = way / length
    across = np.array([-along[1], along[0]])
    head = min(8.0, 3.0 + length * 0.35)
    neck = tip - along * min(head, length)
    half = head * 0.42 + outline
    draw.line(_super(*(tail - along * outline), *neck), 255, round((1.5 + 2 * outline) * SUPER))
    corners = (
        tip + along * outline * 1.8,
        neck + across * half - along * outline,
        neck - across * half - along * outline,
    )
    draw.polygon(_super(*np.concatenate(corners)), 255)


def _super(*places: float) -> list[float]:
    return [float(place) * SUPER for place in places]
