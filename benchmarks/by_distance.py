"""What `arseg segment` gives by default, frame by frame after a keyframe, beside HR, the method and the warp.

    python benchmarks/frontier.py --name lite0 --camvid CAMVID --video saber_road.mp4 … --folder runs/frontier
    python benchmarks/by_distance.py --name lite0 --folder runs/frontier

The first records the network on the streams; no network runs in the second. A keyframe every 12 frames, at four places:
so each distance is met on a third of the frames. Percent of the pixels that have the network's own label; on `val` also
mIoU by people's labels. At the codec's I frames, every 60 frames, this has no later keyframe, which the command line
has. The method was recorded at one place of the keyframes: its rows are of a quarter of the frames.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from frontier import RESULTS, network
from frontier_signals import GROUP, Recording
from frontier_ways import Frames, both_sides, followed, regular, tested, warped

from arseg.evaluate.metrics import ConfusionMatrix
from arseg.files import save_json

PLACES = (0, 3, 6, 9)
"""Frames at which a keyframe is, and every 12 from there on; the first frame is one, too."""


def labels_of(frames: Frames, way: str, keys: list[int]) -> Iterator[np.ndarray]:
    if way == "HR":
        return (frames.given(t) for t in range(len(frames)))
    if way == "AR":
        assert frames.of.ar is not None
        return (labels.numpy() for labels in frames.of.ar)
    made = {
        "warp": lambda: warped(frames, keys),
        "both keyframes": lambda: both_sides(frames, keys),
        "default": lambda: both_sides(frames, keys, branch=tested),
    }
    return (labels for labels, _ in made[way]())


def measured(frames: Frames, way: str) -> dict[str, Any]:
    """Agreement, and mIoU where there are labels: by distance from 1 on, and their mean."""
    recording = frames.of
    agreement: list[list[float]] = [[] for _ in range(GROUP)]
    truth = [ConfusionMatrix(recording.classes) for _ in range(GROUP)]
    for place in PLACES[:1] if way == "AR" else PLACES:
        keys = regular(recording.intra, GROUP, place)
        where = [t - key for t, key, _ in followed(frames, keys)]
        for t, labels in enumerate(labels_of(frames, way, keys)):
            agreement[where[t]].append(100 * float((labels == frames.given(t)).mean()))
            if recording.truth is not None:
                truth[where[t]].add(recording.truth[t].numpy(), labels)
    found = {"agreement": [float(np.mean(one)) for one in agreement[1:]]}
    if recording.truth is not None:
        found["miou"] = [matrix.miou() for matrix in truth[1:]]
    return {
        name: {"mean": round(float(np.mean(values)), 2), "by_distance": [round(x, 2) for x in values]}
        for name, values in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="of the network in the recordings")
    parser.add_argument("--weights", help="of kind ar; the package's")
    parser.add_argument("--folder", type=Path, default=Path("runs/frontier"))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    net, branch = network(asked.name, asked.weights)
    ways = ["HR", "warp", "AR", "both keyframes", "default"] if branch else ["HR", "warp", "both keyframes"]
    rows: dict[str, Any] = {}
    with torch.inference_mode():
        for path in sorted(asked.folder.glob(f"{asked.name}-*.pt")):
            frames = Frames(Recording.load(path), net)
            stream = rows[path.stem.removeprefix(f"{asked.name}-")] = {}
            for way in ways:
                stream[way] = measured(frames, way)
                text = "".join(
                    f"  {name} {row['mean']:.2f} · "
                    + "/".join(f"{row['by_distance'][d - 1]:.1f}" for d in (1, 3, 6, 9, 11))
                    for name, row in stream[way].items()
                )
                print(f"{path.stem:32}{way:16}{text}", flush=True)
    save_json(asked.json or RESULTS / f"by-distance-{asked.name}.json", {"network": asked.name, "streams": rows})


if __name__ == "__main__":
    main()
