"""A drive along the synthetic street as a video file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from arseg.files import StrPath
from arseg.video import encode

from .scene import StreetScene


def record(
    street: StreetScene, path: StrPath, frames: int, *, each: Callable[[int, np.ndarray], object], gop: int = 12
) -> int:
    """Renders the first frames of `street` into a video; returns their number.

    Args:
        path: the video, as for `arseg.video.encode`.
        each: called with every frame's index and label map, uint8 `[H, W]`, before the frame is encoded.
        gop: frames from keyframe to keyframe.
    """

    def images() -> Iterator[np.ndarray]:
        for index, (image, labels) in enumerate(street.frames(frames)):
            each(index, labels)
            yield image

    return encode(images(), path, rate=street.rate, gop=gop)
