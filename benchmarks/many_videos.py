"""What `arseg segment` takes for a 1080p video, by output and by processes: wall time and processor time a frame.

    python benchmarks/many_videos.py VIDEO -o benchmarks/results/many_videos.json

VIDEO is scaled to 1920x1080 and encoded by x264 (crf 23, keyframes every 24 frames). Networks are made and warm before
what is timed; ways run in turn, each time in another order. The result has medians and all values, and is written
after each way. Processor time is that of all processes: on a machine that others use, only it means something, and of
wall times only the ratios of one round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from arseg import VideoSegmenter
from arseg.segment.opened import open_segmenter
from arseg.segment.outputs import output_for
from arseg.segment.run import segment_file
from arseg.segment.shards.pool import LocalPool
from arseg.video import VideoReader, encode

SIZE = (1920, 1080)


@dataclass(frozen=True)
class Way:
    """One way to segment the clip.

    Attributes:
        settings: of the segmenter.
        output: as after -o.
        threads: of torch, in each process.
        processes: workers; 1: none, this process does it.
    """

    settings: dict[str, Any]
    output: str
    threads: int
    processes: int = 1


WAYS = {
    "labels .npz, 1 thread": Way({}, "o.npz", 1),
    "labels .npz, 2 threads": Way({}, "o.npz", 2),
    "labels .npz, 2 workers of 1 thread": Way({}, "o.npz", 1, 2),
    "labels FFV1, 1 thread": Way({}, "label-video:o.mkv", 1),
    "overlay, 1 thread": Way({}, "o.mp4", 1),
    "overlay, 2 threads": Way({}, "o.mp4", 2),
    "overlay, 2 workers of 1 thread": Way({}, "o.mp4", 1, 2),
    "labels .npz, budget 25%, 1 thread": Way({"budget": "25%"}, "o.npz", 1),
}


def scaled(video: Path, count: int, target: Path) -> None:
    with VideoReader(video) as reader:
        frames = (Image.fromarray(frame.image).resize(SIZE, Image.Resampling.BICUBIC) for frame in reader)
        encode(map(np.asarray, islice(frames, count)), target, rate=25, gop=24, crf=23)


def processor_seconds(pool: LocalPool | None) -> float:
    """Of this process and those of the pool, so far."""
    found = time.process_time()
    ticks = os.sysconf("SC_CLK_TCK")
    for one in [] if pool is None else pool._processes:
        fields = Path(f"/proc/{one.process.pid}/stat").read_text().rpartition(")")[2].split()
        found += (int(fields[11]) + int(fields[12])) / ticks
    return found


def segmented(way: Way, segmenter: VideoSegmenter, pool: LocalPool, clip: Path, folder: Path) -> dict[str, float]:
    """What one run took."""
    kind, colon, file = way.output.rpartition(":")
    path = folder / file
    path.unlink(missing_ok=True)
    torch.set_num_threads(way.threads)
    started, before = time.perf_counter(), processor_seconds(pool)
    outputs = [output_for(f"{kind}{colon}{path}")]
    count = segment_file(segmenter, clip, outputs, runner=pool if way.processes > 1 else None)
    wall, processor = time.perf_counter() - started, processor_seconds(pool) - before
    return {
        "wall": round(wall / count, 4),
        "processor": round(processor / count, 4),
        "bytes": path.stat().st_size // count,
    }


def of_round(rounds: list[dict[str, dict[str, float]]], name: str, key: str) -> list[float]:
    return [one[name][key] for one in rounds if name in one]


def gains(rounds: list[dict[str, dict[str, float]]]) -> dict[str, list[float]]:
    """By pair: how many times as fast the second is, wall time of the same round."""
    found = {}
    for output in ("labels .npz", "overlay"):
        workers = f"{output}, 2 workers of 1 thread"
        for threads in ("1 thread", "2 threads"):
            one = f"{output}, {threads}"
            pairs = [(each[one]["wall"], each[workers]["wall"]) for each in rounds if one in each and workers in each]
            if pairs:
                found[f"{output}, 2 workers against {threads}"] = [round(alone / both, 3) for alone, both in pairs]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=96, help="of the clip; two workers share 96 or more")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    given = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    rounds: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip, first = folder / "clip.mp4", folder / "first.mp4"
        scaled(given.video, given.frames, clip)
        scaled(given.video, 2, first)
        settings = {str(way.settings): way.settings for way in WAYS.values()}
        makes = {key: partial(open_segmenter, weights=None, model=None, settings=one) for key, one in settings.items()}
        segmenters = {key: make("cpu") for key, make in makes.items()}
        record = {
            "command": shlex.join(["python", "benchmarks/many_videos.py", given.video.name, *sys.argv[2:]]),
            "commit": commit,
            "processor": cpu,
            "cores": os.cpu_count(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "frames": given.frames,
            "size": SIZE,
            "clip_bytes_a_frame": clip.stat().st_size // given.frames,
            "network_height": segmenters[str({})].height,
        }
        with LocalPool(makes[str({})], 2, threads=1) as pool:
            for segmenter in segmenters.values():
                segment_file(segmenter, first, [output_for(str(folder / "first.npz"))])
            if any(WAYS[name].processes > 1 for name in given.ways):
                workers = segmenters[str({})]
                segment_file(workers, clip, [output_for(str(folder / "first.npz"))], runner=pool)
            for number in range(given.rounds):
                rounds.append({})
                place = number * len(given.ways) // given.rounds
                for name in [*given.ways[place:], *given.ways[:place]]:
                    way = WAYS[name]
                    one = segmented(way, segmenters[str(way.settings)], pool, clip, folder)
                    rounds[-1][name] = {**one, "load": round(os.getloadavg()[0], 1)}
                    print(f"{name}: {rounds[-1][name]}", flush=True)
                    ways = {
                        name: {
                            "wall_seconds_a_frame": median(of_round(rounds, name, "wall")),
                            "processor_seconds_a_frame": median(of_round(rounds, name, "processor")),
                            "bytes_a_frame": int(median(of_round(rounds, name, "bytes"))),
                        }
                        for name in given.ways
                        if any(name in one for one in rounds)
                    }
                    found = {**record, "ways": ways, "gains": gains(rounds), "rounds": rounds}
                    given.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
