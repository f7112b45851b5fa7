"""`arseg_ext.compat.localattention` beside the operators, on the CPU: python benchmarks/compat_localattention.py

The chain is what the original AR-Seg code runs, with its import line changed: similarities, softmax, weighting; as a
whole step, with the warp, the upsampling and the three convolutions of torch before it. Float32, window 7, contiguous.
Versions take turns; medians and quartiles. Results of both are compared first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import arseg_ext
from arseg_ext import ops
from arseg_ext.compat.localattention import f_similar, f_weighting

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "benchmarks" / "results" / "compat_localattention.json"
WINDOW = 7
SHAPES = ((64, 360, 480), (64, 180, 240), (256, 90, 120))
TOLERANCE = 1e-4  # float32, beside results of about 1


def chain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return f_weighting(value, f_similar(query, key, WINDOW, WINDOW).softmax(3), WINDOW, WINDOW)


def attention(shape: tuple[int, int, int]) -> dict[str, Callable[[], Tensor]]:
    maps = [torch.randn(1, *shape) * scale for scale in (0.3, 0.3, 1.0)]
    return {"localattention": lambda: chain(*maps), "ours": lambda: ops.local_attention(*maps, window=WINDOW)}


def training(shape: tuple[int, int, int]) -> dict[str, Callable[[], Tensor]]:
    maps = [torch.randn(1, *shape) * scale for scale in (0.3, 0.3, 1.0)]
    grad = torch.randn(1, *shape)

    def step(forward: Callable[..., Tensor]) -> Tensor:
        leaves = [x.detach().requires_grad_() for x in maps]
        return torch.cat(torch.autograd.grad(forward(*leaves), leaves, grad))

    return {
        "localattention": lambda: step(chain),
        "ours": lambda: step(lambda *leaves: ops.local_attention(*leaves, window=WINDOW)),
    }


def whole_step(shape: tuple[int, int, int]) -> dict[str, Callable[[], Tensor]]:
    channels, height, width = shape
    reference, low = torch.randn(1, *shape), torch.randn(1, channels, height // 2, width // 2)
    flow = torch.randint(-12, 13, (1, height, width, 2)).float()
    parameters = [torch.randn(channels, 1, 3, 3) * 0.1 if i % 2 == 0 else torch.zeros(channels) for i in range(6)]

    def original() -> Tensor:
        # The grid of the published networks.
        size = torch.tensor([width, height])
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        grid = (torch.stack([columns, rows], -1) + flow) * 2 / (size - 1) - 1
        warped = F.grid_sample(reference, grid, mode="bilinear", align_corners=False)
        up = F.interpolate(low, (height, width), mode="bilinear", align_corners=True)
        convolved = [
            F.conv2d(x, parameters[i], parameters[i + 1], padding=1, groups=channels)
            for i, x in ((0, up), (2, warped), (4, warped))
        ]
        return up + chain(*convolved)

    return {
        "localattention": original,
        "ours": lambda: ops.creff(reference, low, flow, *parameters, window=WINDOW, grid="legacy"),
    }


KINDS = {"attention": attention, "training": training, "step": whole_step}


def measure(versions: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, Any]:
    results = {name: version() for name, version in versions.items()}  # and a call to get warm
    difference = float((results["ours"] - results["localattention"]).abs().max())
    assert difference < TOLERANCE * max(1.0, float(results["ours"].abs().max())), difference
    times: dict[str, list[float]] = {name: [] for name in versions}
    for _ in range(rounds):
        for name, version in versions.items():
            start = time.perf_counter()
            version()
            times[name].append(1e3 * (time.perf_counter() - start))
    quartiles = {name: statistics.quantiles(found, n=4) for name, found in times.items()}
    ratios = [a / b for a, b in zip(times["localattention"], times["ours"], strict=True)]
    return {
        "ms": {name: round(found[1], 2) for name, found in quartiles.items()},
        "iqr": {name: [round(found[0], 2), round(found[2], 2)] for name, found in quartiles.items()},
        "ratio": round(statistics.median(ratios), 1),
        "difference": difference,
    }


def facts() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if os.path.exists("/proc/cpuinfo") else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    return {
        "processor": names[0] if names else platform.processor(),
        "capability": arseg_ext.build_config()["cpu_capability"],
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "commit": commit,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    report: dict[str, Any] = {"facts": facts(), "rounds": arguments.rounds, "rows": {}}
    print(json.dumps(report["facts"]))
    for shape in SHAPES:
        for kind, make in KINDS.items():
            torch.manual_seed(0)
            with torch.inference_mode(kind != "training"):
                row = measure(make(shape), arguments.rounds)
            name = f"{kind} {'x'.join(map(str, shape))}"
            report["rows"][name] = row
            print(name, row, flush=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
