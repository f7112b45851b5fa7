"""Tables of CPU operators by processor time on one thread, and of what llvm-mca says of other processors."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from arseg_ext.profiler import results

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks" / "results"

VARIANTS = ("contiguous", "fp16", "bf16", "fp64")


def cpu_layouts() -> str:
    """Times those of float32 in channels_last, small maps and big ones."""
    report = json.loads((FOLDER / "layouts_cpu.json").read_text(encoding="utf-8"))
    lines = ["| times float32 channels_last | contiguous | fp16 | bf16 | fp64 |", "| --- | --- | --- | --- | --- |"]
    for name, sizes in report["rows"].items():
        cells = [" · ".join(f"{row[variant]['times']:.2f}" for row in sizes.values()) for variant in VARIANTS]
        op, *rest = name.split(",")
        lines.append(f"| {','.join([f'`{op}`', *rest])} | {' | '.join(cells)} |")
    return "\n" + "\n".join(lines) + "\n"


def cpu_cycles() -> str:
    """Cycles of an iteration over the fewest that its products take."""
    with (ROOT / "tests" / "package" / "cpu_cycles.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    processors = ("znver3", "skylake-avx512", "sapphirerapids", "znver4")
    lines = [f"| cycles (for the products alone) | {' | '.join(processors)} |", "| --- |" + " --- |" * len(processors)]
    for loop in dict.fromkeys(row["loop"] for row in rows):
        by = {row["processor"]: row for row in rows if row["loop"] == loop}
        cells = [f"{by[name]['cycles']} ({by[name]['least']})" for name in processors]
        lines.append(f"| {loop} | {' | '.join(cells)} |")
    return "\n" + "\n".join(lines) + "\n"


# The row's text, its name where {} is the dtype, the version beside ours, and what is asked for.
ZEN3_ROWS = (
    ("`creff` 64×720×960", "creff 64x720x960 {}", "compiled", "6 · 8"),
    ("`creff` 256×90×120", "creff 256x90x120 {} frame_size=720x960", "compiled", "3.3"),
    ("`creff` 512×128×256", "creff 512x128x256 {} frame_size=1024x2048", "compiled", "4"),
    ("`local_attention` 64×720×960", "local_attention 64x720x960 {}", "compiled", ""),
    ("`local_attention` 64×360×480", "local_attention 64x360x480 {}", "compiled", ""),
    ("`mv_warp` 64×720×960, against a copy", "mv_warp 64x720x960 {}", "copy", "0.95"),
    ("`flow_warp` 64×720×960, against a copy", "flow_warp 64x720x960 {}", "copy", "0.95"),
    ("training step 64×360×480, gradient of the keyframe too", "creff 64x360x480 {} training", "compiled", ""),
)


def cpu_zen3() -> str:
    """On one thread: times of ours, the other's over ours, and the share of a matrix product's rate."""
    rows = {row["name"]: results.times(row) for row in results.read(FOLDER / "cpu-zen3.json")["rows"]}
    lines = [
        "| | fp32 ms | other / ours | of `torch.mm` | bf16 ms | other / ours | target |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for text, name, other, target in ZEN3_ROWS:
        cells = [text]
        for dtype in ("fp32", "bf16"):
            versions = rows.get(name.format(dtype))
            cells += (
                ["", ""]
                if versions is None
                else [f"{versions['ours']['us'] / 1e3:.1f}", f"{versions[other]['times ours']:.2f}"]
            )
            if dtype == "fp32":
                cells.append("" if versions is None or other == "copy" else _share(versions["ours"]))
        lines.append(f"| {' | '.join([*cells, target])} |")
    return "\n" + "\n".join(lines) + "\n"


def _share(version: dict[str, Any]) -> str:
    return f"{100 * version['share of matmul']:.0f} %" if "share of matmul" in version else ""
