"""Pictures in files as frames of a video that has no motion: each is a keyframe."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from arseg.pictures import UNREADABLE, as_rgb

from .colours import Colours
from .errors import Discontinuity, Loss, NotAVideoError
from .frame import VideoFrame
from .names import shown
from .orientation import Matrix

__all__ = ["PICTURES", "PictureReader"]

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Endings of pictures, in lower case."""

RATE = Fraction(25)
"""Pictures a second, where they become a video."""


class PictureReader:
    """Reads pictures as `VideoReader` reads frames, in the orientation in which they are stored.

    Attributes are those of `VideoReader` that outputs look at, and `names`, the files' names without their endings,
    which all differ. `first` is the number of the first one, where they are a part of more.

    Raises `NotAVideoError` for a file that is no picture; from the iteration for those after the first.
    """

    def __init__(self, files: Sequence[Path], first: int = 0) -> None:
        self.files, self.first = tuple(files), first
        self.path = self.files[0].parent if len(files) > 1 else self.files[0]
        self.names = _names(self.files)
        self.height, self.width = _read(self.files[0]).shape[:2]
        self.rate = RATE
        self.display_matrix: Matrix | None = None
        self.rotation = 0
        self.pixel_aspect: Fraction | None = None
        self.colours = Colours()
        self.duration: Fraction | None = len(self.files) / RATE
        self.frame_count: int | None = len(self.files)
        self.live = False
        self.losses: list[Loss] = []
        self.discontinuities: list[Discontinuity] = []

    seeks_from_start = None

    @property
    def entries(self) -> list[int]:
        return list(range(len(self.files)))

    @property
    def times(self) -> list[float | None]:
        return [float(index / RATE) for index in range(len(self.files))]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[VideoFrame]:
        return self.seek(self.first)

    def state_digest(self) -> str:
        """Of the files' names, sizes and times, in hexadecimal: other pictures have another."""
        states = [(os.path.abspath(file), file.stat().st_size, file.stat().st_mtime_ns) for file in self.files]
        return hashlib.sha256(repr(states).encode(errors="surrogateescape")).hexdigest()

    def seek(self, place: int) -> Iterator[VideoFrame]:
        """The pictures from a number on."""
        for index, file in enumerate(self.files[place - self.first :], place):
            yield VideoFrame(
                index=index,
                image=_read(file),
                frame_type="I",
                keyframe=True,
                distance=0,
                motion=None,
                pts=index,
                time_base=1 / RATE,
                time=float(index / RATE),
                stream="pictures",
            )

    def __enter__(self) -> PictureReader:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _names(files: Sequence[Path]) -> tuple[str, ...]:
    """Names without endings; with them, and with folders, where two would be one."""
    common = os.path.commonpath([os.path.abspath(file.parent) for file in files])
    below = [Path(os.path.relpath(os.path.abspath(file), common)) for file in files]
    for names in (
        tuple(file.stem for file in files),
        tuple(file.name.replace(".", "_") for file in files),
        tuple("_".join(file.with_suffix("").parts) for file in below),
        tuple("_".join(file.parts).replace(".", "_") for file in below),
    ):
        if len(set(names)) == len(names):
            return names
    return tuple(f"{number:06d}_{file.stem}" for number, file in enumerate(files))


def _read(file: Path) -> np.ndarray:
    """uint8 `[H, W, 3]`, RGB."""
    try:
        with Image.open(file) as picture:
            picture.load()
            return as_rgb(picture)
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or "it is damaged, or no picture"
        if str(error).startswith("its values"):
            reason = str(error)
        raise NotAVideoError(f"{shown(file)} cannot be read ({reason}): give a picture", path=shown(file)) from error
