"""What is to be known of a video before its frames are written again."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from .colours import Colours
from .orientation import Matrix

if TYPE_CHECKING:
    from .reader import VideoReader

__all__ = ["VideoProperties"]


@dataclass(frozen=True)
class VideoProperties:
    """Of a video as its reader has them, or as it is to be shown; attributes mean what those of `VideoReader` do.

    Attributes:
        names: a name for each frame, where they are files of their own; None elsewhere.
    """

    path: str | os.PathLike[str]
    width: int
    height: int
    rate: Fraction
    display_matrix: Matrix | None = None
    pixel_aspect: Fraction | None = None
    colours: Colours = field(default_factory=Colours)
    duration: Fraction | None = None
    frame_count: int | None = None
    live: bool = False
    names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, reader: VideoReader | VideoProperties) -> VideoProperties:
        if isinstance(reader, VideoProperties):
            return reader
        names = [name for name in cls.__dataclass_fields__ if name != "names"]
        return cls(**{name: getattr(reader, name) for name in names}, names=getattr(reader, "names", None))

    def upright(self) -> VideoProperties:
        """Of the same video with its display matrix applied, to the nearest quarter turn."""
        if self.display_matrix is None:
            return self
        a, b, _, c, d, *_ = self.display_matrix
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return replace(self, display_matrix=None)
        aspect = None if not self.pixel_aspect else 1 / self.pixel_aspect
        return replace(self, display_matrix=None, width=self.height, height=self.width, pixel_aspect=aspect)
