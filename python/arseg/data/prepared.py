"""What `arseg prepare` made: labelled frames at a distance from their keyframes, for training and evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from arseg.errors import InputError
from arseg.files import StrPath

from .datasets import read_image
from .prepare import BLOCK, MANIFEST, VERSION


@dataclass(frozen=True)
class PreparedFrame:
    """A labelled frame in a video.

    Attributes:
        name: of the labelled frame; the same at every distance.
        video: the file.
        frame: place in it, from 0.
        distance: frames since its keyframe.
        label: uint8 PNG of ids, 255 ignored.
        vectors: file of the vectors to the keyframe; None where only the video has them.
        image, key_image: the frame and its keyframe before compression.
    """

    name: str
    video: Path
    frame: int
    distance: int
    label: Path
    vectors: Path | None
    image: Path
    key_image: Path


@dataclass(frozen=True)
class Pair:
    """A frame, its label and its keyframe.

    Attributes:
        key, image: uint8 `[H, W, 3]` RGB.
        label: uint8 `[H, W]`, 255 ignored.
        vectors: int16 `[Hb, Wb, 2]`, quarter pixels, frame -> keyframe, at blocks of 4 pixels.
        distance: frames from the keyframe.
    """

    key: np.ndarray
    image: np.ndarray
    label: np.ndarray
    vectors: np.ndarray
    distance: int


class Prepared:
    """A prepared folder.

    Attributes:
        folder: where it is.
        dataset: name of the data set.
        classes, palette: as in `LabelledFrames`.
        gop: frames from keyframe to keyframe.
        items: what there is.

    Raises `FileNotFoundError` or `InputError`, with what to do, where the folder is not complete.
    """

    def __init__(self, folder: StrPath):
        self.folder = Path(folder)
        path = self.folder / MANIFEST
        if not path.is_file():
            begun = (self.folder / ".settings.json").exists()
            raise FileNotFoundError(
                f"{path}: no such file; {'run the same `arseg prepare` again to finish it' if begun else 'expected'}"
                f"{'' if begun else ' a folder made by `arseg prepare`'}"
            )
        try:
            record = json.loads(path.read_text())
            settings = record["settings"]
            if settings["version"] != VERSION:
                raise InputError(f"{path}: version {settings['version']}, expected {VERSION}; prepare the data again")
            self.dataset: str = settings["dataset"]
            self.gop: int = settings["gop"]
            self.classes: tuple[str, ...] = tuple(record["classes"])
            self.palette = np.array(record["palette"], np.uint8)
            self.items = [self._item(item) for item in record["items"]]
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: cannot be read ({error!r}); prepare the data again") from error

    def _item(self, record: dict) -> PreparedFrame:
        vectors = record["vectors"]
        return PreparedFrame(
            record["name"],
            self.folder / record["video"],
            record["frame"],
            record["distance"],
            self.folder / record["label"],
            None if vectors is None else self.folder / vectors,
            Path(record["image"]),
            Path(record["key_image"]),
        )

    def by_video(self) -> Iterator[tuple[Path, list[PreparedFrame]]]:
        """Each video with its labelled frames, in the order of time."""
        found: dict[Path, list[PreparedFrame]] = {}
        for item in self.items:
            found.setdefault(item.video, []).append(item)
        for video, items in found.items():
            yield video, sorted(items, key=lambda item: item.frame)

    def at(self, distances: Sequence[int] | None) -> list[PreparedFrame]:
        """Items at these distances; None: at all but 0."""
        wanted = set(range(1, self.gop)) if distances is None else set(distances)
        have = {item.distance for item in self.items}
        if wanted - have and distances is not None:
            raise InputError(
                f"distances: {self.folder} has no labelled frame at {sorted(wanted - have)}, only at {sorted(have)}"
            )
        return [item for item in self.items if item.distance in wanted]


def read_label(item: PreparedFrame) -> np.ndarray:
    """uint8 `[H, W]`, ids and 255."""
    with Image.open(item.label) as file:
        return np.asarray(file)


def read_pair(item: PreparedFrame, *, decoded: bool = False) -> Pair:
    """A training pair; pictures before compression, as the paper trains, or decoded ones."""
    if decoded or item.vectors is None:
        from arseg.video import VideoReader

        with VideoReader(item.video, block=BLOCK, gop=item.frame + 1) as reader:
            key = None
            for frame in reader:
                if frame.keyframe:
                    key = frame
                if frame.index == item.frame:
                    break
        assert key is not None
        vectors = None if frame.motion is None else frame.motion.vectors
        pictures = (key.image, frame.image) if decoded else (read_image(item.key_image), read_image(item.image))
    else:
        with np.load(item.vectors) as stored:
            vectors = stored["vectors"]
        pictures = (read_image(item.key_image), read_image(item.image))
    label = read_label(item)
    if vectors is None:
        vectors = np.zeros((-(-label.shape[0] // BLOCK), -(-label.shape[1] // BLOCK), 2), np.int16)
    return Pair(*pictures, label, vectors, item.distance)
