"""Measured figures of video, networks and exports for `tables.py`: each function makes one from benchmarks/results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "results"
ENCODES = {"refs1": "1 reference", "refs3": "3 references", "default": "x264's defaults, B"}


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return found


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown on lines of its own."""
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n" + "\n".join(lines) + "\n"


def clip_name(file: str) -> str:
    return file.removesuffix(".mp4").removeprefix("udacity_")


def motion_quality() -> str:
    """PSNR of moved keyframes in dB; differences are of the unrounded figures."""
    rows = []
    for clip, encodes in load("motion_gain.json")["quality"].items():
        mean = {name: encode["mean"] for name, encode in encodes.items()}
        one = mean["refs1"]

        def beside(value: float, other: float) -> str:
            return f"{value - other:+.2f}"

        default = mean["default"]["warp"]
        rows.append(
            [
                clip_name(clip),
                f"{one['no_warp']:.2f}",
                f"{one['unfilled']:.2f}",
                f"**{one['warp']:.2f}**",
                f"{one['blind']:.2f} ({beside(one['blind'], one['warp'])})",
                f"{mean['refs3']['warp']:.2f} ({beside(mean['refs3']['warp'], one['warp'])})",
                f"{mean['refs1-b']['warp']:.2f} ({beside(mean['refs1-b']['warp'], one['warp'])})",
                f"{default:.2f} ({beside(default, one['warp'])}; {beside(default, mean['refs1-b']['warp'])})",
            ]
        )
    head = [
        "clip",
        "no warp",
        "holes left",
        "**1 ref.**",
        "hidden",
        "3 ref.",
        "B, 1 ref. a side",
        "x264's defaults",
    ]
    return table(head, rows)


def motion_labels() -> str:
    encodes = {name: encode["by_distance"] for name, encode in load("motion_labels.json")["encodes"].items()}
    shown = (
        ("pixels, kept", "refs1", "pixels", "kept"),
        ("pixels, 1 ref.", "refs1", "pixels", "warped"),
        ("pixels, defaults, B", "default", "pixels", "warped"),
        ("mIoU, kept", "refs1", "miou", "kept"),
        ("mIoU, 1 ref.", "refs1", "miou", "warped"),
        ("mIoU, 3 ref.", "refs3", "miou", "warped"),
        ("mIoU, defaults, B", "default", "miou", "warped"),
    )
    rows = [[text, *(f"{x:.1f}" for x in encodes[name][what][way])] for text, name, what, way in shown]
    return table(["distance", *map(str, range(1, 12))], rows)


def motion_cost() -> str:
    rows = []
    for clip, encodes in load("motion_gain.json")["cost"]["clips"].items():
        cells = [
            f"{x['decode_ms']:.2f} ms, ×{x['ratio']:.2f} ({x['ratio_min']:.2f}–{x['ratio_max']:.2f})"
            for x in (encodes[name] for name in ENCODES)
        ]
        rows.append([clip_name(clip), *cells])
    return table(["clip", "1 reference", "3 references", "x264's defaults"], rows)


def motion_memory() -> str:
    peaks = {(x["encode"], x["frames"]): f"{x['peak_mib']:.1f}" for x in load("motion_gain.json")["memory"]}
    return (
        f"{peaks['refs3', 200]} and {peaks['refs3', 2000]} MiB with three references, {peaks['default', 200]} and "
        f"{peaks['default', 2000]} MiB with B frames"
    )


def vectors_cost() -> str:
    rows = []
    for clip, encodes in load("vectors_cost.json")["clips"].items():
        for name, text in ENCODES.items():
            cost, quality = encodes[name]["cost"], encodes[name]["quality"]
            ways = [
                f"×{x['ratio']:.2f} ({x['lowest']:.2f}–{x['highest']:.2f})"
                for x in (cost[way] for way in ("records", "keyframe", "previous", "written"))
            ]
            worth = f"{quality['kept']:.1f} → {quality['moved']:.1f}"
            rows.append([f"{clip}, {text}", f"{cost['plain']['ms']:.1f} ms", *ways, worth])
    return table(["clip", "decoding", "`records`", "`keyframe`", "`previous`", "written", "before, moved"], rows)


EXPORTED = {
    "keyframe": "keyframe",
    "low": "low-resolution branch",
    "between keyframes": "frame between keyframes, with fusion",
}


def exports() -> str:
    rows = []
    for row in load("export.json")["rows"]:
        cells = [f"{x['faster']:.2f} ({', '.join(f'{q:.2f}' for q in x['quartiles'])})" for x in _formats(row)]
        rows.append([EXPORTED[row["part"]], *cells])
    return table(["", "aoti", "onnx"], rows)


def _formats(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [row["aoti"], row["onnx"]]


def pipeline() -> str:
    rows = []
    for name, row in load("pipeline_cpu.json")["rows"].items():
        ms = row["ms"]
        rows.append(
            [
                name.replace("-", " "),
                *(f"{ms[part]:.0f}" for part in ("HR frame", "LR backbone", "AR frame")),
                f"{row['AR frame / LR backbone']:.2f}",
                f"{row['group, against the network on every frame']:.2f}×",
            ]
        )
    head = ["", "HR frame ms", "LR backbone ms", "frame between keyframes ms", "/ LR backbone (target 1.15)"]
    return table([*head, "group of 12, faster than HR everywhere"], rows)


PIPELINE_AIM = 1.15


def pipeline_missed() -> str:
    rows = load("pipeline_cpu.json")["rows"]
    over = {name: row["AR frame / LR backbone"] for name, row in rows.items()}
    missed = [f"{name.replace('-', ' ')} ({x:.2f})" for name, x in over.items() if round(x, 2) > PIPELINE_AIM]
    return f"Above the target, of {len(over)}: {', '.join(missed)}" if missed else "All meet the target"


WAYS = (
    ("network, a frame of a group of 12", "network"),
    ("the same, HR everywhere", "network, HR everywhere"),
    ("PyAV: decoding to RGB", "decoding"),
    ("decoding with vectors", "decoding with vectors"),
    ("preprocessing", "preprocessing"),
    ("`resize_labels`", "resize_labels"),
    ("colours", "colours"),
    ("PyAV: encoding", "encoding"),
    ("`arseg segment --mode ar` in whole", "whole"),
    ("the same, decoding and network in threads of their own", "whole, overlapped"),
)
"""Of segment_cpu.json: the row's text, and its name."""

SHARES = (
    ("whole, of what the three allow that share the cores: processor", "whole / shared, processor", "whole"),
    ("whole, of what the longest of the three allows: clock", "whole / longest, clock", ""),
    ("HR everywhere ÷ AR: network alone, processor", "HR / AR, network, processor", ""),
    ("with preprocessing and labels, processor", "HR / AR, processor", "compute"),
    ("with decoding, too, processor", "HR / AR, with decoding, processor", "compute"),
    ("with decoding, too, clock", "HR / AR, with decoding, clock", "compute"),
    ("`arseg segment` by default ÷ `--mode ar`, in whole: processor", "by default / AR, processor", ""),
    ("the same, clock", "by default / AR, clock", ""),
)
WHOLE_AIM, COMPUTE_AIM = 0.9, 0.93


def segment_ways() -> str:
    """Milliseconds a frame of the parts and the whole, by the processor and by the clock."""
    found, kinds = load("segment_cpu.json")["rows"], ("processor", "clock")
    rows = []
    for text, name in WAYS:
        times = (row["ms a frame"][name][kind] for row in found.values() for kind in kinds)
        rows.append([text, *(_spread(one, 1) for one in times)])
    return table(["", *(f"{threads}, {kind} ms" for threads in found for kind in kinds)], rows)


def segment_shares() -> str:
    found = load("segment_cpu.json")
    aims = {"whole": f"{WHOLE_AIM}", "compute": f"{COMPUTE_AIM * found['gmacs']['HR / AR']:.2f}", "": ""}
    rows = [
        [text, *(_spread(row["shares"][name], 2) for row in found["rows"].values()), aims[aim]]
        for text, name, aim in SHARES
    ]
    return table(["", *found["rows"], "target"], rows)


def segment_compute() -> str:
    found = load("segment_cpu.json")["gmacs"]
    return f"{found['HR / AR']:.2f} ({found['hr']:.2f} GMACs, and {found['ar']:.2f} of a frame between keyframes)"


def _spread(found: dict[str, float], digits: int) -> str:
    return f"{found['median']:.{digits}f} ({found['low']:.{digits}f}–{found['high']:.{digits}f})"


VECTORS_AIMS = {"refs1": 1.15, "refs3": 1.6, "default": 1.6}
"""Times of plain decoding for the field to the keyframe: where vectors are exact, and where they are inferred."""


def vectors_missed() -> str:
    """In how many clips of each kind the field to the keyframe takes longer than it should."""
    clips = load("vectors_cost.json")["clips"].values()
    parts = []
    for name, aim in VECTORS_AIMS.items():
        costs = [encodes[name]["cost"]["keyframe"]["ratio"] for encodes in clips]
        parts.append(f"{sum(x > aim for x in costs)} of {len(costs)} clips with {ENCODES[name]} (×{aim:g})")
    return ", ".join(parts)


def precision() -> str:
    rows = []
    for name, row in load("precision.json")["rows"].items():
        cells = []
        for way in ("HR", "LR", "AR", "WARP"):
            differ = row["labels that differ, %"][way]
            said = "" if name == "float32, frame by frame" else f" ({differ:.2f})" if differ else " (0)"
            cells.append(f"{row['mIoU'][way]:.2f}{said}")
        rows.append([{"bfloat16": "bfloat16, folded, channels last"}.get(name, name), *cells])
    return table(["", "HR", "LR", "AR", "warp"], rows)


FIGURES: dict[str, Callable[[], str]] = {
    "motion quality": motion_quality,
    "motion labels": motion_labels,
    "motion cost": motion_cost,
    "motion memory": motion_memory,
    "pipeline missed": pipeline_missed,
    "vectors missed": vectors_missed,
    "vectors cost": vectors_cost,
    "exports": exports,
    "pipeline": pipeline,
    "precision": precision,
    "segment ways": segment_ways,
    "segment shares": segment_shares,
    "segment compute": segment_compute,
}
