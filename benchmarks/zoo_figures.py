"""What the zoo's networks reach, for what compute and time: mIoU, GMACs and milliseconds of each mode.

    python benchmarks/zoo_figures.py --out docs/results/zoo.json --plot docs/results/zoo.png [--rounds 5]

Times are of a synthetic drive in 4:3, decoded before: frames of each mode as `arseg segment` has them, rounds of all
networks and modes in turn, the median over rounds of a group's mean. mIoU is that of docs/results/zoo-val-NAME.json,
which `arseg eval --camvid CAMVID --quick --modes hr,lr,ar,warp --weights NAME --figures …` wrote. "lite0 at 288" is
lite0 on smaller frames (`--height 288`), where it costs about as much as slim.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import arseg
from arseg.data.street import StreetScene
from arseg.evaluate.flops import gmacs, gop_average
from arseg.files import save_json
from arseg.networks.arseg_net import ARSegNet
from arseg.preprocess import input_size
from arseg.segment.modes import Mode
from arseg.segment.segmenter import Group, VideoSegmenter
from arseg.video import VideoFrame, VideoReader, encode
from arseg.zoo import ZOO
from arseg_ext.profiler.results import ALLOCATOR, processor

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
MODES: tuple[Mode, ...] = ("hr", "lr", "ar", "warp")
GOP = 12
SIZE = (480, 640)

LINES: Mapping[str, tuple[str, int | None]] = {
    **{name: (name, None) for name in ZOO if ZOO[name].packaged},
    "lite0 at 288": ("lite0", 288),
}
"""Of each line of the plot: the weights, and the frames' height where it is not the weights' own."""


def drive(folder: str) -> list[VideoFrame]:
    """A group of pictures of a synthetic drive."""
    path = Path(folder) / "street.mp4"
    street = StreetScene(0, width=SIZE[1], height=SIZE[0])
    encode((image for image, _ in street.frames(GOP)), path, rate=15, gop=GOP)
    with VideoReader(path, gop=GOP) as reader:
        return list(reader)


def group_ms(segmenter: VideoSegmenter, frames: Sequence[VideoFrame]) -> float:
    """Mean milliseconds of a frame."""
    group, start = Group(), time.perf_counter()
    for frame in frames:
        segmenter.segment(frame, group)
    return (time.perf_counter() - start) * 1e3 / len(frames)


def frontier(rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        frames = drive(folder)
    rows: dict[str, dict[str, Any]] = {}
    runs = {}
    for line, (name, given) in LINES.items():
        network = arseg.load(name)
        assert isinstance(network, ARSegNet)
        network.input_height = given or network.input_height
        counted = gmacs(network, *input_size(SIZE, network.input_height))
        counted |= {
            "ar": gop_average(counted["keyframe"], counted["ar"], GOP),
            "warp": gop_average(counted["hr"], 0.0, GOP),
        }
        scored = json.loads((RESULTS / f"zoo-val-{line.replace(' ', '-')}.json").read_text())
        for mode in MODES:
            miou = round(scored[mode]["mean"], 1)
            rows[f"{line} {mode}"] = {"miou": miou, "gmacs": round(counted[mode], 2), "ms": []}
            runs[f"{line} {mode}"] = VideoSegmenter(network, mode=mode, gop=GOP)
    for number in range(rounds + 1):
        for key, segmenter in runs.items():
            taken = group_ms(segmenter, frames)
            if number:  # the first warms up
                rows[key]["ms"].append(taken)
    for row in rows.values():
        row["spread"] = [round(min(row["ms"]), 1), round(max(row["ms"]), 1)]
        row["ms"] = round(statistics.median(row["ms"]), 1)
    facts = {"processor": processor(), "threads": torch.get_num_threads(), "torch": torch.__version__, "rounds": rounds}
    return {"facts": facts, "rows": rows}


def draw(record: dict[str, Any], path: Path) -> None:
    """mIoU over compute and over time: a line for each network, its modes from warp to full resolution."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for panel, axis, unit in zip(panels, ("gmacs", "ms"), ("GMACs", "ms"), strict=True):
        for line, marker in zip(LINES, "os^Dv*", strict=False):
            rows = {mode: record["rows"][f"{line} {mode}"] for mode in MODES}
            order = sorted(rows.values(), key=lambda row: row[axis])
            panel.plot([row[axis] for row in order], [row["miou"] for row in order], marker=marker, label=line)
            for mode, row in rows.items():
                panel.annotate(mode, (row[axis], row["miou"]), (4, -10), textcoords="offset points", fontsize=8)
        panel.set_xlabel(f"{unit} a frame, mean over a group of {GOP}")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("mIoU %, CamVid val run")
    panels[0].legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    if any(os.environ.get(key) != value for key, value in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    record = frontier(given.rounds)
    print(json.dumps(record, indent=1))
    if given.out:
        save_json(given.out, record)
    if given.plot:
        draw(record, given.plot)


if __name__ == "__main__":
    main()
