"""Which labels a budget of compute buys: policies drawn against compute and against the slowest frame.

    python benchmarks/frontier.py --name lite0 --camvid CAMVID --video saber_road.mp4 --video dashcam1.mp4
    python benchmarks/frontier.py --name bisenet18 --weights bise18.safetensors …
    python benchmarks/frontier.py --draw docs/figures/frontier.png

The first two measure a network, the last draws what was measured. Streams: CamVid's `val` (labels of people), and of
each video `--frames` from `--first` on, at 30 frames a second and, of every second frame, at 15. Each is encoded anew
and the network sees it once, into `--folder`; a second call goes on from there. `--quick`: 24 frames of each.

Agreement is the percent of the pixels that have the network's own label; it counts keyframes, which agree wholly.
Temporal consistency (`arseg.evaluate.consistency`) counts keyframes, too, but not the codec's I frames.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from frontier_plot import draw, table
from frontier_signals import Recording, Stream, recorded, video_of
from frontier_ways import Frames, Labelled, best_places, regular, ways

from arseg.evaluate.consistency import followed
from arseg.evaluate.metrics import ConfusionMatrix
from arseg.files import save_json
from arseg.networks.arseg_net import ARSegNet
from arseg.segment.segmenter import VideoSegmenter
from arseg.video.motion import CELL

RESULTS = Path(__file__).parent / "results"


def scored(recording: Recording, frames: Iterator[Labelled]) -> dict[str, float | None]:
    """What a policy's labels are worth: percent; and what they cost, as shares of the network on every frame.

    `slowest`: of all frames but the stream's first and the codec's I frames, where no policy has a choice.
    """
    agreement, costs = [], []
    truth = ConfusionMatrix(recording.classes)
    same = seen = 0
    last: np.ndarray | None = None
    for t, (labels, cost) in enumerate(frames):
        agreement.append(100 * float((labels == recording.labels[t].numpy()).mean()))
        costs.append(cost)
        if recording.truth is not None:
            truth.add(recording.truth[t].numpy(), labels)
        if last is not None and not recording.intra[t]:
            vectors, valid = recording.hop(t)
            counts = followed(labels, last, vectors.astype(np.int32), valid, CELL, recording.size)
            same, seen = same + counts[0], seen + counts[1]
        last = labels
    chosen = [cost for cost, intra in zip(costs, recording.intra, strict=True) if not intra]
    return {
        "compute": round(float(np.mean(costs)), 4),
        "slowest": round(max(chosen), 4),
        "agreement": round(float(np.mean(agreement)), 3),
        "worst_tenth": round(float(np.percentile(agreement, 10)), 2),
        "miou": None if recording.truth is None else round(truth.miou(), 2),
        "consistent": round(100 * same / seen, 2),
    }


def placed(frames: Frames, lengths: tuple[int, ...], longest: int = 36) -> dict[str, Any]:
    """How much the warp's agreement gains from the best places of as many keyframes: what no causal rule can beat."""
    gain: dict[tuple[int, int], float] = {}
    for key in range(len(frames)):
        way = None
        for t in range(key, min(len(frames), key + longest + 1)):
            labels = frames.given(t)
            if t > key:
                if frames.of.intra[t]:
                    break
                way = frames.onward(t, way)
                labels = frames.labels(frames.moved(frames.logits(key), way[0]))
            gain[key, t] = 100 * float((labels == frames.given(t)).mean())
    found = {}
    for length in lengths:
        keys = regular(frames.of.intra, length)
        best = best_places(gain, len(keys), len(frames))
        fixed = float(np.mean([share for _, share in _chosen(gain, keys, len(frames))]))
        found[str(length)] = {
            "keyframes": len(keys),
            "regular": round(fixed, 3),
            "best": round(float(np.mean([share for _, share in _chosen(gain, best, len(frames))])), 3),
        }
    return found


def _chosen(gain: Mapping[tuple[int, int], float], keys: list[int], count: int) -> Iterator[tuple[int, float]]:
    starts, key = set(keys), 0
    for t in range(count):
        key = t if t in starts else key
        yield t, gain[key, t]


def network(name: str, weights: str | None) -> tuple[ARSegNet, bool]:
    """A network, and whether it has a trained branch."""
    if name == "lraspp18":
        from frontier_torchvision import load

        assert weights is not None
        return load(Path(weights)), False
    return VideoSegmenter(weights).model, True


def streams(
    camvid: Path | None, videos: list[Path], first: Mapping[str, int], count: int, rates: list[int]
) -> Iterator[Stream]:
    if camvid is not None:
        yield Stream("val", camvid, 15, count=count, labelled=True)
    for video in videos:
        start = first.get(video.stem, 0)
        for rate in rates:
            yield Stream(f"{video.stem} {rate}", video, rate, start, 30 // rate, count)


@dataclass
class Run:
    """One policy on one stream: its labels are made while they are scored."""

    name: str
    family: str
    late: bool
    labelled: Iterator[Labelled]


def policies(asked: argparse.Namespace, frames: Frames, video: Path, *, branch: bool) -> Iterator[Run]:
    """Those asked for; `branch`: whether the network has a trained one."""
    if asked.product:
        from frontier_product import asked_for

        for one in asked_for():
            if (branch or one.policy is None) and any(part in one.name for part in asked.only or [""]):
                labelled = one.labelled(frames.net, video, frames.of.size, len(frames))
                yield Run(one.name, one.family, one.slowest is None, labelled)
        return
    for way in ways():
        if (branch or not way.branch) and any(part in way.name for part in asked.only or [""]):
            yield Run(way.name, way.family, way.late, way.run(frames))


def measure(asked: argparse.Namespace, before: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of each stream: the policies' rows; of `before`, an earlier call's, what is not measured anew."""
    net, branch = network(asked.name, asked.weights)
    folder = asked.folder / "quick" if asked.quick else asked.folder
    count = 24 if asked.quick else asked.frames
    first = {name: int(at) for name, _, at in (one.partition("=") for one in asked.first)}
    rates = [int(rate) for rate in asked.rates.split(",")]
    for stream in streams(asked.camvid, asked.video, first, count, rates):
        began = time.perf_counter()
        recording = recorded(net, stream, folder, asked.name, branch=branch)
        frames = Frames(recording, net)
        known = before.get(stream.name, {})
        rows = dict(known.get("rows", {})) if asked.only or asked.product else {}
        for run in policies(asked, frames, video_of(stream, folder), branch=branch):
            row = rows[run.name] = {"family": run.family, "late": run.late, **scored(recording, run.labelled)}
            truth = "" if row["miou"] is None else f"  mIoU {row['miou']:.2f}"
            print(f"{stream.name:16}{run.name:36}{row['compute']:.3f}  {row['agreement']:.2f}{truth}", flush=True)
        found = {**known, "frames": len(recording), "rows": rows}
        if asked.places:
            found["places"] = placed(frames, (3, 6, 12))
            print(f"{stream.name:16}places {found['places']}", flush=True)
        print(f"{stream.name}: {time.perf_counter() - began:.0f} s", flush=True)
        yield stream.name, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", help="of the network in the results; lraspp18: frontier_torchvision.py's")
    parser.add_argument("--weights", help="of kind ar; the package's")
    parser.add_argument("--camvid", type=Path, help="CamVid at 480x360, with val and valannot")
    parser.add_argument("--video", type=Path, action="append", default=[])
    parser.add_argument("--first", action="append", default=[], help="NAME=FRAME: where a video is begun; 0")
    parser.add_argument("--frames", type=int, default=120, help="of each stream, at most")
    parser.add_argument("--rates", default="30,15", help="frames a second of each video, whose own are 30")
    parser.add_argument(
        "--product", action="store_true", help="only what arseg segment --budget and --live make of them"
    )
    parser.add_argument("--places", action="store_true", help="the best places of keyframes, too (slow)")
    parser.add_argument(
        "--only",
        action="append",
        help="measure the policies with this (or this) in their name; the JSON keeps the others",
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("runs/frontier"))
    parser.add_argument("--json", type=Path, help="benchmarks/results/frontier-NAME.json")
    parser.add_argument("--draw", type=Path, help="draw all results, and print the notes' tables")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.draw is not None:
        draw(RESULTS, asked.draw)
        print(table(RESULTS))
        return
    if asked.name is None:
        parser.error("--name: expected the network's name in the results, or --draw")
    path = asked.json or RESULTS / f"frontier-{asked.name}{'-quick' if asked.quick else ''}.json"
    known = json.loads(path.read_text())["streams"] if path.exists() else {}
    with torch.inference_mode():
        for name, found in measure(asked, known):
            known[name] = found
            save_json(path, {"network": asked.name, "streams": known})
    print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
