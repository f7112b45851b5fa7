"""What `arseg vectors` costs over plain decoding, and what its fields to the frame before are worth.

    python benchmarks/vectors_cost.py CLIP... [--size 960x720] [--frames N] [--rounds N] [--json OUT]

Cost: CPU seconds of reading a clip with vectors over those of PyAV decoding it, in turns in one process; "written" is
all of `arseg vectors` into a folder of .npz. Quality: the luma of the frame before, moved by the field, against the
frame's: mean PSNR in dB over all frames that have such a field.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import numpy as np
from motion_clips import facts, frames_of, lumas, save, write

from arseg.inspect.likeness import psnr, warp
from arseg.video.vector_files import writer
from arseg.video.vectors import What, read_vectors

ENCODES = ("refs1", "refs3", "default")
RAW = {"ignore_editlist": "1"}


def plain(path: Path) -> None:
    with av.open(str(path), options=RAW) as container:
        for _ in container.decode(video=0):
            pass


def read(path: Path, what: list[What], *, images: bool = False) -> None:
    for _ in read_vectors(path, what, images=images, options=RAW):
        pass


def written(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, writer(Path(folder) / "out") as add:
        for frame in read_vectors(path, options=RAW):
            add(frame)


WAYS: dict[str, Callable[[Path], None]] = {
    "plain": plain,
    "records": partial(read, what=["records"]),
    "keyframe": partial(read, what=["keyframe"]),
    "previous": partial(read, what=["previous"]),
    "all, images": partial(read, what=["records", "keyframe", "previous"], images=True),
    "written": written,
}


def cost(path: Path, rounds: int, frames: int) -> dict[str, dict[str, float]]:
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for turn in range(rounds + 1):
        for name, way in WAYS.items():
            start = time.process_time()
            way(path)
            if turn:  # the first round warms up
                seconds[name].append(time.process_time() - start)
    report = {"plain": {"ms": 1000 * float(np.median(seconds["plain"])) / frames}}
    for name in list(WAYS)[1:]:
        ratios = [b / a for a, b in zip(seconds["plain"], seconds[name], strict=True)]
        report[name] = {"ratio": float(np.median(ratios)), "lowest": min(ratios), "highest": max(ratios)}
    return report


def quality(path: Path) -> dict[str, float]:
    rows, before = [], None
    for frame, now in zip(read_vectors(path, ["previous"], options=RAW), lumas(path), strict=True):
        field = frame.to_previous
        if field is not None and before is not None:
            rows.append((psnr(before, now), psnr(warp(before, field), now), field.valid.mean()))
        before = now
    kept, moved, valid = np.mean(rows, 0)
    return {"frames": len(rows), "kept": float(kept), "moved": float(moved), "valid": float(valid)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--size", default="960x720")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    clips: dict[str, dict] = {}
    for clip in args.clips:
        for encode in ENCODES:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "clip.mp4"
                frames = write(frames_of(clip, (width, height), args.frames), path, encode)
                found = {"frames": frames, "cost": cost(path, args.rounds, frames), "quality": quality(path)}
            clips.setdefault(clip.stem, {})[encode] = found
            print(clip.stem, encode, found, flush=True)
    if args.json:
        save(args.json, {**facts(), "size": args.size, "rounds": args.rounds, "clips": clips})


if __name__ == "__main__":
    main()
