"""How written frames are coded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import av
import numpy as np
from PIL import Image

from .codecs.h264 import ENCODER
from .settings import Settings, pixel_format

__all__ = ["ENCODER", "FFV1_GREY", "GIF", "VP9", "Coding", "h264", "with_palette"]


@dataclass(frozen=True)
class Coding:
    """An encoder and its settings.

    Attributes:
        encoder: FFmpeg's name.
        pixel_format: of (width, height): FFmpeg's name of the format that frames become.
        options: for the encoder.
        bitrate: bits a second; None: as `options` say.
        gop: frames from keyframe to keyframe; None: the encoder's own.
        palette: whether frames have a table of colours each.
    """

    encoder: str
    pixel_format: Callable[[int, int], str]
    options: Mapping[str, str] = field(default_factory=dict)
    bitrate: int | None = None
    gop: int | None = None
    palette: bool = False


def h264(settings: Settings) -> Coding:
    """H.264; even sizes become 4:2:0, odd ones 4:4:4, since 4:2:0 can state even sizes only."""
    return Coding(ENCODER, pixel_format, settings.options(), settings.bitrate, settings.gop)


VP9: Final = Coding(
    "libvpx-vp9", lambda width, height: "yuv420p", {"deadline": "realtime", "cpu-used": "6", "crf": "30", "b": "0"}
)
"""For browsers."""

GIF: Final = Coding("gif", lambda width, height: "pal8", palette=True)
"""256 colours, chosen for each frame."""

FFV1_GREY: Final = Coding("ffv1", lambda width, height: "gray", {"level": "3", "slicecrc": "1"}, gop=1)
"""Lossless, 8 bits a pixel; each frame by itself, with a checksum."""


def with_palette(image: np.ndarray) -> av.VideoFrame:
    """A frame with the 256 colours that suit uint8 `[H, W, 3]` best."""
    picture = Image.fromarray(image).quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    colours = np.zeros((256, 4), np.uint8)
    table = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    colours[:, 0], colours[: len(table), 1:] = 255, table  # alpha, red, green, blue
    pair: Any = (np.asarray(picture), colours)
    return av.VideoFrame.from_ndarray(pair, format="pal8")
