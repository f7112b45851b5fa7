"""Measured figures in the pages, made of the results: `python benchmarks/tables.py` writes them anew, --check compares.

A figure stands between `<!-- measured: NAME -->` and `<!-- end -->`; FIGURES has the functions that make it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import frontier_plot
import tables_cpu
import tables_networks
import tables_runs
import tables_video

from arseg_ext.profiler import results

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "docs/accelerate.md",
    "docs/cuda.md",
    "docs/export.md",
    "docs/howto/vectors.md",
    "docs/kernels.md",
    "docs/many-videos.md",
    "docs/notes/frontier.md",
    "docs/notes/motion-fields.md",
    "docs/performance.md",
    "docs/reproduce.md",
    "docs/zoo.md",
)
FOLDER = ROOT / "benchmarks" / "results"
BLOCK = re.compile(r"(<!-- measured: ([\w ]+) -->)(.*?)(<!-- end -->)", re.DOTALL)
Rows = dict[str, dict[str, Any]]


def rows_of(report: results.Report) -> Rows:
    """Versions by the row's name."""
    return {row["name"]: results.times(row) for row in report["rows"]}


def cpu() -> Rows:
    return rows_of(results.read(FOLDER / "cpu.json"))


def gpu() -> Rows:
    report = json.loads((FOLDER / "gpu-nvidia-h200.json").read_text(encoding="utf-8"))
    return rows_of(report["phases"]["benchmarks"])


def ms(version: dict[str, Any]) -> str:
    low, high = version["quartiles us"]
    return f"{version['us'] / 1e3:.1f} ({low / 1e3:.1f}–{high / 1e3:.1f})"


# The row's text, its name where {} is the dtype, and what the design asked for.
CPU_ROWS = (
    ("`creff` 64×720×960", "creff 64x720x960 {}", "5.5 · 8"),
    ("`creff` 64×360×480", "creff 64x360x480 {}", "3.5 · 6.5"),
    ("`creff` 128×90×120", "creff 128x90x120 {} frame_size=720x960", ""),
    ("`creff` 256×90×120", "creff 256x90x120 {} frame_size=720x960", "3 · 5"),
    ("`creff` 512×128×256", "creff 512x128x256 {} frame_size=1024x2048", "3 · 5"),
    ("`local_attention` 64×720×960, window 7", "local_attention 64x720x960 {}", "5 · 6"),
    ("`local_attention` 64×360×480", "local_attention 64x360x480 {}", ""),
    (
        "training step 64×360×480 (forward, backward)",
        "creff 64x360x480 {} frozen=reference training",
        "2.5 · 3",
    ),
    ("the same, gradient of the keyframe too", "creff 64x360x480 {} training", ""),
)


def cpu_table() -> str:
    rows = cpu()
    lines = [
        "| | fp32 ms | compiled / ours | bf16 ms | compiled / ours | target |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for text, name, target in CPU_ROWS:
        cells = [text]
        for dtype in ("fp32", "bf16"):
            versions = rows[name.format(dtype)]
            cells += [ms(versions["ours"]), f"**{versions['compiled']['times ours']:.2f}**"]
        lines.append(f"| {' | '.join([*cells, target])} |")
    return "\n" + "\n".join(lines) + "\n"


def cpu_warps() -> str:
    rows = cpu()
    speeds = {
        op: [rows[f"{op} 64x720x960 {dtype}"]["copy"]["times ours"] for dtype in ("fp32", "bf16")]
        for op in ("mv_warp", "flow_warp")
    }
    labels = rows["creff_labels 64x720x960 fp32"]
    mv, flow = speeds.values()
    return (
        f"`mv_warp` 64×720×960 runs at {mv[0]:.2f}× the speed of a copy in float32 and {mv[1]:.2f}× in bfloat16, "
        f"`flow_warp` at {flow[0]:.2f}× and {flow[1]:.2f}× (target 0.9). `creff_labels` with 12 classes takes "
        f"{labels['ours']['us'] / 1e3:.0f} ms, the fusion and torch's classifier and argmax "
        f"{labels['head']['us'] / 1e3:.0f} ms: {labels['head']['times ours']:.2f}× (target 1.4)"
    )


def cpu_speeds() -> str:
    rows = cpu()
    fp32, bf16 = (rows[f"creff 64x720x960 {dtype}"]["ours"] for dtype in ("fp32", "bf16"))
    return (
        f"`creff` 64×720×960 reaches {fp32['GFLOP/s']:.0f} in float32 and {bf16['GFLOP/s']:.0f} in bfloat16: "
        f"{100 * fp32['share of matmul']:.0f} % and {100 * bf16['share of matmul']:.0f} %"
    )


def cpu_attention() -> str:
    rows = cpu()

    def speed(name: str) -> str:
        return f"{rows[f'local_attention {name}']['ours']['GFLOP/s']:.0f}"

    windows = [
        f"{side} {speed('64x360x480 fp32' + ('' if side == 7 else f' window={side}x{side}'))}" for side in WINDOWS
    ]
    channels = [f"{count} {speed(f'{count}x180x240 fp32')}" for count in CHANNELS]
    return (
        f"windows {', '.join(windows)} (64×360×480); channels {', '.join(channels)} (180×240); "
        f"float16 {speed('64x360x480 fp16')}, float64 {speed('64x360x480 fp64')}"
    )


WINDOWS = (3, 5, 7, 9, 11, 15)
CHANNELS = (16, 32, 48, 72, 128, 256, 512)
GPU_OPERATORS = (
    ("`creff`", "creff", "forward"),
    ("labels out", "creff_labels", "forward"),
    ("attention", "local_attention", "forward"),
    ("`mv_warp`", "mv_warp", "forward"),
    ("gradient of `mv_warp`", "mv_warp", "backward"),
)
GPU_MAPS = (
    ("64x720x960", "bf16"),
    ("256x90x120", "bf16"),
    ("512x128x256", "bf16"),
    ("64x720x960", "fp32"),
    ("256x90x120", "fp32"),
)


def gpu_table() -> str:
    report = json.loads((FOLDER / "gpu-nvidia-h200.json").read_text(encoding="utf-8"))["phases"]["benchmarks"]
    found = {}
    for row in report["rows"]:
        size = "x".join(map(str, row["problem"]["shape"][1:]))
        key = (
            row["op"],
            row["direction"],
            size,
            row["problem"]["dtype"].replace("bfloat", "bf").replace("float", "fp"),
        )
        found[key] = results.times(row)
    lines = [
        "| | " + " | ".join(f"{size} {dtype}" for size, dtype in GPU_MAPS) + " |",
        "| --- " * (1 + len(GPU_MAPS)) + "|",
    ]
    for text, op, direction in GPU_OPERATORS:
        cells = [_times(found.get((op, direction, *map_), {})) for map_ in GPU_MAPS]
        lines.append(f"| {' | '.join([text, *cells])} |")
    return "\n" + "\n".join(lines) + "\n"


def _times(versions: dict[str, Any]) -> str:
    if "ours" not in versions:
        return ""
    ratio = versions.get("eager", {}).get("times ours")
    others = "" if ratio is None else f" ({ratio:.2g})" if ratio < 100 else f" ({ratio:.0f})"
    return f"{versions['ours']['us']:.0f}{others}"


def gpu_fusion() -> str:
    row = gpu()["creff 64x720x960 bf16 device=cuda"]
    return f"{row['ours']['us'] / 1e3:.1f} ms, {row['eager']['times ours']:.0f} times"


FRONTIER_ROWS = (
    ("every frame", "HR"),
    ("**without options**: `--policy ensemble`", "arseg --budget, 1/3, ensemble"),
    ("**`--budget 33%`**", "arseg --budget, 1/3"),
    ("**`--budget 17%`**", "arseg --budget, 1/6"),
    ("**`--budget 8.3%`**", "arseg --budget, 1/12"),
    ("AR-Seg, a keyframe every 12th frame", "AR, L = 12"),
    ("the last keyframe moved, every 3rd", "warp, L = 3"),
    ("the last keyframe moved, every 12th", "warp, L = 12"),
)


def frontier(network: str, stream: str = "val") -> Rows:
    """Rows of one network on one stream by name."""
    rows: Rows = json.loads((FOLDER / f"frontier-{network}.json").read_text(encoding="utf-8"))["streams"][stream][
        "rows"
    ]
    return rows


def budgets() -> str:
    networks = {name: frontier(name) for name in ("lite0", "pspnet18", "bisenet18", "lraspp18")}
    clips = [frontier("lite0", f"{name} 30") for name in ("saber_road", "dashcam1")]
    lines = [
        "| | compute | lite0 | PSPNet18 | BiSeNet18 | LRASPP | lite0 agrees: saber_road · dashcam1 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for text, name in FRONTIER_ROWS:
        cells = [f"{rows[name]['miou']:.1f}" if name in rows else "" for rows in networks.values()]
        agrees = " · ".join(f"{rows[name]['agreement']:.1f}" for rows in clips)
        compute = f"{networks['lite0'][name]['compute']:.2f}"
        lines.append(f"| {' | '.join([text, compute, *cells, agrees])} |")
    return "\n" + "\n".join(lines) + "\n"


# mIoU of HR, LR and AR at 0.5x on CamVid's test, the mean over distances 0 to 11: the authors' evaluation files.
PUBLISHED = {"pspnet18": (69.43, 66.56, 70.48), "bisenet18": (71.57, 66.55, 70.37)}


def reproduced() -> str:
    lines = [
        "| | PSPNet18 published | PSPNet18 here | BiSeNet18 published | BiSeNet18 here |",
        "| --- | --- | --- | --- | --- |",
    ]
    rows = {name: frontier(name) for name in PUBLISHED}
    for place, (text, name) in enumerate(
        (
            ("every frame at full resolution", "HR"),
            ("every frame at 0.5×, by the network for small frames", "branch alone"),
            ("**AR-Seg at 0.5×, a keyframe every 12th frame**", "AR, L = 12"),
            ("the last keyframe moved, every 12th", "warp, L = 12"),
            ("the last keyframe moved, every 3rd", "warp, L = 3"),
            ("both keyframes around a frame, moved, every 12th", "both sides, L = 12"),
        )
    ):
        cells = []
        for network, published in PUBLISHED.items():
            cells += [f"{published[place]:.1f}" if place < len(published) else "", f"{rows[network][name]['miou']:.1f}"]
        lines.append(f"| {' | '.join([text, *cells])} |")
    return "\n" + "\n".join(lines) + "\n"


def many_videos() -> str:
    """A second of processor for each frame of 1,000 hours at 25 frames a second is 25,000 core-hours."""
    ways = json.loads((FOLDER / "many_videos.json").read_text(encoding="utf-8"))["ways"]
    lines = ["| | processor seconds a frame | core-hours for 1,000 hours | GB of output |", "| --- | --- | --- | --- |"]
    for name, way in ways.items():
        seconds = way["processor_seconds_a_frame"]
        lines.append(f"| {name} | {seconds:.2f} | {25_000 * seconds:,.0f} | {way['bytes_a_frame'] * 0.09:,.0f} |")
    return "\n" + "\n".join(lines) + "\n"


def frontier_tables() -> str:
    return "\n" + frontier_plot.table(FOLDER)


FIGURES: dict[str, Callable[[], str]] = {
    "cpu table": cpu_table,
    "cpu warps": cpu_warps,
    "cpu speeds": cpu_speeds,
    "cpu attention": cpu_attention,
    "gpu table": gpu_table,
    "gpu fusion": gpu_fusion,
    "budgets": budgets,
    "reproduced": reproduced,
    "many videos": many_videos,
    "frontier tables": frontier_tables,
    **tables_cpu.FIGURES,
    **tables_networks.FIGURES,
    **tables_video.FIGURES,
    **tables_runs.FIGURES,
}


def filled(text: str) -> str:
    """The page with its figures as the results have them."""

    def made(found: re.Match[str]) -> str:
        if found[2] not in FIGURES:
            raise SystemExit(f"<!-- measured: {found[2]} -->: expected one of {', '.join(FIGURES)}")
        return found[1] + FIGURES[found[2]]() + found[4]

    return BLOCK.sub(made, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page has other figures")
    arguments = parser.parse_args()
    status = 0
    for name in PAGES:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        new = filled(text)
        if new == text:
            continue
        print(f"{name}: its figures are not those of benchmarks/results" if arguments.check else f"{name}: written")
        status = 1
        if not arguments.check:
            path.write_text(new, encoding="utf-8")
            status = 0
    return status


if __name__ == "__main__":
    sys.exit(main())
