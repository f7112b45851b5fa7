"""Measured figures of calls and of the card for `tables.py`, and which run each result is from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tables_video import load, table

OPERATORS = ("mv_warp", "flow_warp", "local_attention", "creff", "creff_logits", "creff_labels", "resize_labels")
MODES = {
    "inference mode": "inference_mode",
    "`torch.no_grad()`": "no_grad",
    "grad mode, nothing requires a gradient": "grad mode",
}
AIMS = {"mv_warp": 3, "local_attention": 3, "creff": 6, "creff_logits": 6, "creff_labels": 6}
CARD = "gpu-nvidia-h200-7d77582.json"
"""Timed at a clean commit, with every rival that the time allowed."""


def call_overhead() -> str:
    modes = load("call_overhead.json")["modes"]
    rows = [[text, *(f"{modes[name][op]['least ratio']:.2f}" for op in OPERATORS)] for text, name in MODES.items()]
    rows.append(["aim, inference mode", *(str(AIMS.get(op, "")) for op in OPERATORS)])
    return table(["times an addition (least of 100 rounds)", *(f"`{op}`" for op in OPERATORS)], rows)


def call_addition() -> str:
    return f"{load('call_overhead.json')['modes']['inference_mode']['add']['least us']:.1f} µs"


def gpu_targets() -> str:
    """The targets as the report of the card has them, with what was reached."""
    rows = []
    for target in load("gpu-nvidia-h200.json")["targets on an H100"]:
        share = target["limit"] < 1
        limit, value = (f"{100 * x:.0f} %" if share else f"{x:.0f}" for x in (target["limit"], target["value"]))
        missed = target["limit"] / target["value"] if share else target["value"] / target["limit"]
        rows.append([target["target"], limit, value, "met" if target["met"] else f"**missed, {missed:.1f} times**"])
    return table(["target, on an H100", "asked", "on the H200", ""], rows)


CARD_ROWS = {
    "creff": "`creff`",
    "labels": "`creff_labels`",
    "attention": "`local_attention`",
    "warp": "`mv_warp`",
    "creff backward": "gradient of `creff`, keyframe frozen",
    "attention backward": "gradient of `local_attention`",
    "warp backward": "gradient of `mv_warp`",
}
CARD_MAPS = ("64x720x960", "256x90x120", "512x128x256")
RIVALS = ("compiled", "flex", "eager", "chain")


def card_row(rows: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """The versions of a row that have a time, from both passes over the rows; ours from the first."""
    found = {}
    for part in ("compiled", "quick"):
        for version, record in rows[name].get(part, {}).get("versions", {}).items():
            if record.get("us") is not None:
                found[version] = record
    return found


def card_operators() -> str:
    rows = load(CARD)["rows"]
    lines = []
    for name, text in CARD_ROWS.items():
        for size in CARD_MAPS:
            versions = card_row(rows, f"{name} {size} bf16")
            times = [f"{x:.3g}" if (x := versions.get(rival, {}).get("times ours")) else "" for rival in RIVALS]
            lines.append([text, size.replace("x", "×"), f"{versions['ours']['us']:.0f}", *times])
    head = ["bfloat16", "map", "ours, µs", "torch.compile", "flex_attention", "eager", "the original's chain"]
    return table(head, lines)


def card_gradient() -> str:
    row = card_row(load(CARD)["rows"], "creff backward 64x720x960 bf16")
    return f"{row['ours']['us'] / 1e3:.1f} ms"


def memory() -> str:
    resident = load("memory_flat.json")["resident_mib"]
    (first, *_, last) = resident.items()
    return f"{first[1]:.1f} MiB after {int(first[0]):,} frames, {last[1]:.1f} after {int(last[0]):,}"


RUNS = (
    ("cpu.json", "operators on the CPU", "compare_cpu.py"),
    ("cpu-zen3.json", "the same on another processor", "compare_cpu.py"),
    ("layouts_cpu.json", "their layouts and dtypes", "layouts_cpu.py"),
    ("call_overhead.json", "what a call costs", "call_overhead.py"),
    ("pipeline_cpu.json", "the paper's networks, decoding included", "pipeline_cpu.py"),
    ("segment_cpu.json", "`arseg segment` beside its parts", "segment_cpu.py"),
    ("compat_localattention.json", "beside the authors' localAttention", "compat_localattention.py"),
    ("folding_cpu.json", "batch normalisation folded", "folding_cpu.py"),
    ("export.json", "exported networks", "export_cpu.py"),
    ("many_videos.json", "core-hours of many videos", "many_videos.py"),
    ("vectors_cost.json", "what reading vectors costs", "vectors_cost.py"),
    ("motion_gain.json", "what fields are worth, and cost", "motion_gain.py"),
    ("memory_flat.json", "memory over 10,000 frames", "memory_flat.py"),
    ("gpu-nvidia-h200.json", "`make gpu-check` on the card", "gpu_check.py"),
    (CARD, "operators on the card, with their rivals", "gpu_bench.py"),
)
"""Results, what they are of, and what makes them."""


def runs() -> str:
    rows = [
        [f"[{name}](../benchmarks/results/{name})", what, f"`{script}`", *origin(name)] for name, what, script in RUNS
    ]
    return table(["results", "of", "benchmarks/", "processor or card", "torch or PyAV", "day", "commit"], rows)


# Of the file that does not say so itself: the log of the same session, beside it.
SAID_ELSEWHERE = {CARD: ("NVIDIA H200", "torch 2.11.0+cu130", "not recorded", "7d77582")}


def origin(name: str) -> tuple[str, str, str, str]:
    """Machine, library, day and commit of a result, as far as it says them."""
    if name in SAID_ELSEWHERE:
        return SAID_ELSEWHERE[name]
    found = load(name)
    facts = {**found, **found.get("facts", {}), **found.get("device", {})}
    machine = facts.get("name") or facts.get("processor") or facts.get("machine") or "not recorded"
    threads = facts.get("threads") or facts.get("cores")
    if threads and "thread" not in machine and "cores" not in machine:
        machine += f", {threads} thread{'s' if threads > 1 else ''}"
    library = f"torch {facts['torch']}" if "torch" in facts else f"PyAV {facts['av']}"
    day = str(facts.get("date") or facts.get("time") or "")[:10]
    return machine, library, day or "not recorded", facts.get("commit") or "not recorded"


FIGURES: dict[str, Callable[[], str]] = {
    "call overhead": call_overhead,
    "call addition": call_addition,
    "gpu targets": gpu_targets,
    "card operators": card_operators,
    "card gradient": card_gradient,
    "memory": memory,
    "runs": runs,
}
