"""Pictures of results: coloured label maps, overlays, contact sheets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from arseg.labels import LabelSet
from arseg.preprocess import resized

BAND = 64
"""Rows that are mixed at a time: what is between stays in the caches."""

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def colour(labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """uint8 `[H, W]` class ids -> uint8 `[H, W, 3]` in the colours of `palette` `[K, 3]`.

    Ids past the palette have its last colour (black).
    """
    return palette[np.minimum(labels, len(palette) - 1)]


def indexed(labels: np.ndarray, palette: np.ndarray) -> Image.Image:
    """uint8 `[H, W]` class ids as a palette picture, so that viewers show the data set's colours.

    Args:
        palette: uint8 `[K, 3]`, RGB; at most 256 colours.
    """
    picture = Image.frombytes("P", labels.shape[::-1], np.ascontiguousarray(labels).tobytes())
    picture.putpalette(palette[:256].ravel().tolist())
    return picture


def overlay(image: np.ndarray, labels: np.ndarray, palette: np.ndarray, opacity: float = 0.55) -> np.ndarray:
    """The label colours laid over a uint8 `[H, W, 3]` frame; halves are rounded up."""
    colours, last = np.multiply(palette, opacity, dtype=np.float32) + np.float32(0.5), len(palette) - 1
    out = np.empty_like(image)
    for top in range(0, len(image), BAND):
        band = slice(top, top + BAND)
        mixed = np.multiply(image[band], 1 - opacity, dtype=np.float32)
        mixed += np.take(colours, np.minimum(labels[band], last), axis=0)
        out[band] = mixed
    return out


def difference(labels: np.ndarray, other: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """uint8 `[H, W, 3]`: where two label maps agree, dark grey; where not, the first one's colour."""
    out = colour(labels, palette)
    out[labels == other] = 32
    return out


def thumbnail(picture: np.ndarray, width: int = 480) -> np.ndarray:
    """A uint8 `[H, W, 3]` picture made narrower where it is wider than `width`."""
    if picture.shape[1] <= width:
        return picture
    size = (max(1, round(picture.shape[0] * width / picture.shape[1])), width)
    return resized(picture, size, Image.Resampling.LANCZOS)


def contact_sheet(
    columns: Sequence[str], rows: Sequence[tuple[str, Sequence[np.ndarray]]], label_set: LabelSet
) -> np.ndarray:
    """Pictures in a grid with a heading for each column and row, a legend of the classes below.

    Args:
        columns: names of the columns.
        rows: `(name, pictures)`, one uint8 `[H, W, 3]` picture a column, all of one size.
        label_set: names and colours of the legend.
    """
    height, width = rows[0][1][0].shape[:2]
    gap, head, side, legend = 6, 30, 92, 40
    sheet = Image.new(
        "RGB",
        (side + len(columns) * (width + gap), head + len(rows) * (height + gap) + legend),
        (250, 250, 250),
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(17)
    for c, name in enumerate(columns):
        draw.text((side + c * (width + gap) + width // 2, head // 2), name, (20, 20, 20), font, "mm")
    for r, (name, pictures) in enumerate(rows):
        top = head + r * (height + gap)
        draw.multiline_text((side - 8, top + height // 2), name, (20, 20, 20), font, "rm", align="right")
        for c, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (side + c * (width + gap), top))
    _legend(draw, font, sheet.size, legend, side, label_set)
    return np.asarray(sheet)


def _legend(
    draw: ImageDraw.ImageDraw, font: Font, size: tuple[int, int], height: int, left: int, label_set: LabelSet
) -> None:
    step = (size[0] - left) / len(label_set.classes)
    middle = size[1] - height // 2
    for index, name in enumerate(label_set.classes):
        x = left + index * step
        draw.rectangle((x, middle - 8, x + 16, middle + 8), tuple(int(v) for v in label_set.palette[index]))
        draw.text((x + 22, middle), name, (20, 20, 20), font, "lm")
