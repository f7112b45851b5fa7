"""Training pairs out of real videos with labelled frames: prepared ones, or a data set's own runs of frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from arseg.errors import InputError
from arseg.preprocess import resized

from .cache import Kept
from .datasets import LabelledFrames, read_image
from .groups import BLOCK
from .pairs import GOP, Clip, clip_bytes, run_clip, stored_clips
from .prepared import Prepared, read_pair
from .stills import Still, save_arrays

RUNS = 2
"""Clips of each labelled frame with frames before it, at random distances."""


def prepared_clips(prepared: Prepared, distances: Sequence[int]) -> Sequence[Clip]:
    """The labelled frames of a prepared folder with their keyframes and vectors, decoded when they are asked for.

    Args:
        distances: those that count; a folder need not have all of them.

    Where pictures differ in size, the same part of each, from its middle, as high and as wide as the least.

    Raises `InputError` where it has a labelled frame at none of them.
    """
    items = [item for item in prepared.items if item.distance in set(distances)]
    if not items:
        raise InputError(
            f"{prepared.folder}: no labelled frame at a distance of {', '.join(map(str, distances))}; prepare it with "
            f"-d 1-{prepared.gop - 1}"
        )

    sizes = {_size(path) for path in {item.label for item in items}}
    size = tuple(map(min, zip(*sizes, strict=True)))

    def load(index: int) -> Clip:
        pair = read_pair(items[index], decoded=True)
        clip = Clip(pair.key, pair.image[None], pair.label[None], pair.vectors[None], np.array([pair.distance]))
        return clip if len(sizes) == 1 else _middle(clip, size)

    return Kept(len(items), load, clip_bytes)


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as file:
            return file.height, file.width
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a picture ({error}); prepare the data again") from error


def _middle(clip: Clip, size: tuple[int, ...]) -> Clip:
    """That part of a clip, to the nearest block up and left."""
    (height, width), (all_rows, all_columns) = size, clip.key.shape[:2]
    top, left = ((whole - part) // 2 // BLOCK for whole, part in ((all_rows, height), (all_columns, width)))
    rows, columns = (slice(BLOCK * first, BLOCK * first + part) for first, part in ((top, height), (left, width)))
    blocks = slice(top, top - (-height // BLOCK)), slice(left, left - (-width // BLOCK))
    parts = clip.key[rows, columns], clip.images[:, rows, columns], clip.labels[:, rows, columns]
    return Clip(*parts, clip.vectors[:, blocks[0], blocks[1]], clip.distances)


def run_clips(folder: Path, frames: LabelledFrames, size: tuple[int, int], seed: int) -> Sequence[Clip]:
    """Clips of the labelled frames before which the data set has others: those frames, encoded at `size`.

    Each is stored in `folder` when it is made; there are none where the data set has single frames.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, frame in enumerate(frames.frames):
        if frame.index < 1:
            continue
        for take in range(RUNS):
            rng = np.random.default_rng((seed, 2, index, take))
            back = int(rng.integers(1, min(GOP - 1, frame.index) + 1))
            path = folder / f"run-{frame.name}-{back}-{size[1]}x{size[0]}-seed{seed}-{take}.npz"
            paths.append(path)
            if not path.exists():
                still = frames[index]
                before = (read_image(path) for path in frame.frames[frame.index - back : frame.index])
                images = [resized(image, size) for image in (*before, still[0])]
                save_arrays(path, **vars(run_clip(images, _label(still, size), rng)))
    return stored_clips(paths)


def _label(still: Still, size: tuple[int, int]) -> np.ndarray:
    return resized(still[1], size, Image.Resampling.NEAREST)
