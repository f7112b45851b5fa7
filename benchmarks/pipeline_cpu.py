"""A stream of the paper's networks at 960x720: what frames between keyframes cost, and a group of pictures on average.

    python benchmarks/pipeline_cpu.py [--network PSPNet18] [--rounds 5] [--out results.json]

Random weights, batch normalisation folded, channels_last; versions interleaved, medians and quartiles. A frame that is
not a keyframe runs the network on the image at half the size, then the fusion: down to labels in one pass where the
feature has the image's size (PSPNet18), to logits and resized labels where it has not (BiSeNet18). Decoding with
the motion fields counts for the method, plain decoding for the network on every frame.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from arseg.data.street import StreetScene
from arseg.networks.folding import fold_batch_norm
from arseg.networks.paper.bisenet import BiSeNet
from arseg.networks.paper.pspnet import PSPNet
from arseg.video import VideoReader, encode
from arseg_ext import ops
from arseg_ext.nn import CReFF
from arseg_ext.profiler.results import ALLOCATOR, facts

SIZE = (720, 960)
GOP = 12
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
NETWORKS = {"PSPNet18": PSPNet, "BiSeNet18": BiSeNet}


def clip(folder: str) -> tuple[str, Tensor, int]:
    """A synthetic drive as H.264, and the vectors of one of its frames with their block."""
    path = str(Path(folder) / "street.mp4")
    street = StreetScene(0, width=SIZE[1], height=SIZE[0])
    encode((image for image, _ in street.frames(GOP)), path, rate=15, gop=GOP)
    with VideoReader(path) as reader:
        frame = list(reader)[GOP // 2]
    assert frame.motion is not None
    return path, torch.from_numpy(np.array(frame.motion.vectors))[None], frame.motion.block


def decode(path: str, vectors: bool) -> float:
    """Milliseconds a frame."""
    start = time.perf_counter()
    if vectors:
        with VideoReader(path) as reader:
            count = sum(1 for _ in reader)
    else:
        with av.open(path) as container:
            count = sum(frame.to_ndarray(format="rgb24").size > 0 for frame in container.decode(video=0))
    return (time.perf_counter() - start) * 1e3 / count


def steps(name: str, dtype: torch.dtype, motion: Tensor, block: int) -> dict[str, Callable[[], Any]]:
    torch.manual_seed(0)
    network, low_network = (
        fold_batch_norm(NETWORKS[name]()).to(dtype).to(memory_format=torch.channels_last) for _ in range(2)
    )
    fusion = CReFF(network.channels).to(dtype)
    image = torch.rand(1, 3, *SIZE).to(dtype).contiguous(memory_format=torch.channels_last)
    reference = network.features(image)
    options = {"block": block, "frame_size": SIZE}

    def finish(logits: Tensor) -> Tensor:
        return ops.resize_labels(logits, SIZE, align_corners=True)

    def low_res() -> Tensor:
        half = F.interpolate(image, (SIZE[0] // 2, SIZE[1] // 2), mode="bilinear", align_corners=True)
        return low_network.features(half)

    def between() -> Tensor:
        low = low_res()
        if reference.shape[2:] == SIZE:
            return fusion.labels(reference, low, motion, network.classifier, **options)
        return finish(fusion.logits(reference, low, motion, network.classifier, **options))

    return {
        "HR frame": lambda: finish(network.classifier(network.features(image))),
        "LR backbone": low_res,
        "AR frame": between,
    }


def measure(name: str, dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path, motion, block = clip(folder)
        times: dict[str, list[float]] = {"decode": [], "decode with motion": []}
        work = steps(name, dtype, motion, block)
        for step in work.values():
            step()
        for _ in range(rounds):
            for key, vectors in (("decode", False), ("decode with motion", True)):
                times[key].append(decode(path, vectors))
            for key, step in work.items():
                start = time.perf_counter()
                step()
                times.setdefault(key, []).append((time.perf_counter() - start) * 1e3)
    quartiles = {key: statistics.quantiles(value, n=4) for key, value in times.items()}
    ms = {key: value[1] for key, value in quartiles.items()}
    every = ms["decode"] + ms["HR frame"]
    group = ms["decode with motion"] + (ms["HR frame"] + (GOP - 1) * ms["AR frame"]) / GOP
    return {
        "ms": {key: round(value, 2) for key, value in ms.items()},
        "iqr": {key: [round(value[0], 2), round(value[2], 2)] for key, value in quartiles.items()},
        "AR frame / LR backbone": round(
            statistics.median(a / b for a, b in zip(times["AR frame"], times["LR backbone"], strict=True)), 3
        ),
        "group, against the network on every frame": round(every / group, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, action="append", help="default: both")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON")
    arguments = parser.parse_args()
    if any(os.environ.get(key) != value for key, value in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    report: dict[str, Any] = {"facts": facts(["cpu"]), "rows": {}}
    for name in arguments.network or NETWORKS:
        for kind, dtype in DTYPES.items():
            report["rows"][f"{name}-{kind}"] = row = measure(name, dtype, arguments.rounds)
            print(name, kind, json.dumps(row), flush=True)
            if arguments.out:
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
