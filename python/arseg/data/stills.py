"""Labelled single frames for training: of a data set, as a video would show them, and of synthetic streets."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from arseg.files import StrPath, replacing
from arseg.preprocess import resized
from arseg.video import VideoReader, encode

from .cache import Kept
from .camvid import CamVid
from .street import StreetScene

Still = tuple[np.ndarray, np.ndarray]
"""An image, uint8 `[H, W, 3]`, and its class ids, uint8 `[H, W]`."""


ROWS = 360
"""Height of the stills that the crops and scales of the default recipes are for, as the streets are."""


def camvid_stills(root: StrPath, split: str = "train", *, rows: int | None = None) -> list[Still]:
    """A whole split in memory (0.7 MB a frame at 480x360): decoding once leaves the cores to the network.

    Args:
        rows: frames that are higher are shrunk to so many; None: all stay as they are.
    """
    return [shrunk(image, label, rows) for image, label in CamVid().stills(root, split)]


def shrunk(image: np.ndarray, label: np.ndarray, rows: int | None) -> Still:
    """A still of at most so many rows, its shape kept; None: as it is."""
    height, width = label.shape
    if rows is None or height <= rows:
        return image, label
    size = (rows, max(1, round(width * rows / height)))
    return resized(image, size), resized(label, size, Image.Resampling.NEAREST)


def street_stills(folder: Path, scenes: int, *, per_scene: int = 4, seed: int = 1000) -> list[Still]:
    """`scenes * per_scene` frames at random moments of differently seeded streets, 480x360.

    A scene is stored in `folder` when it is rendered, so that a resumed run does not render it again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stills: list[Still] = []
    for scene in range(seed, seed + scenes):
        path = folder / f"street-{scene}-{per_scene}.npz"
        if not path.exists():
            moments = np.random.default_rng((seed, scene - seed)).integers(0, 600, per_scene)
            street = StreetScene(scene)
            images, labels = zip(*(street.frame(int(index)) for index in moments), strict=True)
            save_arrays(path, images=np.stack(images), labels=np.stack(labels))
        with np.load(path) as stored:
            stills += list(zip(stored["images"], stored["labels"], strict=True))
    return stills


def compressed(stills: Sequence[Still], crf: float) -> Sequence[Still]:
    """The stills as a video shows them: each one an H.264 keyframe of quality `crf`, decoded again.

    A list of stills of one size becomes one video at once; of others each is encoded when it is asked for.
    """
    if not isinstance(stills, list) or len({label.shape for _, label in stills}) > 1:
        return Kept(len(stills), lambda index: _compressed([stills[index]], crf)[0], _bytes_of)
    return _compressed(stills, crf)


def _bytes_of(still: Still) -> int:
    return still[0].nbytes + still[1].nbytes


def _compressed(stills: Sequence[Still], crf: float) -> list[Still]:
    if not stills:
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stills.mp4"
        encode((image for image, _ in stills), path, gop=1, crf=crf)
        with VideoReader(path, gop=1) as reader:
            return [(frame.image, label) for frame, (_, label) in zip(reader, stills, strict=True)]


def fingerprint(stills: Sequence[Still]) -> int:
    """A checksum of images and labels, to tell one data set from another."""
    value = 0
    for image, label in stills:
        value = zlib.crc32(label.tobytes(), zlib.crc32(image.tobytes(), value))
    return value


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """An .npz that is there whole or not at all."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
