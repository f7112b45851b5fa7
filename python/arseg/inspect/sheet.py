"""A sheet of frames, each with its motion field in several views and how well the warped keyframe fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from arseg.segment.draw import Font
from arseg.video.motion import BlockField

from .likeness import luma, psnr, warp
from .samples import DrawnFrame
from .views import (
    EDGE,
    ERROR_FULL,
    FILLED,
    OWN,
    SUPER,
    Picture,
    arrows,
    draw_arrow,
    each_pixel,
    error_colours,
    field_colours,
    field_scale,
    mask,
    resized,
)

__all__ = ["sheet"]

Panel = tuple[str, Picture]

# A panel fits into this box; three of them side by side, or six narrow ones, make a sheet of at most 2400 pixels.
_BOX = (780, 480)
_WIDEST = 2400
_GAP = 8
_HEAD = 30
_TITLE = 38
# A heading needs so much.
_NARROWEST = 330

_PAPER = (250, 250, 250)
_INK = (20, 20, 20)


def sheet(title: str, samples: Iterable[DrawnFrame]) -> np.ndarray:
    """The chosen frames below each other, each with its field in several views; uint8 `[H, W, 3]`.

    Args:
        title: what stands above them.
        samples: taken one by one; only the finished panels are kept.
    """
    font = ImageFont.load_default(17)
    blocks = [_block(sample, font) for sample in samples]
    width = max([_NARROWEST, *(block.width for block in blocks)]) + 2 * _GAP
    title = _clipped(title, ImageFont.load_default(21), width - 2 * _GAP)
    legend = _legend(width - 2 * _GAP)
    parts = [_line(title, ImageFont.load_default(21), width - 2 * _GAP, _TITLE), *blocks, legend]
    out = Image.new("RGB", (width, sum(part.height + _GAP for part in parts) + _GAP), _PAPER)
    top = _GAP
    for part in parts:
        out.paste(part, (_GAP, top))
        top += part.height + _GAP
    return np.asarray(out)


def _block(sample: DrawnFrame, font: Font) -> Picture:
    """A frame's heading and panels."""
    panels = list(_panels(sample))
    width = max(_NARROWEST, panels[0][1].width)
    columns = 6 if 6 * (width + _GAP) + _GAP <= _WIDEST else 3
    columns = min(columns, len(panels))
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    tall = _HEAD + panels[0][1].height
    out = Image.new("RGB", (columns * (width + _GAP) - _GAP, _HEAD + len(rows) * (tall + _GAP) - _GAP), _PAPER)
    draw = ImageDraw.Draw(out)
    draw.rectangle((0, 0, out.width, _HEAD - 2), (222, 226, 232))
    draw.text((8, _HEAD // 2 - 1), _clipped(_heading(sample), font, out.width - 16), _INK, font, "lm")
    for r, row in enumerate(rows):
        for c, (name, picture) in enumerate(row):
            left, top = c * (width + _GAP), _HEAD + r * (tall + _GAP)
            draw.text((left + 2, top + _HEAD // 2), _clipped(name, font, width), _INK, font, "lm")
            out.paste(picture, (left, top + _HEAD))
    return out


def _heading(sample: DrawnFrame) -> str:
    frame = sample.frame
    time = "" if frame.time is None else f", at {frame.time:.2f} s"
    if frame.motion is None:
        return f"frame {frame.index}: keyframe{time}"
    return (
        f"frame {frame.index}: type {frame.frame_type}, {frame.distance} after keyframe {sample.keyframe_index}{time}, "
        f"vectors {frame.motion.origin}"
    )


def _panels(sample: DrawnFrame) -> Iterable[Panel]:
    frame, motion = sample.frame, sample.frame.motion
    height, width = frame.image.shape[:2]
    size = _shown_size(width, height)
    yield "frame" if motion is not None else "keyframe", resized(frame.image, size)
    if motion is None:
        return
    drawn, factor = arrows(frame.image, motion, size)
    length = "" if factor == 1 else f" (arrows x{factor:g})"
    yield f"motion since keyframe{length}", drawn
    full = field_scale(motion)
    colours = each_pixel(field_colours(motion.vectors, full), motion.block, height, width)
    yield f"its colours; strongest: {full:.1f} pixels", resized(colours, size, blocks=True)
    yield f"filled cells: {motion.missing:.1%}", resized(mask(frame.image, motion), size, blocks=True)
    current = luma(frame.image)
    for name, other in (("keyframe", sample.keyframe), ("warped keyframe", warp(sample.keyframe, motion))):
        yield f"|{name} - frame|: {psnr(other, current):.1f} dB", resized(error_colours(other - current), size)


def _shown_size(width: int, height: int) -> tuple[int, int]:
    """As large as the box allows; small frames a whole number of times as large."""
    scale = min(_BOX[0] / width, _BOX[1] / height)
    if scale > 1:
        scale = int(scale)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _legend(width: int) -> Picture:
    """What the panels mean, beside a sample of each; as many side by side as there is room for."""
    font = ImageFont.load_default(15)
    columns = max(1, min(4, width // 300))
    room = width // columns
    entries = [(icon(), _wrapped(text, font, room - 96)) for icon, text in _LEGEND]
    rows = [entries[i : i + columns] for i in range(0, len(entries), columns)]
    heights = [max(76, *(20 * len(lines) + 8 for _, lines in row)) for row in rows]
    out = Image.new("RGB", (width, sum(heights)), _PAPER)
    draw = ImageDraw.Draw(out)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for c, (icon, lines) in enumerate(row):
            out.paste(icon, (c * room, top + 6))
            draw.multiline_text((c * room + 76, top + 4), "\n".join(lines), _INK, font, spacing=4)
        top += height
    return out


def _arrows_icon() -> Picture:
    icon = Image.new("RGB", (64, 64), (70, 70, 74))
    for colour, y in ((OWN, 22), (FILLED, 44)):
        for fill, outline in ((EDGE, 1.2), (colour, 0.0)):
            layer = Image.new("L", (64 * SUPER, 64 * SUPER))
            draw_arrow(ImageDraw.Draw(layer), np.array([12.0, y + 6]), np.array([52.0, y - 6]), outline)
            icon.paste(fill, mask=layer.reduce(SUPER))
    return icon


def _wheel_icon() -> Picture:
    side = 64 * SUPER
    place = (np.arange(side) - (side - 1) / 2) / (side / 2)
    x, y = np.meshgrid(place, place)
    colours = field_colours(np.stack([-x, -y], axis=-1), 1.0)
    colours[np.hypot(x, y) > 1] = _PAPER
    return Image.fromarray(colours).reduce(SUPER)


def _mask_icon() -> Picture:
    image = np.full((64, 64, 3), 150, np.uint8)
    valid = np.ones((8, 8), bool)
    valid[2:5, 1:4] = valid[4:7, 4:7] = False
    return Image.fromarray(mask(image, BlockField(np.zeros((8, 8, 2), np.int16), valid, 8)))


def _error_icon() -> Picture:
    return Image.fromarray(error_colours(np.linspace(0, ERROR_FULL, 64)[None].repeat(64, 0)))


_LEGEND: tuple[tuple[Callable[[], Picture], str], ...] = (
    (
        _arrows_icon,
        "An arrow starts where a cell's content was in the keyframe and ends where it is now. Yellow: from the codec's "
        "vectors. Orange: filled. A dot: no motion.",
    ),
    (_wheel_icon, "Colour: the direction in which the content moved; stronger is farther, grey is no motion."),
    (
        _mask_icon,
        "Orange: cells without a vector somewhere on the way to the keyframe, filled from their neighbours.",
    ),
    (
        _error_icon,
        f"Difference in brightness: black is none, white {ERROR_FULL} of 255 and more. dB (PSNR): higher is more "
        "alike; the warp is worth what it adds.",
    ),
)


def _line(text: str, font: Font, width: int, height: int) -> Picture:
    out = Image.new("RGB", (width, height), _PAPER)
    ImageDraw.Draw(out).text((2, height // 2), text, _INK, font, "lm")
    return out


def _clipped(text: str, font: Font, width: int) -> str:
    """`text`, or as much of it as there is room for."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
