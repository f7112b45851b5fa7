"""The video inside the page: each frame's picture above the colours of its labels, so that the two never part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from arseg.files import part_of
from arseg.preprocess import resized
from arseg.video.coding import h264
from arseg.video.properties import VideoProperties
from arseg.video.settings import Settings
from arseg.video.sink import VideoSink

__all__ = ["Player", "player_size"]

_CODING = h264(Settings(crf=23, preset="veryfast", gop=24))  # short groups: a click is answered at once
_LOOK = 16  # frames from one look at the file's size to the next


class Player:
    """Writes the frames, as long as the file is small enough.

    Args:
        path: the video to write, .mp4; it is there once the `with` block of `playing` has ended well.
        size: (height, width) of a picture, both even.
        rate: frames a second, for frames without timestamps.
        limit: bytes after which no frame is added.

    Attributes:
        times: seconds at which the frames so far are shown, the first at 0.
        full: whether frames were left out.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction, limit: int) -> None:
        self.times: list[float] = []
        self.full = False
        self._size, self._limit = size, limit
        self._part = part_of(path)
        self._sink = VideoSink(path, _CODING, rate=rate, from_zero=True)

    def add(self, image: np.ndarray, colours: np.ndarray, pts: int | None, time_base: Fraction) -> None:
        """A frame as it is shown: two uint8 `[H, W, 3]` of one size, which may change."""
        sink = self._sink
        if sink.frames % _LOOK == 0 and sink.frames and self._part.stat().st_size > self._limit:
            self.full = True
        if self.full:
            return
        if sink.frames == 0 and pts is not None:
            sink.set_time_base(time_base)
        pictures = fitted(image, self._size, Image.Resampling.BILINEAR), fitted(colours, self._size)
        sink.write_rgb(np.concatenate(pictures), pts, time_base)
        self.times.append(sink.time)

    @classmethod
    @contextmanager
    def playing(cls, path: Path, size: tuple[int, int], rate: Fraction, limit: int) -> Iterator[Player]:
        player = cls(path, size, rate, limit)
        with player._sink:
            yield player


def player_size(about: VideoProperties, height: int) -> tuple[int, int]:
    """(height, width) of the player's pictures, of square pixels: even, `height` at most, and no larger than they are.

    Args:
        about: of the video as it is shown.
    """
    aspect = float(about.pixel_aspect or 1) * about.width / about.height
    rows = min(height, about.height, 4096 / aspect)  # what decoders take
    return max(2, round(rows / 2) * 2), max(2, round(rows * aspect / 2) * 2)


def fitted(picture: np.ndarray, size: tuple[int, int], how: Image.Resampling = Image.Resampling.NEAREST) -> np.ndarray:
    """A uint8 `[H, W, 3]` picture at `size` = (height, width)."""
    return resized(picture, size, how)
