"""What `arseg segment` takes for a 1080p video, by output and by processes: wall time and processor time a frame.

    python benchmarks/many_videos.py VIDEO -o benchmarks/results/many_videos.json

VIDEO is scaled to 1920x1080 and encoded by x264 (crf 23, keyframes every 30 frames). Processes are warm, and ways run
in turn; the result has medians and all values. Processor time is that of all processes: on a machine that others use,
only it means something.
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
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from arseg.segment.opened import open_segmenter
from arseg.segment.outputs import output_for
from arseg.segment.run import segment_file
from arseg.segment.shards.pool import LocalPool
from arseg.video import VideoReader, encode

SIZE = (1920, 1080)
WAYS: dict[str, tuple[dict[str, Any], str, int]] = {
    "ar, npz": ({}, "o.npz", 1),
    "ar, npz, 2 workers": ({}, "o.npz", 2),
    "ar, FFV1": ({}, "label-video:o.mkv", 1),
    "ar, overlay": ({}, "o.mp4", 1),
    "ar, overlay, 2 workers": ({}, "o.mp4", 2),
    "25%, npz": ({"budget": "25%"}, "o.npz", 1),
}
"""By name: settings of the segmenter, output, processes."""


def scaled(video: Path, count: int, target: Path) -> None:
    with VideoReader(video) as reader:
        frames = (Image.fromarray(frame.image).resize(SIZE, Image.Resampling.BICUBIC) for frame in reader)
        encode(map(np.asarray, islice(frames, count)), target, rate=25, gop=30, crf=23)


def processor_seconds(pool: LocalPool | None) -> float:
    """Of this process and those of the pool, so far."""
    found = time.process_time()
    ticks = os.sysconf("SC_CLK_TCK")
    for one in [] if pool is None else pool._processes:
        fields = Path(f"/proc/{one.process.pid}/stat").read_text().rpartition(")")[2].split()
        found += (int(fields[11]) + int(fields[12])) / ticks
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("video", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    given = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    threads, folder = torch.get_num_threads(), Path(tempfile.mkdtemp())
    clip = folder / "clip.mp4"
    scaled(given.video, given.frames, clip)
    makes = {name: partial(open_segmenter, weights=None, model=None, settings=way[0]) for name, way in WAYS.items()}
    segmenters = {name: make("cpu") for name, make in makes.items()}
    found: dict[str, dict[str, list[float]]] = {name: {"wall": [], "processor": []} for name in WAYS}
    size: dict[str, int] = {}
    with LocalPool(makes["ar, npz"], 2) as pool:
        for number in range(1 + given.rounds):  # the first one warms up
            for name in given.ways:
                _, target, processes = WAYS[name]
                runner = pool if processes == 2 else None
                if number == 0 and name not in ("ar, npz", "ar, npz, 2 workers", "25%, npz"):
                    continue  # seen by one of these
                kind, colon, file = target.rpartition(":")
                path = folder / file
                started, before = time.perf_counter(), processor_seconds(pool)
                count = segment_file(segmenters[name], clip, [output_for(f"{kind}{colon}{path}")], runner=runner)
                wall, processor = time.perf_counter() - started, processor_seconds(pool) - before
                size[name] = path.stat().st_size // count
                if number:
                    found[name]["wall"].append(round(wall / count, 4))
                    found[name]["processor"].append(round(processor / count, 4))
                    print(
                        f"{name}: {1e3 * wall / count:.0f} ms, {1e3 * processor / count:.0f} ms of processors",
                        flush=True,
                    )
            if not number:
                continue
            ways = {
                name: {
                    "wall_seconds_a_frame": median(one["wall"]),
                    "processor_seconds_a_frame": median(one["processor"]),
                    "bytes_a_frame": size[name],
                    **one,
                }
                for name, one in found.items()
                if one["wall"]
            }
            record = {
                "command": shlex.join(["python", "benchmarks/many_videos.py", given.video.name, *sys.argv[2:]]),
                "commit": commit,
                "processor": cpu,
                "cores": os.cpu_count(),
                "threads": threads,
                "load_average": os.getloadavg(),
                "torch": torch.__version__,
                "python": platform.python_version(),
                "frames": given.frames,
                "size": SIZE,
                "clip_bytes_a_frame": clip.stat().st_size // given.frames,
                "network_height": segmenters["ar, npz"].height,
                "rounds": number,
                "ways": ways,
            }
            given.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
