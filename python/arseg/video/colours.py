"""From a decoded frame to RGB, and to what the encoder takes, with tags that say what its samples mean."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from .errors import UnsupportedStreamError

# AVColorSpace. swscale knows the matrices of `_KNOWN`; 2 means not said, which it takes for BT.601.
_GBR, _UNSAID, _SMPTE170M, _YCGCO, _BT2020_NCL, _BT2020_CL = 0, 2, 6, 8, 9, 10
_KNOWN = {1, _UNSAID, 4, 5, _SMPTE170M, 7, _BT2020_NCL}
_NAMES = {11: "SMPTE ST 2085", 12: "chromaticity-derived", 13: "chromaticity-derived", 14: "ICtCp", 15: "IPT-C2"}
_NAMES |= {16: "YCgCo-Re", 17: "YCgCo-Ro"}
# AVColorRange.
_LIMITED, _FULL = 1, 2
# Values that AVColorPrimaries and AVColorTransferCharacteristic reserve.
_RESERVED = (0, 3)


@dataclass(frozen=True)
class Colours:
    """What RGB values mean: FFmpeg's numbers of the primaries and of the transfer characteristic; 2 is not said."""

    primaries: int = _UNSAID
    transfer: int = _UNSAID

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Colours:
        primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
        return cls(
            _UNSAID if primaries in _RESERVED else primaries,
            _UNSAID if transfer in _RESERVED else transfer,
        )


def rgb(frame: av.VideoFrame) -> np.ndarray:
    """uint8 `[H, W, 3]`, RGB: converted with the matrix and range that the frame says it has.

    BT.2020 with constant luminance is taken for the usual one, and a matrix of RGB that is said of YUV for BT.601, as
    by FFmpeg.

    Raises:
        UnsupportedStreamError: a matrix that nobody here knows.
    """
    matrix = int(frame.colorspace)
    if _is_rgb(frame) or matrix in _KNOWN:
        return frame.to_ndarray(format="rgb24")
    if matrix == _YCGCO:
        return _from_ycgco(frame)
    if matrix in _NAMES:
        raise UnsupportedStreamError(
            f"its colours are {_NAMES[matrix]}, which cannot be converted to RGB: make BT.709 of them first"
        )
    frame.colorspace = _BT2020_NCL if matrix == _BT2020_CL else _UNSAID
    try:
        return frame.to_ndarray(format="rgb24")
    finally:
        frame.colorspace = matrix


def subsampled(frame: av.VideoFrame, format: str) -> av.VideoFrame:
    """A frame of `format`, yuv420p or yuv444p, with tags that are true of it.

    YUV stays in its matrix and range. RGB becomes BT.601 of limited range.
    """
    if _is_rgb(frame):
        made = frame.reformat(format=format, dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG)
        made.colorspace, made.color_range = _SMPTE170M, _LIMITED
        return made
    matrix = int(frame.colorspace)
    if frame.format.name != format:
        full = frame.format.name.startswith("yuvj") or int(frame.color_range) == _FULL
        before = int(frame.color_range)
        frame.colorspace = _UNSAID  # no matrix is applied, and swscale refuses some
        if full:
            frame.color_range = _FULL
        try:
            made = frame.reformat(format=format)
        finally:
            frame.colorspace, frame.color_range = matrix, before
        if full:
            made.color_range = _FULL
        frame = made
    frame.colorspace = _UNSAID if matrix in (_GBR, 3) else matrix
    return frame


def from_rgb(image: np.ndarray, format: str, colours: Colours) -> av.VideoFrame:
    """A frame of `format` from uint8 `[H, W, 3]`."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    frame = subsampled(frame, format)
    frame.color_primaries, frame.color_trc = colours.primaries, colours.transfer
    return frame


def _is_rgb(frame: av.VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.has_palette


def _from_ycgco(frame: av.VideoFrame) -> np.ndarray:
    y, cg, co = (plane.astype(np.float32) for plane in subsampled(frame, "yuv444p").to_ndarray())
    full = frame.format.name.startswith("yuvj") or int(frame.color_range) == _FULL
    y = y if full else (y - 16) * (255 / 219)
    cg, co = ((chroma - 128) * (1.0 if full else 255 / 224) for chroma in (cg, co))
    low = y - cg
    return np.clip(np.stack([low + co, y + cg, low - co], axis=-1) + 0.5, 0, 255).astype(np.uint8)
