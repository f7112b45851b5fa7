"""What the words of options mean: times, heights, sizes, colours; raise `InputError` for what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from arseg.errors import InputError


def time_of(text: str | None, option: str) -> float | None:
    """Seconds."""
    from arseg.segment.selection import seconds

    try:
        return None if text is None else seconds(text)
    except InputError as error:
        raise InputError(f"{option}: {error}") from None


def palette_of(text: str, count: int) -> Any:
    """Colours for `count` classes and for other ids, uint8 `[K, 3]`, by name or from a JSON file."""
    import json

    import numpy as np

    from arseg.labels import CAMVID, CITYSCAPES, voc_palette

    named = {"camvid": CAMVID.palette, "cityscapes": CITYSCAPES.palette}
    colours: Any = named.get(text)
    if text == "voc":
        colours = np.array([*voc_palette(count), (0, 0, 0)], np.uint8)
    elif colours is None:
        try:
            numbers = np.array(json.loads(Path(text).read_text()))
            if numbers.ndim != 2 or numbers.shape[1] != 3 or numbers.dtype.kind != "i":
                raise ValueError("expected [[R,G,B], …]")
            if numbers.min() < 0 or numbers.max() > 255:
                raise ValueError("expected numbers from 0 to 255")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"--palette: {text}: is no palette ({reason}); give camvid, cityscapes, voc or a JSON file"
            ) from error
        colours = np.concatenate([numbers, [[0, 0, 0]]]).astype(np.uint8)
    if len(colours) < count:
        raise InputError(f"--palette: {text}: expected {count} colours, as many as classes, got {len(colours) - 1}")
    return colours


def height_of(text: str | None) -> int | Literal["video"] | None:
    """Pixels, or "video": frames as they are."""
    if text is None:
        return None
    if text == "video":
        return "video"
    if not (text.isascii() and text.isdigit()) or not 16 <= int(text) <= 4320:
        raise InputError(f"--height: expected 16 to 4320 pixels, or 'video', got {text!r}")
    return int(text)


def size_of(text: str) -> tuple[int, int]:
    """Height and width of --size, in pixels."""
    height, x, width = text.lower().partition("x")
    if not (
        x and (height + width).isascii() and height.isdigit() and width.isdigit() and min(int(height), int(width)) >= 16
    ):
        raise InputError(f"--size: expected height and width of 16 pixels or more, such as 576x1024, got {text!r}")
    return int(height), int(width)
