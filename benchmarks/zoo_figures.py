"""The zoo's figures: a drive held out, compute and milliseconds, and what the networks reach for them.

    python benchmarks/zoo_figures.py held-out camvid-0006R0 lite2=runs/held/lite2/hr.safetensors … --out held-out.json
    python benchmarks/zoo_figures.py frontier --out zoo.json --plot zoo.png [--rounds 5]

`held-out` scores keyframe networks on the stills of `val` (see `zoo.py hold-out`), each at the height that its weights
name. `frontier` times every network of the zoo on a synthetic drive, decoded before: frames of each mode as
`arseg segment` has them, rounds of all networks and modes in turn, the median over rounds of a group's mean. It takes
mIoU from docs/results/camvid480-val[-NAME].json, which `arseg eval --json` wrote.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import arseg
from arseg.data.camvid import CamVid
from arseg.data.street import StreetScene
from arseg.evaluate.flops import gmacs, gop_average
from arseg.evaluate.metrics import ConfusionMatrix
from arseg.files import save_json
from arseg.labels import CAMVID
from arseg.networks.arseg_net import ARSegNet
from arseg.preprocess import input_size, network_input
from arseg.segment.modes import Mode
from arseg.segment.segmenter import Group, VideoSegmenter
from arseg.video import VideoFrame, VideoReader, encode
from arseg.zoo import DEFAULT, ZOO
from arseg_ext.ops import resize_labels
from arseg_ext.profiler.results import ALLOCATOR, processor

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
MODES: tuple[Mode, ...] = ("hr", "lr", "ar", "warp")
GOP = 12
SIZE = (480, 640)


@torch.inference_mode()
def held_out(camvid: Path, weights: Path) -> dict[str, Any]:
    """mIoU and IoU by class, percent, of a keyframe network on the stills of `val`, and at half the height."""
    network: Any = arseg.load(weights)
    scores = {"hr": ConfusionMatrix(len(CAMVID.classes)), "lr": ConfusionMatrix(len(CAMVID.classes))}
    for image, label in CamVid().stills(camvid, "val"):
        for mode, matrix in scores.items():
            height, width = input_size(label.shape, network.input_height)
            size = (height, width) if mode == "hr" else (height // 2, width // 2)
            logits = network.classifier(
                network.features(network_input(image, size, network.label_set, torch.device("cpu")))
            )
            matrix.add(label, resize_labels(logits, label.shape)[0].numpy())
    found: dict[str, Any] = {mode: round(matrix.miou(), 1) for mode, matrix in scores.items()}
    classes = zip(CAMVID.classes, scores["hr"].iou(), strict=True)
    return {**found, "height": network.input_height, "iou": {name: round(100 * float(iou), 1) for name, iou in classes}}


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
    for name in ZOO:
        network = arseg.load(name)
        assert isinstance(network, ARSegNet) and network.input_height is not None
        height, width = input_size(SIZE, network.input_height)
        counted = gmacs(network, height, width)
        counted |= {"ar": gop_average(counted["hr"], counted["ar"], GOP), "warp": gop_average(counted["hr"], 0.0, GOP)}
        scored = json.loads((RESULTS / f"camvid480-val{'' if name == DEFAULT else f'-{name}'}.json").read_text())
        for mode in MODES:
            miou = round(scored[mode]["mean"], 1)
            rows[f"{name} {mode}"] = {"miou": miou, "gmacs": round(counted[mode], 2), "ms": []}
            runs[f"{name} {mode}"] = VideoSegmenter(network, mode=mode, gop=GOP)
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
        for name, marker in zip(ZOO, "os^Dv*", strict=False):
            rows = {mode: record["rows"][f"{name} {mode}"] for mode in MODES}
            order = sorted(rows.values(), key=lambda row: row[axis])
            panel.plot([row[axis] for row in order], [row["miou"] for row in order], marker=marker, label=name)
            for mode, row in rows.items():
                panel.annotate(mode, (row[axis], row["miou"]), (4, -10), textcoords="offset points", fontsize=8)
        panel.set_xlabel(f"{unit} a frame, mean over a group of {GOP}")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("mIoU %, CamVid val run")
    panels[0].legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    held = commands.add_parser("held-out")
    held.add_argument("camvid", type=Path)
    held.add_argument("weights", nargs="+", help="NAME=FILE")
    front = commands.add_parser("frontier")
    front.add_argument("--rounds", type=int, default=5)
    front.add_argument("--plot", type=Path)
    for command in (held, front):
        command.add_argument("--out", type=Path, help="JSON")
    given = parser.parse_args()
    if any(os.environ.get(key) != value for key, value in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    if given.command == "held-out":
        named = dict(entry.split("=", 1) for entry in given.weights)
        record: dict[str, Any] = {name: held_out(given.camvid, Path(path)) for name, path in named.items()}
    else:
        record = frontier(given.rounds)
    print(json.dumps(record, indent=1))
    if given.out:
        save_json(given.out, record)
    if given.command == "frontier" and given.plot:
        draw(record, given.plot)


if __name__ == "__main__":
    main()
