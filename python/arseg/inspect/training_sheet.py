"""What training will see of a data set: crops as the default recipe draws them, each with its label laid over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from arseg.labels import IGNORED, LabelSet
from arseg.preprocess import resized
from arseg.segment.draw import overlay

if TYPE_CHECKING:
    from arseg.data.opened import OpenData

_PAPER, _INK = (250, 250, 250), (20, 20, 20)
_GAP, _LINE, _WIDE = 6, 24, 320


def training_views(data: OpenData, count: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Views of `train` with random crop, scale, flip and colour, rare things pasted in: those of `arseg train hr`.

    Returns uint8 `[count, H, W, 3]` and ids, uint8 `[count, H, W]`, 255 ignored.
    """
    from arseg.train.default.for_data import Census, training_stills
    from arseg.train.default.stills import Donors, sample_stills
    from arseg.train.finish import Finish
    from arseg.train.recipes import RECIPES

    recipe = RECIPES["hr"]["default"].recipe_for(data)
    stills = training_stills(data, recipe.rows)
    census = Census.of(stills)
    donors = Donors(stills, census.rare(data.labels, recipe.rare), census=census)
    batch = sample_stills([([stills], count)], donors, recipe, np.random.default_rng(seed))
    batch = Finish.of(data.labels)(batch)
    mean, std = np.array(data.labels.mean), np.array(data.labels.std)
    images = (batch["image"].permute(0, 2, 3, 1).numpy() * std + mean) * 255
    return images.round().clip(0, 255).astype(np.uint8), batch["label"].numpy().astype(np.uint8)


def training_sheet(data: OpenData, count: int = 12, seed: int = 0) -> np.ndarray:
    """The views side by side with their labels, three pairs a row, and the classes that are in them; `[H, W, 3]`."""
    images, ids = training_views(data, count, seed)
    height = max(1, round(_WIDE * images.shape[1] / images.shape[2]))
    pairs = []
    for image, label in zip(images, ids, strict=True):
        small = resized(image, (height, _WIDE)), resized(label, (height, _WIDE), Image.Resampling.NEAREST)
        pairs.append(np.concatenate([small[0], labelled_view(*small, data.labels)], axis=1))
    shown = [index for index in range(len(data.labels.classes)) if (ids == index).any()]
    rows = -(-len(pairs) // 3)
    width = 3 * (2 * _WIDE + _GAP) + _GAP
    legend = _legend(data.labels, shown, width - 2 * _GAP)
    title = (
        f"{data.name}: {count} views of {images.shape[2]}x{images.shape[1]} as training draws them; hatched: ignored"
    )
    sheet = Image.new("RGB", (width, _LINE + rows * (height + _GAP) + legend.height + 2 * _GAP), _PAPER)
    ImageDraw.Draw(sheet).text((_GAP, _LINE // 2), title, _INK, ImageFont.load_default(15), "lm")
    for place, pair in enumerate(pairs):
        left, top = _GAP + place % 3 * (2 * _WIDE + _GAP), _LINE + place // 3 * (height + _GAP)
        sheet.paste(Image.fromarray(pair), (left, top))
    sheet.paste(legend, (_GAP, sheet.height - legend.height - _GAP))
    return np.asarray(sheet)


def labelled_view(image: np.ndarray, label: np.ndarray, labels: LabelSet) -> np.ndarray:
    """The image under its label's colours; what is ignored is hatched in white instead."""
    out = overlay(image, label, labels.palette)
    y, x = np.indices(label.shape)
    ignored = label == IGNORED
    out[ignored] = image[ignored]
    out[ignored & ((x + y) % 8 < 2)] = 255
    return out


def _legend(labels: LabelSet, shown: list[int], width: int) -> Image.Image:
    """Names and colours of the classes, in as many lines as they need."""
    font = ImageFont.load_default(15)
    lines: list[list[tuple[int, int]]] = [[]]
    right = 0
    for index in shown:
        wide = 24 + round(font.getlength(labels.classes[index])) + 16
        if lines[-1] and right + wide > width:
            lines.append([])
            right = 0
        lines[-1].append((right, index))
        right += wide
    legend = Image.new("RGB", (width, _LINE * len(lines)), _PAPER)
    draw = ImageDraw.Draw(legend)
    for row, line in enumerate(lines):
        middle = row * _LINE + _LINE // 2
        for left, index in line:
            draw.rectangle((left, middle - 8, left + 16, middle + 8), tuple(labels.palette[index].tolist()), _INK)
            draw.text((left + 22, middle), labels.classes[index], _INK, font, "lm")
    return legend
