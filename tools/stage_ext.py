"""Lays out the source tree of the distribution arseg-ext: the operators alone, with torch as their only dependency.

`python tools/stage_ext.py [FOLDER]`, build/ext if none is named; `make wheel-ext` builds a wheel of it. Files that did
not change keep their times, so that a second build compiles only what did. What else lies in FOLDER stays.
"""

from __future__ import annotations

import filecmp
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("setup.py", "LICENSE", "NOTICE", "arseg_ext", "csrc")
LEFT_OUT = ("csrc/motion", "csrc/hevc")  # the pipeline's
NOT_SOURCES = (".so", ".pyd", ".dylib", ".pyc")


def staged_files(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Each file and its place in the tree."""
    for name in COPIED:
        place = root / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            relative = path.relative_to(root).as_posix()
            if path.is_file() and path.suffix not in NOT_SOURCES and not relative.startswith(LEFT_OUT):
                yield path, relative
    for path in sorted((root / "tools" / "ext").iterdir()):
        yield path, path.name


def stage(folder: Path, root: Path = ROOT) -> Path:
    """Make `folder` the tree of arseg-ext, and return it."""
    wanted = {relative: path for path, relative in staged_files(root)}
    for name in COPIED:
        for old in sorted((folder / name).rglob("*")) if (folder / name).is_dir() else []:
            if old.is_file() and old.relative_to(folder).as_posix() not in wanted:
                old.unlink()
    for relative, path in wanted.items():
        copy = folder / relative
        if not copy.exists() or not filecmp.cmp(path, copy, shallow=False):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
    return folder


if __name__ == "__main__":
    print(stage(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "ext"))
