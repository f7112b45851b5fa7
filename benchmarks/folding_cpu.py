"""What folding batch normalisation gains on the CPU: the shipped network as it is, and the copy that runs.

    python benchmarks/folding_cpu.py [--rounds 15] [--out results.json]

A keyframe and four frames of the low-resolution branch, 640x360, one thread; versions take turns, processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import arseg
from arseg.networks.prepared import prepared
from arseg_ext.profiler.results import facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = arseg.load("lite0").eval()
    images = torch.randn(4, 3, 360, 640).contiguous(memory_format=torch.channels_last)
    ready = prepared(net, images[:1], torch.float32)
    assert ready is not None
    runs: dict[str, Callable[[], Any]] = {}
    for name, each in (("as it is", net), ("folded", ready)):
        runs[f"keyframe, {name}"] = lambda each=each: each.classifier(each.keyframe(images[:1]))
        runs[f"4 frames at 0.5x, {name}"] = lambda each=each: each.low_res(images)
    times: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for turn in range(given.rounds + 1):
            for name, run in runs.items():
                started = time.process_time()
                run()
                if turn:
                    times[name].append(1e3 * (time.process_time() - started))
    report: dict[str, Any] = {"facts": facts(["cpu"]), "threads": 1, "load of the machine": os.getloadavg()[0]}
    report["ms"] = {name: [round(x, 1) for x in statistics.quantiles(each, n=4)] for name, each in times.items()}
    for part in ("keyframe", "4 frames at 0.5x"):
        pairs = zip(times[f"{part}, as it is"], times[f"{part}, folded"], strict=True)
        ratios = [before / after for before, after in pairs]
        report[f"{part}: as it is / folded"] = [round(x, 3) for x in statistics.quantiles(ratios, n=4)]
    print(json.dumps({name: value for name, value in report.items() if name != "facts"}, indent=1))
    if given.out:
        given.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
