"""Pictures of motion fields: arrows, colours, what was filled, and how well the warped keyframe fits."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from arseg.segment.draw import Font
from arseg.video.motion import BlockField

from .inspection import Sample, luma, psnr, warp

__all__ = ["arrows", "error_colours", "field_colours", "field_scale", "mask", "sheet"]

Picture = Image.Image
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
_OWN = (255, 221, 40)
_FILLED = (255, 110, 40)
_EDGE = (16, 16, 24)

# Shown pixels from arrow to arrow, and the lengths that most of them may have.
_SPACING = 24
_SHORT, _LONG = 14.0, 52.0
_FACTORS = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)

# Drawn so much larger, then reduced.
_SUPER = 4

# Difference in brightness that is white.
_ERROR_FULL = 64

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
    place = np.clip(np.abs(difference) / _ERROR_FULL, 0, 1) * (len(_RAMP) - 1)
    low = np.minimum(place.astype(int), len(_RAMP) - 2)
    part = (place - low)[..., None]
    return np.round(_RAMP[low] * (1 - part) + _RAMP[low + 1] * part).astype(np.uint8)


def mask(image: np.ndarray, motion: BlockField) -> np.ndarray:
    """The uint8 `[H, W, 3]` frame, dimmed, with the cells that were filled from their neighbours in orange."""
    filled = _cells(~motion.valid, motion.block, image.shape[0], image.shape[1])
    dimmed = _dimmed(image)
    dimmed[filled] = np.round(dimmed[filled] * 0.45 + np.array(_FILLED) * 0.55).astype(np.uint8)
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
    picture = _resized(_dimmed(image), size)
    xs, ys = (_places(length, motion.block * scale) for length in size)
    columns = np.minimum((xs / scale).astype(int) // motion.block, motion.vectors.shape[1] - 1)
    rows = np.minimum((ys * height / size[1]).astype(int) // motion.block, motion.vectors.shape[0] - 1)
    vectors = motion.vectors[np.ix_(rows, columns)].astype(np.float64) / 4 * scale
    factor = _arrow_factor(_lengths(vectors))
    own = motion.valid[np.ix_(rows, columns)]
    large = (size[0] * _SUPER, size[1] * _SUPER)
    layers = {colour: Image.new("L", large) for colour in (_EDGE, _OWN, _FILLED)}
    pens = {colour: ImageDraw.Draw(layer) for colour, layer in layers.items()}
    for j, y in enumerate(ys):
        for i, x in enumerate(xs):
            tail = np.array([x, y]) + vectors[j, i] * factor
            _arrow(pens[_EDGE], tail, np.array([x, y]), outline=1.2)
            _arrow(pens[_OWN if own[j, i] else _FILLED], tail, np.array([x, y]))
    for colour, layer in layers.items():
        picture.paste(colour, mask=layer.reduce(_SUPER))
    return picture, factor


def sheet(title: str, samples: Iterable[Sample]) -> np.ndarray:
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


def _block(sample: Sample, font: Font) -> Picture:
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


def _heading(sample: Sample) -> str:
    frame = sample.frame
    time = "" if frame.time is None else f", at {frame.time:.2f} s"
    if frame.motion is None:
        return f"frame {frame.index}: keyframe{time}"
    return (
        f"frame {frame.index}: type {frame.frame_type}, {frame.distance} after keyframe {sample.keyframe_index}{time}, "
        f"vectors {frame.motion.origin}"
    )


def _panels(sample: Sample) -> Iterable[Panel]:
    frame, motion = sample.frame, sample.frame.motion
    height, width = frame.image.shape[:2]
    size = _shown_size(width, height)
    yield "frame" if motion is not None else "keyframe", _resized(frame.image, size)
    if motion is None:
        return
    drawn, factor = arrows(frame.image, motion, size)
    length = "" if factor == 1 else f" (arrows x{factor:g})"
    yield f"motion since keyframe{length}", drawn
    full = field_scale(motion)
    colours = _cells(field_colours(motion.vectors, full), motion.block, height, width)
    yield f"its colours; strongest: {full:.1f} pixels", _resized(colours, size, blocks=True)
    yield f"filled cells: {motion.missing:.1%}", _resized(mask(frame.image, motion), size, blocks=True)
    current = luma(frame.image)
    for name, other in (("keyframe", sample.keyframe), ("warped keyframe", warp(sample.keyframe, motion))):
        yield f"|{name} - frame|: {psnr(other, current):.1f} dB", _resized(error_colours(other - current), size)


def _shown_size(width: int, height: int) -> tuple[int, int]:
    """As large as the box allows; small frames a whole number of times as large."""
    scale = min(_BOX[0] / width, _BOX[1] / height)
    if scale > 1:
        scale = int(scale)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(picture: np.ndarray, size: tuple[int, int], blocks: bool = False) -> Picture:
    image = Image.fromarray(picture)
    if image.size == size:
        return image
    larger = max(size[0] / image.width, size[1] / image.height)
    # Single pixels, shown large, are to look like pixels.
    sharp = larger > (1 if blocks else 6)
    return image.resize(size, Image.Resampling.NEAREST if sharp else Image.Resampling.LANCZOS)


def _dimmed(image: np.ndarray) -> np.ndarray:
    """Darker and greyer, so that what is laid over it stands out."""
    grey = luma(image)[..., None]
    return np.round((image * 0.35 + grey * 0.65) * 0.6).astype(np.uint8)


def _cells(values: np.ndarray, block: int, height: int, width: int) -> np.ndarray:
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


def _arrow(draw: ImageDraw.ImageDraw, tail: np.ndarray, tip: np.ndarray, outline: float = 0.0) -> None:
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
    draw.line(_super(*(tail - along * outline), *neck), 255, round((1.5 + 2 * outline) * _SUPER))
    corners = (
        tip + along * outline * 1.8,
        neck + across * half - along * outline,
        neck - across * half - along * outline,
    )
    draw.polygon(_super(*np.concatenate(corners)), 255)


def _super(*places: float) -> list[float]:
    return [float(place) * _SUPER for place in places]


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
    for colour, y in ((_OWN, 22), (_FILLED, 44)):
        for fill, outline in ((_EDGE, 1.2), (colour, 0.0)):
            layer = Image.new("L", (64 * _SUPER, 64 * _SUPER))
            _arrow(ImageDraw.Draw(layer), np.array([12.0, y + 6]), np.array([52.0, y - 6]), outline)
            icon.paste(fill, mask=layer.reduce(_SUPER))
    return icon


def _wheel_icon() -> Picture:
    side = 64 * _SUPER
    place = (np.arange(side) - (side - 1) / 2) / (side / 2)
    x, y = np.meshgrid(place, place)
    colours = field_colours(np.stack([-x, -y], axis=-1), 1.0)
    colours[np.hypot(x, y) > 1] = _PAPER
    return Image.fromarray(colours).reduce(_SUPER)


def _mask_icon() -> Picture:
    image = np.full((64, 64, 3), 150, np.uint8)
    valid = np.ones((8, 8), bool)
    valid[2:5, 1:4] = valid[4:7, 4:7] = False
    return Image.fromarray(mask(image, BlockField(np.zeros((8, 8, 2), np.int16), valid, 8)))


def _error_icon() -> Picture:
    return Image.fromarray(error_colours(np.linspace(0, _ERROR_FULL, 64)[None].repeat(64, 0)))


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
        f"Difference in brightness: black is none, white {_ERROR_FULL} of 255 and more. dB (PSNR): higher is more "
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
