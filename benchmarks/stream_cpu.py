"""Frames a second of `arseg segment` on the CPU: frame by frame, in batches, with stages that overlap.

    python benchmarks/stream_cpu.py VIDEO [--height 288] [--frames 36] [--rounds 5] [--out results.json]

The shipped network, an overlay written. Versions take turns; medians of frames a second by the clock, and of frames
for a second of processor time, which a busy machine changes less. Beside them what the whole consists of: decoding with
vectors alone, the network alone on decoded frames, and both. Then, in labels that differ from those of float32 frame by
frame: batches, bfloat16, and images resized in floats, as on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from arseg import preprocess
from arseg.segment.outputs import Overlay
from arseg.segment.run import segment_file
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import VideoFrame, VideoReader
from arseg_ext.profiler.results import facts

VERSIONS: dict[str, dict[str, Any]] = {
    "frame by frame": {"batch": 1, "overlap": False},
    "batches of 2": {"batch": 2, "overlap": False},
    "batches of 4": {"batch": 4, "overlap": False},
    "whole groups": {"batch": 11, "overlap": False},
    "batches of 4, overlapped": {"batch": 4, "overlap": True},
}


def speeds(video: str, height: int, frames: int, rounds: int) -> dict[str, Any]:
    segmenters = {name: VideoSegmenter(height=height, batch=version["batch"]) for name, version in VERSIONS.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in VERSIONS}
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        for turn in range(rounds + 1):
            for name, version in VERSIONS.items():
                output, silent = Overlay(Path(folder) / "overlay.mp4"), Console(file=nowhere)
                clock, processor = time.perf_counter(), time.process_time()
                count = segment_file(
                    segmenters[name], video, [output], console=silent, frames=frames, overlap=version["overlap"]
                )
                took = time.perf_counter() - clock, time.process_time() - processor
                if turn:
                    found[name].append((count / took[0], count / took[1]))
    kinds = ("frames a second", "frames for a second of processor time")
    return {
        name: {
            kind: round(statistics.median(values), 2)
            for kind, values in zip(kinds, zip(*each, strict=True), strict=True)
        }
        for name, each in found.items()
    }


def parts(video: str, height: int, count: int, rounds: int) -> dict[str, Any]:
    """Frames a second, medians, of decoding with vectors, of the network on decoded frames, and of both in turn."""
    segmenter, found = VideoSegmenter(height=height), dict[str, list[float]]()

    def decoded() -> list[VideoFrame]:
        with VideoReader(video, gop=segmenter.gop) as reader:
            return list(islice(reader, count))

    frames = decoded()
    runs: dict[str, Callable[[], object]] = {
        "decoding with vectors": decoded,
        "network": lambda: list(segmenter.segment_all(frames)),
        "both": lambda: list(islice(segmenter.stream(video), count)),
    }
    for turn in range(rounds + 1):
        for name, run in runs.items():
            started = time.process_time()
            run()
            if turn:
                found.setdefault(name, []).append(len(frames) / (time.process_time() - started))
    speeds = {name: round(statistics.median(values), 2) for name, values in found.items()}
    slower = min(speeds["decoding with vectors"], speeds["network"])
    return {"frames for a second of processor time": speeds, "both / slower": round(speeds["both"] / slower, 3)}


@contextmanager
def resized_in_floats() -> Iterator[None]:
    plain = preprocess.shrunk_bytes

    def floats(image: Tensor, size: tuple[int, int]) -> Tensor:
        return preprocess.shrunk(image.float(), size).round_()

    preprocess.shrunk_bytes = floats
    try:
        yield
    finally:
        preprocess.shrunk_bytes = plain


def differences(video: str, height: int, count: int) -> dict[str, float]:
    """Percent of the labels that differ."""
    with VideoReader(video, gop=12) as reader:
        frames = [frame for frame, _ in zip(reader, range(count), strict=False)]

    def labels(**options: Any) -> np.ndarray:
        return np.stack([r.labels for r in VideoSegmenter(height=height, **options).segment_all(frames)])

    expected = labels(batch=1)
    found = {"batches of 4": labels(batch=4), "whole groups": labels(batch=11)}
    found["bfloat16"] = labels(batch=4, precision="bfloat16")
    with resized_in_floats():
        found["resized in floats"] = labels(batch=1)
    return {name: round(100 * float((each != expected).mean()), 4) for name, each in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--height", type=int, default=288)
    parser.add_argument("--frames", type=int, default=36)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON")
    given = parser.parse_args()
    report: dict[str, Any] = {"facts": facts(["cpu"]), "threads": torch.get_num_threads(), "height": given.height}
    report["video"] = Path(given.video).name
    report["labels that differ, %"] = differences(given.video, given.height, given.frames)
    report["parts"] = parts(given.video, given.height, given.frames, given.rounds)
    report["speeds"] = speeds(given.video, given.height, given.frames, given.rounds)
    report["load of the machine"] = os.getloadavg()[1]
    print(json.dumps({name: value for name, value in report.items() if name != "facts"}, indent=1))
    if given.out:
        given.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
