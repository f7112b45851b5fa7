"""Tiles, chunks and threads that the CUDA kernels are compiled with, from the traits of csrc/*/params.h."""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from pathlib import Path

from emulator.emulator_build import HERE, ROOT, compiler

REGISTERS = 65_536  # of a multiprocessor, sm_80 and sm_90


@functools.cache
def kernel_traits() -> dict[str, int]:
    """Such as {"AttentionTraits::Mma::kTileHeight": 8}."""
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder, "kernel_traits"))
        command = [compiler(), "-std=c++20", f"-I{ROOT / 'csrc'}", str(HERE / "kernel_traits.cpp"), "-o", program]
        subprocess.run(command, check=True)
        lines = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: int(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def resident_threads(kernel: str) -> int:
    """Threads of a kernel, such as "attention_forward_mma<half, 64, 7>", that a multiprocessor is to hold at once."""
    traits = kernel_traits()
    name, *arguments = re.split(r"[<>, ]+", kernel)
    if name.startswith(("attention_", "fused_attention")) and not name.endswith("simt"):
        window = int(arguments[2 if name.endswith("_mma") else 1])
        return (
            traits["AttentionTraits::Mma::kThreads"]
            * traits[f"AttentionTraits::Mma::blocks_of_multiprocessor({window})"]
        )
    if name == "attention_forward_simt":
        return traits[f"AttentionTraits::Simt::forward_threads({arguments[0]})"]
    if name in ("depthwise_conv", "keys_and_values", "queries_and_upsampled"):
        depthwise = "CreffTraits::Depthwise::"
        blocks = "kBlocksWithSums" if "(Values)3" in kernel else "kBlocksOfMultiprocessor"
        return traits[f"{depthwise}kThreads"] * traits[f"{depthwise}{blocks}"]
    if name == "depthwise_backward":
        return traits["DepthwiseTraits::kThreads"] * traits["DepthwiseTraits::kBlocksOfMultiprocessor"]
    families = {
        "attention_backward_simt": "AttentionTraits::Simt::backward_threads",
        "fallback_": "AttentionTraits::Fallback::kThreads",
        "classify": "CreffTraits::Classify::kThreads",
        "pack_": "CreffTraits::Pack::kThreads",
        "depthwise_backward_sums": "DepthwiseTraits::kThreads",
        "resize_labels": "ResizeLabelsTraits::kThreads",
        "upsample_backward": "UpsampleTraits::kThreads",
    }
    trait = next((trait for start, trait in families.items() if name.startswith(start)), "WarpTraits::kThreads")
    return traits[trait]
