"""Pictures to look at: the video again with the colours of its classes over it, or beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
from PIL import Image

from arseg.errors import InputError
from arseg.files import StrPath, new_folder
from arseg.labels import LabelSet
from arseg.segment import draw
from arseg.segment.result import SegmentedFrame
from arseg.video import ResolutionChangedError, VideoReader, VideoWriter
from arseg.video.containers import CONTAINERS
from arseg.video.errors import NotAVideoError
from arseg.video.live import can_read_again
from arseg.video.names import shown
from arseg.video.properties import VideoProperties
from arseg.video.sound import Sound

from .base import OUTPUTS, Orientation, Output, Write
from .label_maps import namer

VIDEOS = (*CONTAINERS, ".webm", ".gif")
SILENT = (".gif", ".264", ".h264")
"""Endings of files without a place for sound."""


@OUTPUTS.register("overlay")
class Overlay(Output):
    """A video; its first frame is at 0, it is shown as the source is, and has its sound.

    H.264, or by the ending VP9 (.webm) or GIF, which has no display matrix: its frames are turned.

    Args:
        target: the file; its ending names the container, as for `VideoWriter`.
        opacity: of the colours, 0..1.
        audio: whether the sound of a source that can be read twice is copied.
        orientation: "shown": frames are turned, in place of telling players to do it.
    """

    endings = chosen_by = VIDEOS

    def __init__(
        self, target: StrPath, opacity: float = 0.55, *, audio: bool = True, orientation: Orientation = "coded"
    ) -> None:
        super().__init__(target, orientation=orientation)
        if not 0 <= opacity <= 1:
            raise InputError(f"opacity: expected 0..1, got {opacity!r}")
        self.opacity, self.audio = opacity, audio
        if self.target.suffix.lower() == ".gif":
            self.orientation = "shown"

    @contextmanager
    def opened(self, reader: VideoReader | VideoProperties, label_set: LabelSet) -> Iterator[Write]:
        height, width = reader.height, reader.width
        with ExitStack() as stack:
            sound = self._sound(reader)
            if sound is not None:
                stack.callback(sound.close)
            writer = stack.enter_context(
                VideoWriter.like(reader, self.target, sound=sound, size=self.size(height, width))
            )
            self.remark = writer.remark

            def write(result: SegmentedFrame) -> None:
                check_size(result, (height, width), reader.path)
                picture = self.picture(result, label_set.palette)
                writer.write(picture, pts=result.pts, time_base=result.time_base)
                if sound is not None and sound.remark is not None:
                    self.remark = sound.remark

            yield write

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the pictures, of frames of that size."""
        return height, width

    def picture(self, result: SegmentedFrame, palette: np.ndarray) -> np.ndarray:
        """uint8 `[H, W, 3]`, RGB."""
        return draw.overlay(result.image, result.labels, palette, self.opacity)

    def _sound(self, reader: VideoReader | VideoProperties) -> Sound | None:
        again = can_read_again(reader.path, reader.duration, live=reader.live)
        if not self.audio or not again or self.target.suffix.lower() in SILENT or getattr(reader, "names", None):
            return None
        try:
            sound = Sound(reader.path)
        except NotAVideoError:
            return None
        return sound if sound.streams else None


@OUTPUTS.register("side-by-side")
class SideBySide(Overlay):
    """As `Overlay`: the picture on the left, the same with its colours on the right, as it is shown."""

    def __init__(
        self, target: StrPath, opacity: float = 0.55, *, audio: bool = True, orientation: Orientation = "coded"
    ) -> None:
        super().__init__(target, opacity, audio=audio, orientation=orientation)
        self.orientation = "shown"  # what is beside stays beside where a player would turn it

    def size(self, height: int, width: int) -> tuple[int, int]:
        return height, 2 * width

    def picture(self, result: SegmentedFrame, palette: np.ndarray) -> np.ndarray:
        return np.concatenate([result.image, super().picture(result, palette)], axis=1)


@OUTPUTS.register("overlay-pictures")
class OverlayPictures(Output):
    """The overlay as `000000.png`, … (of pictures, their names) in a new or empty folder.

    Args:
        target: the folder.
        opacity: of the colours, 0..1.
        orientation: as for all outputs.
    """

    is_folder = True

    def __init__(self, target: StrPath, opacity: float = 0.55, *, orientation: Orientation = "coded") -> None:
        super().__init__(target, orientation=orientation)
        self.opacity = opacity

    @contextmanager
    def opened(self, reader: VideoReader | VideoProperties, label_set: LabelSet) -> Iterator[Write]:
        name = namer(reader)
        with new_folder(self.target) as folder:

            def write(result: SegmentedFrame) -> None:
                picture = draw.overlay(result.image, result.labels, label_set.palette, self.opacity)
                Image.fromarray(picture).save(folder / f"{name(result)}.png")

            yield write


def check_size(result: SegmentedFrame, size: tuple[int, int], video: str | os.PathLike[str]) -> None:
    """Raises `ResolutionChangedError` where a frame is not of `size` = (height, width)."""
    height, width = result.labels.shape
    if (height, width) != size:
        raise ResolutionChangedError(
            f"{shown(video)} changes size at frame {result.index}, from {size[1]}x{size[0]} to {width}x{height}, and "
            "an output video has one size: split it there, or write label maps alone (segment -o FOLDER)",
            path=shown(video),
            frame=result.index,
        )
