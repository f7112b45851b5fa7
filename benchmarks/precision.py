"""What the defaults on a GPU cost in accuracy, by the same arithmetic on the CPU.

    python benchmarks/precision.py CAMVID [--frames 101] [--out benchmarks/results/precision.json]

mIoU of the shipped weights, the mean over distances, on CamVid's `val` as one video (that of `arseg eval --quick`):
float32 frame by frame; in batches; with images resized in floats, as on a GPU; in bfloat16 (batch normalisation folded,
channels last); and with all of that. Beside it the labels that differ from the first, in percent. A GPU's kernels add
up in another order, which is not measured here.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from stream_cpu import resized_in_floats

from arseg.data.opened import open_data
from arseg.evaluate.by_distance import Scores, scored_classes
from arseg.evaluate.metrics import ConfusionMatrix
from arseg.segment.compared import side_by_side
from arseg.segment.modes import Mode
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import VideoReader, encode
from arseg_ext.profiler.results import facts

MODES: tuple[Mode, ...] = ("hr", "lr", "ar", "warp")
GOP = 12
ROWS: dict[str, tuple[dict[str, Any], bool]] = {
    "float32, frame by frame": ({"batch": 1}, False),
    "float32, whole groups": ({"batch": GOP - 1}, False),
    "float32, resized in floats": ({"batch": 1}, True),
    "bfloat16": ({"batch": 1, "precision": "bfloat16"}, False),
    "bfloat16, resized in floats, whole groups": ({"batch": GOP - 1, "precision": "bfloat16"}, True),
}
"""How `VideoSegmenter` runs, and whether images are resized in floats."""


def labelled(video: Path, how: dict[str, Any], resizing: AbstractContextManager[None]) -> dict[Mode, list[np.ndarray]]:
    """Label maps of the video in each mode."""
    found: dict[Mode, list[np.ndarray]] = {mode: [] for mode in MODES}
    ways = {mode: VideoSegmenter(mode=mode, gop=GOP, **how) for mode in MODES}
    with resizing, VideoReader(video, gop=GOP) as reader:
        for seen in side_by_side(reader, ways):
            for mode, labels in seen.labels.items():
                found[mode] += labels
    return found


def means(found: dict[Mode, list[np.ndarray]], truth: Sequence[np.ndarray]) -> dict[str, float]:
    """mIoU in percent without Void, the mean over distances."""
    names, void = scored_classes(VideoSegmenter().model)
    scores = {}
    for mode, labels in found.items():
        matrices = [ConfusionMatrix(len(names)) for _ in range(GOP)]
        for index, (label, predicted) in enumerate(zip(truth, labels, strict=True)):
            matrices[index % GOP].add(label, predicted)
        scores[mode.upper()] = round(Scores(matrices, names, void, False).mean(), 3)
    return scores


def differing(found: dict[Mode, list[np.ndarray]], first: dict[Mode, list[np.ndarray]]) -> dict[str, float]:
    return {
        mode.upper(): round(100 * float(np.mean(np.stack(labels) != np.stack(first[mode]))), 4)
        for mode, labels in found.items()
    }


def rows(video: Path, truth: Sequence[np.ndarray]) -> Iterator[tuple[str, dict[str, Any]]]:
    first: dict[Mode, list[np.ndarray]] = {}
    for name, (how, floats) in ROWS.items():
        found = labelled(video, how, resized_in_floats() if floats else nullcontext())
        first = first or found
        yield name, {"mIoU": means(found, truth), "labels that differ, %": differing(found, first)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--frames", type=int, help="default: all")
    parser.add_argument("--out", type=Path, help="JSON")
    given = parser.parse_args()
    stills = open_data(f"camvid:{given.camvid}").frames("val")
    pairs = [stills[place] for place in range(given.frames or len(stills))]
    report: dict[str, Any] = {"facts": facts(["cpu"]), "frames": len(pairs), "rows": {}}
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "val.mp4"
        encode([image for image, _ in pairs], video, rate=15, gop=GOP, crf=23)
        for name, row in rows(video, [label for _, label in pairs]):
            report["rows"][name] = row
            print(name, json.dumps(row), flush=True)
            if given.out:
                given.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
