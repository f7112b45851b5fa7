"""The overlay: the video again, with the colours of its classes laid over it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from arseg.files import StrPath
from arseg.labels import LabelSet
from arseg.segment import draw
from arseg.segment.segmenter import SegmentedFrame
from arseg.video import ResolutionChangedError, VideoReader, VideoWriter
from arseg.video.names import shown

from .base import OUTPUTS, Output, Write


@OUTPUTS.register("overlay")
class Overlay(Output):
    """An H.264 video; its first frame is at 0, and it is shown as the source is.

    Args:
        target: the file; its ending names the container, as for `VideoWriter`.
        opacity: of the colours, 0..1.
    """

    def __init__(self, target: StrPath, opacity: float = 0.55) -> None:
        super().__init__(target)
        self.opacity = opacity

    @contextmanager
    def opened(self, reader: VideoReader, label_set: LabelSet) -> Iterator[Write]:
        with VideoWriter.like(reader, self.target) as writer:
            self.remark = writer.remark

            def write(result: SegmentedFrame) -> None:
                _check_size(result, (reader.height, reader.width), reader.path)
                picture = draw.overlay(result.image, result.labels, label_set.palette, self.opacity)
                writer.write(picture, pts=result.pts, time_base=result.time_base)

            yield write


def _check_size(result: SegmentedFrame, size: tuple[int, int], video: str | os.PathLike[str]) -> None:
    """Raises `ResolutionChangedError` where a frame is not of `size` = (height, width)."""
    height, width = result.image.shape[:2]
    if (height, width) != size:
        raise ResolutionChangedError(
            f"{shown(video)} changes size at frame {result.index}, from {size[1]}x{size[0]} to {width}x{height}, and "
            "an output video has one size: split it there, or write label maps alone (segment --labels)",
            path=shown(video),
            frame=result.index,
        )
