"""What exported networks gain or lose against PyTorch on this CPU, part by part; `arseg export` makes the folders.

    python benchmarks/export_cpu.py aoti/ onnx/ -o benchmarks/results/export.json

Each round runs all ways in turn on the same inputs; a ratio is that of one round, above 1 where the folder is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

import arseg
from arseg.export.exported import load_exported
from arseg.export.manifest import BLOCK
from arseg.networks.executor import Executor
from arseg.preprocess import network_inputs


def works(net: Executor, size: tuple[int, int], batch: int) -> dict[str, Callable[[], object]]:
    """What a stream asks for, by name."""
    noise = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (batch, *size, 3), dtype=torch.uint8, generator=noise)
    image = network_inputs(pixels, size, net.known_labels())
    reference = net.keyframe(image[:1])
    logits = net.classifier(reference)
    shape = (batch, -(-size[0] // BLOCK), -(-size[1] // BLOCK), 2)
    motion = torch.randint(-32, 33, shape, dtype=torch.int16, generator=noise)
    distance = torch.arange(1, batch + 1)
    seen = image, reference, motion, distance, logits
    return {
        "keyframe": lambda: net.classifier(net.keyframe(image)),
        "low": lambda: net.low_res(image),
        "between keyframes": lambda: net.step(*seen, block=BLOCK, frame_size=size),
    }


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("-w", "--weights", default="lite0")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    exported = [load_exported(folder) for folder in given.folders]
    nets: dict[str, Any] = {"pytorch": arseg.load(given.weights), **{net.manifest.format: net for net in exported}}
    size = exported[0].manifest.sizes[0].size
    rows = []
    for batch in given.batch:
        ways = {name: works(net, size, batch) for name, net in nets.items()}
        for part in ways["pytorch"]:
            times: dict[str, list[float]] = {name: [] for name in nets}
            for number in range(given.rounds + 1):
                for name, work in ways.items():
                    started = time.perf_counter()
                    work[part]()
                    if number:  # the first warms up
                        times[name].append((time.perf_counter() - started) * 1e3)
            row: dict[str, Any] = {"part": part, "batch": batch, "pytorch_ms": round(median(times["pytorch"]), 2)}
            for name in list(nets)[1:]:
                ratios = [one / other for one, other in zip(times["pytorch"], times[name], strict=True)]
                low, _, high = quantiles(ratios, n=4)
                row[name] = {"faster": round(median(ratios), 2), "quartiles": [round(low, 2), round(high, 2)]}
            rows.append(row)
            print(row, flush=True)
    record = {
        "command": f"python benchmarks/export_cpu.py aoti onnx -w {given.weights} --threads {given.threads}",
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {given.threads} threads",
        "torch": torch.__version__,
        "size": size,
        "rounds": given.rounds,
        "busy": f"load average {os.getloadavg()[0]:.1f}",
        "rows": rows,
    }
    if given.output is not None:
        given.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
