"""Draws plots of the pages from benchmarks/results: python docs/figures/performance.py [NAME ...]

Each plot has one function that takes its data from the results, and one that draws them. The PNG carries the data
that it was drawn from (the text chunk `data`), so that a test sees a result that changed without its plot.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also where this file is loaded by its path
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import numpy as np
import tables
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from style import BLUE, GREEN, GREY, ORANGE, RED, plt, save
from tables_runs import CARD, CARD_MAPS, CARD_ROWS, MODES, OPERATORS, card_row
from tables_video import ENCODES, EXPORTED, load

OUT = Path(__file__).resolve().parent / "performance"
Data = dict[str, Any]


def cpu_data() -> Data:
    """Milliseconds of operators, ours and compiled, with quartiles."""
    rows = {row["name"]: row["versions"] for row in load("cpu.json")["rows"]}
    shown = {
        "creff 64×720×960": "creff 64x720x960 {}",
        "creff 256×90×120": "creff 256x90x120 {} frame_size=720x960",
        "creff 512×128×256": "creff 512x128x256 {} frame_size=1024x2048",
        "attention 64×720×960": "local_attention 64x720x960 {}",
        "attention 64×360×480": "local_attention 64x360x480 {}",
    }
    return {
        text: {
            f"{who}, {dtype}": [
                rows[name.format(short)][who]["us"] / 1e3,
                *(x / 1e3 for x in rows[name.format(short)][who]["quartiles us"]),
            ]
            for dtype, short in (("float32", "fp32"), ("bfloat16", "bf16"))
            for who in ("ours", "compiled")
        }
        for text, name in shown.items()
    }


def draw_cpu(data: Data) -> Figure:
    figure, axes = plt.subplots(figsize=(7.4, 3.9), layout="constrained")
    bars(axes, data, (BLUE, GREY, "#7fb2e5", "#c9ccd1"))
    axes.set_xlabel("milliseconds, median and quartiles (logarithmic)")
    axes.set_title("Operators on two threads of a CPU, beside torch.compile")
    return figure


CARD_VERSIONS = {
    "ours": "ours",
    "compiled": "torch.compile",
    "flex": "flex_attention",
    "eager": "eager",
    "chain": "the original's chain",
}


def card_data() -> Data:
    """Microseconds in bfloat16, ours and its rivals, where they were measured."""
    rows = load(CARD)["rows"]
    found = {}
    for name in CARD_ROWS:
        for size in CARD_MAPS[:2]:
            versions = card_row(rows, f"{name} {size} bf16")
            times = {text: versions[who]["us"] for who, text in CARD_VERSIONS.items() if who in versions}
            text = CARD_ROWS[name].replace("`", "").removesuffix(", keyframe frozen")
            found[f"{text} {size.replace('x', '×')}"] = times
    return found


def draw_card(data: Data) -> Figure:
    figure, axes = plt.subplots(figsize=(7.4, 7.2), layout="constrained")
    bars(axes, data, (BLUE, ORANGE, GREEN, GREY, "#c9ccd1"))
    axes.set_xlabel("microseconds (logarithmic)")
    axes.set_title("Operators on an H200, bfloat16, commit 7d77582")
    return figure


def bars(axes: Axes, data: Data, colours: tuple[str, ...]) -> None:
    """Groups of horizontal bars; a value may be (median, lower, upper)."""
    versions = list(max(data.values(), key=len))
    high = 0.8 / len(versions)
    for place, version in enumerate(versions):
        given = [(row, group[version]) for row, group in enumerate(data.values()) if version in group]
        ys = [row - 0.4 + high * (place + 0.5) for row, _ in given]
        values = np.array([np.atleast_1d(value) for _, value in given])
        errors = np.abs(values[:, 1:] - values[:, :1]).T if values.shape[1] == 3 else None
        axes.barh(ys, values[:, 0], high * 0.92, xerr=errors, color=colours[place], label=version, ecolor="#333")
        for y, value in zip(ys, values, strict=True):
            axes.annotate(
                said(value[0]), (value[-1], y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7
            )
    axes.set_xscale("log")
    axes.set_yticks(range(len(data)), list(data))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=len(versions))


def said(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def pipeline_data() -> Data:
    parts = {"HR frame": "HR frame", "AR frame": "frame between keyframes", "LR backbone": "its backbone at 0.5×"}
    return {
        name.replace("-", " "): {text: [row["ms"][part], *row["iqr"][part]] for part, text in parts.items()}
        for name, row in load("pipeline_cpu.json")["rows"].items()
    }


def draw_pipeline(data: Data) -> Figure:
    figure, axes = plt.subplots(figsize=(7.4, 3.1), layout="constrained")
    bars(axes, data, (GREY, BLUE, "#7fb2e5"))
    axes.set_xlabel("milliseconds a frame at 960×720, median and quartiles (logarithmic)")
    axes.set_title("The paper's networks on two threads of a CPU")
    return figure


def export_data() -> Data:
    return {
        EXPORTED[row["part"]]: {way: [row[way]["faster"], *row[way]["quartiles"]] for way in ("aoti", "onnx")}
        for row in load("export.json")["rows"]
    }


def draw_export(data: Data) -> Figure:
    figure, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
    bars(axes, data, (BLUE, ORANGE))
    axes.set_xscale("linear")
    axes.axvline(1, color=RED, lw=1)
    axes.set_xlabel("times as fast as PyTorch, median and quartiles")
    axes.set_title("Exported networks, one thread of a CPU")
    return figure


def vectors_data() -> Data:
    ways = {"records": "records", "keyframe": "field to the keyframe", "previous": "field to the frame before"}
    return {
        f"{clip}, {text}": {
            said: [encodes[name]["cost"][way][key] for key in ("ratio", "lowest", "highest")]
            for way, said in ways.items()
        }
        for clip, encodes in load("vectors_cost.json")["clips"].items()
        for name, text in ENCODES.items()
    }


def draw_vectors(data: Data) -> Figure:
    figure, axes = plt.subplots(figsize=(7.4, 4), layout="constrained")
    bars(axes, data, (GREY, BLUE, ORANGE))
    axes.set_xscale("linear")
    axes.axvline(1, color=RED, lw=1)
    axes.set_xlabel("times as long as decoding alone, median, lowest and highest")
    axes.set_title("Reading motion vectors")
    return figure


def call_data() -> Data:
    modes = load("call_overhead.json")["modes"]
    return {
        op: {text.replace("`", ""): modes[name][op]["least ratio"] for text, name in MODES.items()} for op in OPERATORS
    }


def draw_call(data: Data) -> Figure:
    figure, axes = plt.subplots(figsize=(7.4, 4), layout="constrained")
    bars(axes, data, (BLUE, ORANGE, GREY))
    axes.set_xscale("linear")
    axes.set_xlabel("times as long as an addition, on maps of one pixel")
    axes.set_title("What a call costs, one core of a CPU")
    return figure


def memory_data() -> Data:
    return {"resident_mib": load("memory_flat.json")["resident_mib"]}


def draw_memory(data: Data) -> Figure:
    figure, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
    resident = data["resident_mib"]
    axes.plot([int(frames) for frames in resident], list(resident.values()), "o-", color=BLUE)
    axes.set_ylim(0, 1.2 * max(resident.values()))
    axes.set_xlim(0, None)
    axes.set_xlabel("frames segmented")
    axes.set_ylabel("resident MiB")
    axes.set_title("Memory of one process over a video")
    return figure


PUBLISHED_ROWS = {
    "every frame": "HR",
    "every frame at 0.5×": "branch alone",
    "AR-Seg at 0.5×, every 12th": "AR, L = 12",
    "last keyframe moved, every 3rd": "warp, L = 3",
    "both keyframes moved, every 12th": "both sides, L = 12",
}


def reproduced_data() -> Data:
    """mIoU of the paper's networks, as published and as trained here."""
    found: Data = {}
    for network, title in (("pspnet18", "PSPNet18"), ("bisenet18", "BiSeNet18")):
        rows = tables.frontier(network)
        for place, (text, name) in enumerate(PUBLISHED_ROWS.items()):
            group = {"here, val at 480×360": rows[name]["miou"]}
            if place < len(tables.PUBLISHED[network]):
                group["published, test at 960×720"] = tables.PUBLISHED[network][place]
            found[f"{title}: {text}"] = group
    return found


def draw_reproduced(data: Data) -> Figure:
    figure, axes = plt.subplots(figsize=(7.4, 4.4), layout="constrained")
    bars(axes, data, (BLUE, GREY))
    axes.set_xscale("linear")
    axes.set_xlim(50, 75)
    axes.set_xlabel("mIoU %, CamVid, 12 classes (the axis begins at 50)")
    axes.set_title("The paper's table, and rows that it does not have")
    return figure


WAYS = {
    "lr": "branch, every frame at 0.5×",
    "warp": "keyframe's labels moved",
    "ar before": "AR-Seg before training",
    "ar after": "AR-Seg after",
}


def adapted_data() -> Data:
    """Share of the pixels that have the network's own label, by distance to the keyframe."""
    return {
        name: {text: row["agreement"][way]["pixel_accuracy"] for way, text in WAYS.items()}
        for name, row in load("accelerate.json").items()
    }


def draw_adapted(data: Data) -> Figure:
    figure, panels = plt.subplots(1, len(data), figsize=(7.4, 3.2), layout="constrained", sharey=True)
    for axes, (name, ways) in zip(panels, data.items(), strict=True):
        for (text, shares), colour in zip(ways.items(), (GREY, ORANGE, "#7fb2e5", BLUE), strict=True):
            axes.plot(range(len(shares)), shares, "o-", ms=3, color=colour, label=text)
        axes.set_title(name)
        axes.set_xlabel("frames from the keyframe")
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("pixels that agree, %")
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=4
    )
    return figure


PLOTS: dict[str, tuple[Callable[[], Data], Callable[[Data], Figure]]] = {
    "cpu": (cpu_data, draw_cpu),
    "card": (card_data, draw_card),
    "pipeline": (pipeline_data, draw_pipeline),
    "export": (export_data, draw_export),
    "vectors": (vectors_data, draw_vectors),
    "call": (call_data, draw_call),
    "memory": (memory_data, draw_memory),
    "reproduced": (reproduced_data, draw_reproduced),
    "adapted": (adapted_data, draw_adapted),
}
"""By name: the data of a plot, and what draws it."""


def draw(names: list[str], folder: Path = OUT) -> list[Path]:
    """The named plots as PNG, all of them where no name is given."""
    unknown = sorted(set(names) - set(PLOTS))
    if unknown:
        raise SystemExit(f"no plot {', '.join(unknown)}: there are {', '.join(PLOTS)}")
    paths = []
    for name in names or PLOTS:
        data = PLOTS[name][0]()
        paths.append(save(PLOTS[name][1](data), name, folder, data=json.dumps(data)))
    return paths


if __name__ == "__main__":
    for path in draw(sys.argv[1:]):
        print(path, path.stat().st_size)
