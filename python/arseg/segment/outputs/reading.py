"""Label maps read back, whatever they were written as."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image

from arseg.errors import InputError
from arseg.files import StrPath

from .rle import decode

__all__ = ["read_labels"]


def read_labels(path: StrPath) -> Iterator[np.ndarray]:
    """The maps in order, uint8 `[H, W]`, of a folder of PNGs, a label video, label arrays or COCO lines.

    Raises `InputError` for what is none of these.
    """
    path = Path(path)
    kind = path.suffix.lower()
    try:
        if path.is_dir():
            yield from _pictures(path)
        elif kind == ".mkv":
            yield from _video(path)
        elif kind == ".npz":
            yield from _arrays(path)
        elif kind == ".jsonl":
            yield from _lines(path)
        else:
            raise InputError(f"{path}: expected a folder, or a file of type .mkv, .npz or .jsonl")
    except (OSError, KeyError, ValueError, av.error.FFmpegError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: has no label maps that can be read ({error})") from error


def _pictures(path: Path) -> Iterator[np.ndarray]:
    for name in sorted(path.glob("*.png")):
        with Image.open(name) as picture:
            yield np.asarray(picture)


def _video(path: Path) -> Iterator[np.ndarray]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.format.name != "gray":
                raise InputError(f"{path}: a video of {frame.format.name}, not of label maps (gray)")
            yield frame.to_ndarray()


def _arrays(path: Path) -> Iterator[np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        for number in arrays["frames"]:
            yield arrays[f"{number:06d}"]


def _lines(path: Path) -> Iterator[np.ndarray]:
    with path.open() as file:
        for line in file:
            record = json.loads(line)
            labels = np.zeros(record["size"], np.uint8)
            for mask in record["annotations"]:
                labels[decode(mask["segmentation"])] = mask["category_id"]
            yield labels
