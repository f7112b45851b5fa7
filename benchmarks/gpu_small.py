"""Every operator on small odd shapes, forward and backward: what gpu_check.py runs under compute-sanitizer and ncu.

Prints "all operators ran" at its end; that results are right is for the tests.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from arseg_ext import ops

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
WINDOWS = (3, 7, 9, 11)


def run(device: str, dtype: torch.dtype, channels: int, height: int, width: int, window: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def randn(*size: int, scale: float = 1.0) -> Tensor:
        made = (scale * torch.randn(size, generator=generator)).to(device, dtype)
        return made.contiguous(memory_format=torch.channels_last) if made.dim() == 4 else made

    leaves = [randn(1, channels, height, width, scale=0.5).requires_grad_() for _ in range(3)]
    low = randn(1, channels, -(-height // 2), width // 2).requires_grad_()
    parameters = [randn(*size, scale=0.2) for _ in range(3) for size in ((channels, 1, 3, 3), (channels,))]
    field = {"block": 8, "frame_size": (8 * height, 8 * width)}
    motion = torch.randint(-90, 90, (1, height, width, 2), generator=generator).to(device, torch.int16)
    flow = (3 * torch.randn(1, height, width, 2, generator=generator)).to(device).requires_grad_()
    ops.local_attention(*leaves, window=window).square().sum().backward()
    ops.mv_warp(leaves[0], motion, grid="legacy", **field).square().sum().backward()
    ops.flow_warp(leaves[0], flow).square().sum().backward()
    ops.creff(leaves[0], low, motion, *parameters, window=window, **field).square().sum().backward()
    with torch.no_grad():
        given = [leaves[0].detach(), low.detach(), motion, *parameters]
        classifier = [randn(12, channels, scale=0.2), randn(12)]
        ops.creff(*given, window=window, outside="masked", **field)
        logits = ops.creff_logits(*given, *classifier, window=window, **field)
        ops.creff_labels(*given, *classifier, window=window, **field)
        ops.resize_labels(logits, (2 * height, 2 * width))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--large", action="store_true", help="one call of each at 64x720x960 in bfloat16, for ncu")
    arguments = parser.parse_args()
    if arguments.large:
        run(arguments.device, torch.bfloat16, 64, 720, 960, 7)
    else:
        for dtype in DTYPES:
            # A tile and a rest of one; channels of whole vectors and not, and more than one chunk of them.
            for window, channels in zip(WINDOWS, (5, 72, 32, 8), strict=True):
                run(arguments.device, dtype, channels, 9, 19, window)
    if torch.device(arguments.device).type == "cuda":
        torch.cuda.synchronize()
    print("all operators ran")


if __name__ == "__main__":
    main()
