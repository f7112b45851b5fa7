"""The CPU kernels against torch.compile, interleaved in one process.

    python benchmarks/compare_cpu.py [NAME ...] [--rounds 15] [--out results.json] [--list]

Everything is channels_last, on as many threads as torch has. Each round runs every version once; a row gives the
medians, their interquartile ranges, and the median of the ratios of the rounds. Results are compared before anything
is timed. Unless --plain-allocator is given, the script starts itself again with an allocator that keeps its pages
(MALLOC_MMAP_MAX_=0): fresh pages for every result would cost both sides the same, and hide the difference.

The peak is that of torch.mm on square matrices, a proxy for what the multipliers can do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plain
import torch
import torch.nn.functional as F
from torch import Tensor

import arseg_ext
from arseg_ext import ops

ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
BLOCK = 16
# channels, height, width, video pixels for one of the map
CREFF = {
    "64x720x960": (64, 720, 960, 1),
    "64x360x480": (64, 360, 480, 1),
    "128x90x120": (128, 90, 120, 8),
    "256x90x120": (256, 90, 120, 8),
    "512x128x256": (512, 128, 256, 8),
}
Version = Callable[[], Any]


def channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


class Inputs:
    """Random maps, vectors of up to 20 video pixels in blocks of 16, half of them 0, and the same as dense flow."""

    def __init__(self, shape: tuple[int, int, int, int], dtype: torch.dtype):
        channels, height, width, stride = shape
        generator = torch.Generator().manual_seed(0)

        def randn(*size: int) -> Tensor:
            return torch.randn(*size, generator=generator)

        self.reference = channels_last(randn(1, channels, height, width).to(dtype))
        self.low_res = channels_last(randn(1, channels, height // 2, width // 2).to(dtype))
        self.parameters = [
            tensor.to(dtype)
            for gain in (0.2, 0.2, 0.33)
            for tensor in (gain * randn(channels, 1, 3, 3), 0.1 * randn(channels))
        ]
        frame = (height * stride, width * stride)
        blocks = (1, -(-frame[0] // BLOCK), -(-frame[1] // BLOCK), 2)
        self.motion = torch.randint(-80, 81, blocks, generator=generator).to(torch.int16)
        self.motion[torch.rand(blocks[:3], generator=generator) < 0.5] = 0
        self.options: dict[str, Any] = {"block": BLOCK, "frame_size": frame}
        self.flow = arseg_ext.oracle.block_flow(self.motion, (height, width), **self.options).float()


def creff_flops(shape: tuple[int, int, int, int]) -> float:
    """QK and PV, three depthwise convolutions, and about 12.4 for each element of warp and upsampling."""
    channels, height, width, _ = shape
    return height * width * channels * (4 * 49 + 3 * 18 + 12.4)


def creff(shape: tuple[int, int, int, int], dtype: torch.dtype) -> tuple[dict[str, Version], float]:
    x = Inputs(shape, dtype)
    out = torch.empty_like(x.reference)
    compiled = torch.compile(plain.creff)
    return {
        "ours": lambda: ops.creff(x.reference, x.low_res, x.motion, *x.parameters, out=out, **x.options),
        "ours, fresh result": lambda: ops.creff(x.reference, x.low_res, x.motion, *x.parameters, **x.options),
        "compiled": lambda: compiled(x.reference, x.low_res, x.flow, *x.parameters),
    }, creff_flops(shape)


def attention(shape: tuple[int, int, int, int], dtype: torch.dtype) -> tuple[dict[str, Version], float]:
    query, key, value = (channels_last(t) for t in torch.randn(3, 1, *shape[:3]).mul(0.3).to(dtype).unbind())
    compiled = torch.compile(plain.local_attention)
    return {
        "ours": lambda: ops.local_attention(query, key, value, window=7),
        "compiled": lambda: compiled(query, key, value),
    }, 4 * 49 * shape[0] * shape[1] * shape[2]


def alone(shape: tuple[int, int, int, int], dtype: torch.dtype, window: int = 7) -> tuple[dict[str, Version], float]:
    """Attention of ours, for its speed at other windows, channels and dtypes; "again" shows the noise."""
    query, key, value = (channels_last(t) for t in torch.randn(3, 1, *shape[:3]).mul(0.3).to(dtype).unbind())

    def run() -> Tensor:
        return ops.local_attention(query, key, value, window=window)

    return {"ours": run, "again": run}, 4 * window**2 * shape[0] * shape[1] * shape[2]


def warps(shape: tuple[int, int, int, int], dtype: torch.dtype) -> tuple[dict[str, Version], float]:
    x = Inputs(shape, dtype)
    out = torch.empty_like(x.reference)
    return {
        "ours": lambda: ops.mv_warp(x.reference, x.motion, **x.options),
        "ours, flow_warp": lambda: ops.flow_warp(x.reference, x.flow),
        "copy": lambda: out.copy_(x.reference),
    }, 0.0


def training(
    shape: tuple[int, int, int, int], dtype: torch.dtype, with_reference: bool = False
) -> tuple[dict[str, Version], float]:
    """Forward and backward. In AR-Seg's training the keyframe's branch is frozen: no gradient to the reference."""
    x = Inputs(shape, dtype)
    leaves = [x.low_res, *x.parameters, *([x.reference] if with_reference else [])]
    for leaf in leaves:
        leaf.requires_grad_()
    grad = channels_last(torch.randn(x.reference.shape).to(dtype))
    compiled = torch.compile(plain.creff)

    def ours() -> Tensor:
        out = ops.creff(x.reference, x.low_res, x.motion, *x.parameters, **x.options)
        return torch.autograd.grad(out, leaves, grad)[0]

    def theirs() -> Tensor:
        out = compiled(x.reference, x.low_res, x.flow, *x.parameters)
        return torch.autograd.grad(out, leaves, grad)[0]

    return {"ours": ours, "compiled": theirs}, 0.0


def labels(shape: tuple[int, int, int, int], dtype: torch.dtype) -> tuple[dict[str, Version], float]:
    x = Inputs(shape, dtype)
    out = torch.empty_like(x.reference)
    weight, bias = torch.randn(12, shape[0]).to(dtype) / 8, torch.randn(12).to(dtype) / 10

    def head() -> Tensor:
        fused = ops.creff(x.reference, x.low_res, x.motion, *x.parameters, out=out, **x.options)
        return F.conv2d(fused, weight[:, :, None, None], bias).argmax(1).to(torch.uint8)

    return {
        "ours": lambda: ops.creff_labels(x.reference, x.low_res, x.motion, *x.parameters, weight, bias, **x.options),
        "fused + torch head": head,
    }, 0.0


def rows() -> dict[str, tuple[Callable[..., tuple[dict[str, Version], float]], tuple[Any, ...]]]:
    big, middle = CREFF["64x720x960"], CREFF["64x360x480"]
    found: dict[str, Any] = {}
    for name, dtype in DTYPES.items():
        for size, shape in CREFF.items():
            found[f"creff-{size}-{name}"] = (creff, (shape, dtype))
        found[f"attention-64x720x960-{name}"] = (attention, (big, dtype))
        found[f"attention-64x360x480-{name}"] = (attention, (middle, dtype))
        found[f"warp-64x720x960-{name}"] = (warps, (big, dtype))
        found[f"training-64x360x480-{name}"] = (training, (middle, dtype))
        found[f"training-reference-64x360x480-{name}"] = (training, (middle, dtype, True))
    for window in (3, 5, 7, 9, 11, 15):
        found[f"window-{window}-fp32"] = (alone, (middle, torch.float32, window))
    for channels in (16, 32, 48, 72, 128, 256, 512):
        found[f"channels-{channels}-fp32"] = (alone, ((channels, 180, 240, 1), torch.float32))
    found["dtype-fp16"] = (alone, (middle, torch.float16))
    found["dtype-fp64"] = (alone, (middle, torch.float64))
    found["labels-64x720x960-fp32"] = (labels, (big, torch.float32))
    return found


def compare(versions: dict[str, Version], dtype: torch.dtype, inference: bool) -> dict[str, float]:
    """Largest difference from "ours", relative to its largest value; for labels the share that is equal."""
    with torch.inference_mode(inference):
        first, *others = (version().clone() for version in versions.values())
    found = {}
    for name, other in zip(list(versions)[1:], others, strict=True):
        if first.dtype == torch.uint8:
            found[name] = float((first == other).float().mean())
            good = found[name] > 0.9999
        else:
            found[name] = float((first.float() - other.float()).abs().max() / first.float().abs().max())
            good = name == "copy" or found[name] < TOLERANCE.get(dtype, 1e-2)
        if not good:
            raise SystemExit(f"results differ: ours and {name}, {found[name]:.3g}")
    return found


def measure(versions: dict[str, Version], rounds: int, inference: bool) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in versions}
    with torch.inference_mode(inference):
        for turn in range(rounds + 2):
            for name, version in versions.items():
                start = time.perf_counter()
                version()
                if turn >= 2:
                    times[name].append((time.perf_counter() - start) * 1e3)
    return times


def peak(dtype: torch.dtype) -> float:
    """GFLOP/s of torch.mm, the best of several."""
    a, b = torch.randn(2, 2048, 2048).to(dtype).unbind()
    best = 1e9
    for _ in range(12):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best / 1e9


def facts() -> dict[str, Any]:
    processor = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), processor)
    return {
        "processor": processor,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "build": {k: v for k, v in arseg_ext.build_config().items() if k != "library"},
        "allocator": {name: os.environ.get(name, "") for name in ALLOCATOR},
        "peak GFLOP/s": {name: round(peak(dtype), 1) for name, dtype in DTYPES.items()},
    }


def run(name: str, rounds: int, peaks: dict[str, float]) -> dict[str, Any]:
    make, arguments = rows()[name]
    dtype = arguments[1]
    inference = make is not training
    versions, flops = make(*arguments)
    differences = compare(versions, dtype, inference)
    times = measure(versions, rounds, inference)
    quartiles = {key: statistics.quantiles(value, n=4) for key, value in times.items()}
    row: dict[str, Any] = {
        "ms": {key: round(value[1], 3) for key, value in quartiles.items()},
        "iqr": {key: [round(value[0], 3), round(value[2], 3)] for key, value in quartiles.items()},
        "ratio": {
            key: round(statistics.median(b / a for a, b in zip(times["ours"], value, strict=True)), 2)
            for key, value in times.items()
            if key != "ours"
        },
        "difference": differences,
    }
    if flops:
        speed = flops / quartiles["ours"][1] / 1e6
        row["GFLOP/s"] = round(speed, 1)
        if name.rsplit("-", 1)[1] in peaks:
            row["share of peak"] = round(speed / peaks[name.rsplit("-", 1)[1]], 3)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="rows, or beginnings of their names; all of them by default")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="JSON; rows that are there already are kept or replaced")
    parser.add_argument("--plain-allocator", action="store_true")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(rows()))
        return
    if not arguments.plain_allocator and any(os.environ.get(k) != v for k, v in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    names = [name for name in rows() if not arguments.names or name.startswith(tuple(arguments.names))]
    report: dict[str, Any] = {"facts": facts(), "rows": {}}
    if arguments.out and arguments.out.exists():
        report["rows"] = json.loads(arguments.out.read_text(encoding="utf-8"))["rows"]
    print(json.dumps(report["facts"]))
    print("| | ours ms (IQR) | other | ms | other / ours | GFLOP/s | of peak |\n| --- " + "| --- " * 6 + "|")
    for name in names:
        torch.compiler.reset()
        row = report["rows"][name] = run(name, arguments.rounds, report["facts"]["peak GFLOP/s"])
        low, high = row["iqr"]["ours"]
        for other, ratio in row["ratio"].items():
            print(
                f"| {name} | {row['ms']['ours']:.2f} ({low:.2f}-{high:.2f}) | {other} | {row['ms'][other]:.2f} "
                f"| {ratio:.2f} | {row.get('GFLOP/s', '')} | {row.get('share of peak', '')} |",
                flush=True,
            )
        if arguments.out:
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
