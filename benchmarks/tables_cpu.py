"""Tables of CPU operators by processor time on one thread, and of what llvm-mca says of other processors."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tables_video import FOLDER, load, table

from arseg_ext.profiler import results

CYCLES = Path(__file__).resolve().parent.parent / "tests" / "package" / "cpu_cycles.csv"
VARIANTS = ("contiguous", "fp16", "bf16", "fp64")
PROCESSORS = ("znver3", "skylake-avx512", "sapphirerapids", "znver4")


def cpu_layouts() -> str:
    """Times those of float32 in channels_last, small maps and big ones."""
    rows = []
    for name, sizes in load("layouts_cpu.json")["rows"].items():
        op, *rest = name.split(",")
        cells = [" · ".join(f"{row[variant]['times']:.2f}" for row in sizes.values()) for variant in VARIANTS]
        rows.append([",".join([f"`{op}`", *rest]), *cells])
    return table(["times float32 channels_last", *VARIANTS], rows)


def cpu_cycles() -> str:
    """Cycles of an iteration over the fewest that its products take."""
    with CYCLES.open(encoding="utf-8", newline="") as file:
        found = {(row["loop"], row["processor"]): f"{row['cycles']} ({row['least']})" for row in csv.DictReader(file)}
    loops = dict.fromkeys(loop for loop, _ in found)
    rows = [[loop, *(found[loop, processor] for processor in PROCESSORS)] for loop in loops]
    return table(["cycles (for the products alone)", *PROCESSORS], rows)


# The row's text, its name where {} is the dtype, the version beside ours, and what is asked for.
ZEN3_ROWS = (
    ("`creff` 64×720×960", "creff 64x720x960 {}", "compiled", "6 · 8"),
    ("`creff` 64×360×480", "creff 64x360x480 {}", "compiled", "5 · 7"),
    ("`creff` 256×90×120", "creff 256x90x120 {} frame_size=720x960", "compiled", "3.3"),
    ("`creff` 512×128×256", "creff 512x128x256 {} frame_size=1024x2048", "compiled", "4"),
    ("`local_attention` 64×720×960", "local_attention 64x720x960 {}", "compiled", "50 % of `torch.mm`"),
    ("`local_attention` 64×360×480", "local_attention 64x360x480 {}", "compiled", ""),
    ("`mv_warp` 64×720×960, against a copy", "mv_warp 64x720x960 {}", "copy", "0.95"),
    ("`flow_warp` 64×720×960, against a copy", "flow_warp 64x720x960 {}", "copy", "0.95"),
    ("`creff_labels` 64×720×960, against fusion and torch's head", "creff_labels 64x720x960 {}", "head", "1.5"),
    ("training step 64×360×480", "creff 64x360x480 {} frozen=reference training", "compiled", "4"),
    ("training step 64×360×480, gradient of the keyframe too", "creff 64x360x480 {} training", "compiled", "4"),
)


def cpu_zen3() -> str:
    """Times of ours, the other's over ours, and the share of a matrix product's rate."""
    found = {row["name"]: results.times(row) for row in results.read(FOLDER / "cpu-zen3.json")["rows"]}
    rows = []
    for text, name, other, target in ZEN3_ROWS:
        float32, bfloat16 = (found.get(name.format(dtype)) for dtype in ("fp32", "bf16"))
        share = "" if float32 is None or other == "copy" else f"{100 * float32['ours']['share of matmul']:.0f} %"
        rows.append([text, *_pair(float32, other), share, *_pair(bfloat16, other), target])
    return table(["", "fp32 ms", "other / ours", "of `torch.mm`", "bf16 ms", "other / ours", "target"], rows)


def _pair(versions: dict[str, Any] | None, other: str) -> list[str]:
    """Milliseconds of ours, and how many times that the other takes; empty where they were not measured."""
    if versions is None:
        return ["", ""]
    return [f"{versions['ours']['us'] / 1e3:.1f}", f"{versions[other]['times ours']:.2f}" if other in versions else ""]


FIGURES: dict[str, Callable[[], str]] = {
    "cpu layouts": cpu_layouts,
    "cpu cycles": cpu_cycles,
    "cpu zen3": cpu_zen3,
}
