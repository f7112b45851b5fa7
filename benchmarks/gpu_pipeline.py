"""The pipeline on a device: labels of decoded frames, in every mode, frame by frame and by groups, eager and recorded.

    python benchmarks/gpu_pipeline.py --record clip.npz VIDEO         on a machine with PyAV
    python benchmarks/gpu_pipeline.py --clip clip.npz --out pipeline.json

A GPU machine may have no PyAV: frames and fields come from a file. Without one, frames of the synthetic street and
fields of a drive straight on are made, and the report says so. Timed is all between a decoded frame and its label map
in host memory: upload, resizing, network, labels, download. Rows take turns; medians of the mean over groups of 12.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arseg.errors import InputError
from arseg.extras import needs
from arseg.labels import CAMVID, CITYSCAPES
from arseg.networks.arseg_net import ARSegNet
from arseg.preprocess import resized
from arseg.segment.graphs import CudaGraphs, Eager, StandIn
from arseg.segment.modes import Mode
from arseg.segment.segmenter import VideoSegmenter

GOP, BLOCK, FRAMES = 12, 4, 48
SHOWN: tuple[Mode, ...] = ("hr", "ar", "lr", "warp")
Size = tuple[int, int]


@dataclass(frozen=True)
class Field:
    vectors: np.ndarray
    block: int = BLOCK


@dataclass(frozen=True)
class Frame:
    """What the segmenter needs of a `VideoFrame`."""

    index: int
    image: np.ndarray
    motion: Field | None
    distance: int
    keyframe: bool
    frame_type: str = "P"
    records: None = None
    stream: None = None
    pts: None = None
    time_base: None = None
    time: None = None
    intra: float = 0.0


def record(video: str, to: Path, count: int = FRAMES) -> None:
    """Frames and fields of a video's first whole groups, to a file."""
    from arseg.video import VideoReader

    with VideoReader(video, gop=GOP, block=BLOCK) as reader:
        frames = [frame for frame, _ in zip(reader, range(count), strict=False)]
    fields = [np.zeros_like(frames[1].motion.vectors) if f.motion is None else f.motion.vectors for f in frames]
    np.savez_compressed(to, images=[f.image for f in frames], fields=fields, distances=[f.distance for f in frames])


def clip(path: Path | None, count: int = FRAMES) -> tuple[list[np.ndarray], list[np.ndarray], str]:
    """Images, fields, and where they come from."""
    if path is not None:
        with np.load(path) as stored:
            images, fields, distances = (list(stored[name]) for name in ("images", "fields", "distances"))
        if [int(d) for d in distances] != [index % GOP for index in range(len(distances))]:
            raise InputError(f"{path}: its groups are not of {GOP} frames; record another video")
        return images[:count], fields[:count], path.name
    from arseg.data.street import StreetScene

    images = [image for image, _ in StreetScene(0).frames(min(count, GOP))]
    rows, columns = (-(-side // BLOCK) for side in images[0].shape[:2])
    away = np.stack(np.meshgrid(np.arange(columns) - columns / 2, np.arange(rows) - rows / 2), -1)
    fields = [(away * index * 0.1).astype(np.int16) for index in range(len(images))]
    more = -(-count // len(images))
    return (images * more)[:count], (fields * more)[:count], "synthetic street"


def fitted(images: Sequence[np.ndarray], fields: Sequence[np.ndarray], size: Size) -> list[Frame]:
    """Frames at `size` = (height, width), with fields to go with it."""
    grid = [-(-side // BLOCK) for side in size]
    frames = []
    for index, (image, field) in enumerate(zip(images, fields, strict=True)):
        rows, columns = (np.arange(n) * have // n for n, have in zip(grid, field.shape[:2], strict=True))
        scale = np.array([size[1] / image.shape[1], size[0] / image.shape[0]])
        vectors = np.ascontiguousarray((field[rows][:, columns] * scale).round().astype(np.int16))
        key = index % GOP == 0
        frames.append(Frame(index, resized(image, size), None if key else Field(vectors), index % GOP, key))
    return frames


def lite0() -> ARSegNet:
    return VideoSegmenter().model


def paper(arch: str) -> ARSegNet:
    from arseg.networks.paper.published import make_published

    high: Any = make_published(arch, auxiliary=False)
    return ARSegNet(high, channels=high.channels, grid="legacy", label_set=CAMVID)


def segformer() -> ARSegNet:
    with needs("transformers", "SegFormer-B2"):
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

    import arseg

    shape: dict[str, Any] = {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 6, 3], "decoder_hidden_size": 768}
    network = SegformerForSemanticSegmentation(SegformerConfig(**shape, num_labels=19))
    return arseg.accelerate(network.eval(), size=(256, 512), label_set=CITYSCAPES)


@dataclass(frozen=True)
class Case:
    make: Callable[[], ARSegNet]
    size: Size
    offline: float  # ms a frame, asked for on an H100 or H200: by groups, and frame by frame
    latency: float


CASES = {
    "lite0 480x360": Case(lite0, (360, 480), 0.16, 0.9),
    "lite0 960x720": Case(lite0, (720, 960), 0.36, 1.3),
    "BiSeNet18 960x720": Case(lambda: paper("camvid-bise18"), (720, 960), 0.33, 1.1),
    "PSPNet18 960x720": Case(lambda: paper("camvid-psp18"), (720, 960), 1.9, 3.3),
    "SegFormer-B2 2048x1024": Case(segformer, (1024, 2048), 5.3, 8.2),
}


def graphs(device: torch.device, recorded: bool) -> Eager:
    if not recorded:
        return Eager(device)
    return CudaGraphs(device) if device.type == "cuda" else StandIn(device)


def busy(work: Callable[[], Any], device: torch.device) -> float | None:
    """Seconds in which kernels and copies ran on the device; None on the CPU."""
    if device.type != "cuda":
        return None
    kinds = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as profile:
        work()
        torch.cuda.synchronize(device)
    return sum(event.self_device_time_total for event in profile.key_averages()) / 1e6


def labelled(segmenter: VideoSegmenter, frames: Sequence[Any]) -> int:
    return sum(1 for _ in segmenter.segment_all(frames))


def measure(
    case: Case, frames: Sequence[Frame], device: torch.device, rounds: int, ends: float = float("inf")
) -> dict[str, Any]:
    """By row, "MODE BATCH CALLS": ms a frame with quartiles, frames a second, and the device's share of the time.

    `ends`: by the monotonic clock; no round begins after it but the first two, which quartiles need.
    """
    net, work = case.make().eval(), dict[str, Callable[[], int]]()
    for mode in SHOWN:
        for name, batch in (("1", 1), ("group", GOP - 1)):
            for calls in ("eager", "recorded"):
                segmenter = VideoSegmenter(net, mode=mode, gop=GOP, height="video", device=device, batch=batch)
                segmenter._engine.graphs = graphs(device, calls == "recorded")
                work[f"{mode} {name} {calls}"] = partial(labelled, segmenter, frames)
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 2):  # in the second, all that is recorded is
        if turn > 3 and time.monotonic() > ends:
            break
        for name, run in work.items():
            started = time.perf_counter()
            count = run()
            if turn > 1:
                times[name].append((time.perf_counter() - started) * 1e3 / count)
    rows = {}
    for name, run in work.items():
        ms, device_seconds = statistics.median(times[name]), busy(run, device)
        rows[name] = {
            "ms": round(ms, 4),
            "iqr": [round(q, 4) for q in statistics.quantiles(times[name], n=4)[::2]],
            "rounds": len(times[name]),
            "frames a second": round(1e3 / ms, 1),
            "share of the device's time": device_seconds and round(device_seconds * 1e3 / (len(frames) * ms), 3),
        }
    return {"rows": rows, **targets(case, {name: row["ms"] for name, row in rows.items()})}


def targets(case: Case, ms: dict[str, float]) -> dict[str, Any]:
    """How many times as fast AR is as HR by the same machinery, and what is asked for on an H100."""
    offline, latency = ms["ar group recorded"], ms["ar 1 recorded"]
    return {
        "HR batched / AR": round(ms["hr group recorded"] / offline, 2),
        "targets": {
            "offline": {"limit": case.offline, "value": offline, "met": offline <= case.offline},
            "latency": {"limit": case.latency, "value": latency, "met": latency <= case.latency},
        },
    }


def table(name: str, found: dict[str, Any]) -> Iterator[str]:
    kinds = [f"{batch} {calls}" for batch in ("1", "group") for calls in ("eager", "recorded")]
    yield " | ".join(["ms a frame", *kinds])
    for mode in SHOWN:
        cells = [found["rows"][f"{mode} {kind}"] for kind in kinds]
        shares = [cell["share of the device's time"] for cell in cells]
        told = ["" if share is None else f" {100 * share:.0f}%" for share in shares]
        yield " | ".join([f"{name} {mode}", *(f"{c['ms']:.4g}{t}" for c, t in zip(cells, told, strict=True))])
    yield f"{name}: {verdict(found)}"


def verdict(found: dict[str, Any]) -> str:
    """AR beside HR, and what is asked for."""
    told = [f"HR batched / AR {found['HR batched / AR']:g}"]
    for name, target in found["targets"].items():
        met = "met" if target["met"] else "missed"
        told.append(f"{name} {target['value']:.3g} ms (target {target['limit']:g}, {met})")
    return "; ".join(told)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", nargs=2, metavar=("FILE", "VIDEO"), help="make a clip; nothing is timed")
    parser.add_argument("--clip", type=Path, help="made with --record")
    parser.add_argument("--case", choices=CASES, action="append", help="default: all")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of all cases, to try it out")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no case begins after so many")
    parser.add_argument("--out", type=Path, help="JSON")
    given = parser.parse_args(arguments)
    if given.record:
        record(given.record[1], Path(given.record[0]), given.frames)
        return 0
    ends = time.monotonic() + given.seconds
    device = torch.device(given.device)
    images, fields, source = clip(given.clip, given.frames)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    report: dict[str, Any] = {"device": name, "torch": torch.__version__, "frames": source, "cases": {}}
    keys = given.case or list(CASES)
    for place, key in enumerate(keys):
        if time.monotonic() > ends:
            report["cases"][key] = {"failure": "not reached"}
            continue
        try:
            until = time.monotonic() + (ends - time.monotonic()) / (len(keys) - place)  # its share of what is left
            frames = fitted(images, fields, tuple(given.size or CASES[key].size))
            report["cases"][key] = found = measure(CASES[key], frames, device, given.rounds, until)
            print("\n".join(table(key, found)), flush=True)
        except Exception as error:  # the next network may do
            told = str(error) if isinstance(error, (ImportError, InputError)) else f"{type(error).__name__}: {error}"
            report["cases"][key] = {"failure": told}
            print(f"{key}: {told}", flush=True)
        if given.out:
            given.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if all("failure" in found for found in report["cases"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
