"""Do label maps that are moved along the motion fields agree with the truth?

    python benchmarks/motion_labels.py CAMVID [--json OUT]

CamVid's `val` (101 consecutive frames, all labelled) is encoded at 15 frames a second in groups of 12. The keyframe's
true label map, warped by the field (nearest pixel), is held against each later frame's, beside the keyframe's label map
as it is. The first keyframe takes each of 12 places in turn, so that all distances are scored on the same 90 frames.
Pixels whose true label is "void" do not count; where the keyframe's label map says "void", it is wrong.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import av
import numpy as np
from motion_clips import GOP, TITLES, facts, save, write

from arseg.data.camvid import CamVid
from arseg.labels import CAMVID, CAMVID_VOID
from arseg.video import BlockField, VideoReader, encode

RATE = 15
COUNT = len(CAMVID_VOID.classes)


def moved(labels: np.ndarray, motion: BlockField) -> np.ndarray:
    """The label map, read at the pixel nearest to p + vector(p), clamped to the frame."""
    height, width = labels.shape
    rows, columns = np.arange(height), np.arange(width)
    vectors = motion.vectors[rows[:, None] // motion.block, columns // motion.block].astype(np.int32)
    x = np.clip(columns + (vectors[..., 0] + 2 >> 2), 0, width - 1)
    y = np.clip(rows[:, None] + (vectors[..., 1] + 2 >> 2), 0, height - 1)
    return labels[y, x]


def counted(truth: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """int64 `[12, 12]`: pixels by true and by given label."""
    pairs = truth.astype(np.int64) * COUNT + labels
    return np.bincount(pairs.ravel(), minlength=COUNT**2).reshape(COUNT, COUNT)


def scores(counts: np.ndarray) -> dict[str, float]:
    """Pixel accuracy and mIoU in percent, of pixels whose true label is not void."""
    known = counts[: len(CAMVID.classes)]
    hits = known.diagonal()
    union = known.sum(1) + known.sum(0)[: len(CAMVID.classes)] - hits
    return {"pixels": 100 * hits.sum() / known.sum(), "miou": 100 * float(np.mean(hits[union > 0] / union[union > 0]))}


def write_run(images: list[np.ndarray], path: Path, name: str) -> None:
    if name == "refs1":
        encode(images, path, rate=RATE, gop=GOP, crf=23)
    else:
        write(
            (av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p") for image in images),
            path,
            name,
            rate=RATE,
        )


def measure(images: list[np.ndarray], labels: list[np.ndarray], name: str) -> dict:
    counts = np.zeros((2, GOP, COUNT, COUNT), np.int64)
    origins: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.mp4"
        for offset in range(GOP):
            write_run(images[offset:], path, name)
            with VideoReader(path, gop=4 * GOP) as reader:
                for frame in reader:
                    index = offset + frame.index
                    if frame.motion is None:
                        key = labels[index]
                    elif index >= GOP - 1:
                        origins[frame.motion.origin] += 1
                        counts[0, frame.distance] += counted(labels[index], key)
                        counts[1, frame.distance] += counted(labels[index], moved(key, frame.motion))
    table = {way: [scores(at) for at in counts[place, 1:]] for place, way in enumerate(("kept", "warped"))}
    return {
        "origins": dict(origins),
        "by_distance": {
            what: {way: [row[what] for row in rows] for way, rows in table.items()} for what in ("pixels", "miou")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    images, labels = zip(*CamVid().stills(arguments.camvid, "val"), strict=True)
    report: dict = {"frames": len(images), "rate": RATE, **facts(), "encodes": {}}
    for name in ("refs1", "refs3", "default"):
        report["encodes"][name] = found = measure(list(images), list(labels), name)
        print(f"{TITLES[name]}  {found['origins']}\ndistance  pixels: kept  warped   mIoU: kept  warped")
        columns = [found["by_distance"][what][way] for what in ("pixels", "miou") for way in ("kept", "warped")]
        for distance, figures in enumerate(zip(*columns, strict=True), 1):
            print("{:8}  {:12.2f}  {:6.2f}  {:11.2f}  {:6.2f}".format(distance, *figures), flush=True)
    if arguments.json:
        save(arguments.json, report)


if __name__ == "__main__":
    main()
