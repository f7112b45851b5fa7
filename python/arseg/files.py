"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .errors import InputError

StrPath = str | os.PathLike[str]
"""A path as callers give it."""


def check_writable(path: Path) -> None:
    """Raises `InputError` where `path` cannot become a file, before the work whose result it is to hold."""
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{path}: cannot be written; give the name of a file in a folder that exists and is yours")


def part_of(path: Path) -> Path:
    """The name beside `path` that its content has until it is complete."""
    return path.with_name(f".{path.name}.part")


def save_json(path: Path, record: Any) -> None:
    """Indented JSON; refuses NaN, which JSON does not know."""
    part = part_of(path)
    part.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
    os.replace(part, path)


def save_png(path: Path, picture: np.ndarray) -> None:
    """uint8 `[H, W, 3]`."""
    part = part_of(path)
    Image.fromarray(picture).save(part, format="PNG")
    os.replace(part, path)
