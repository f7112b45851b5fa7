"""Tables of networks for `tables.py`: the zoo's, and what adapting networks of others gains."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tables_video import load, table

ZOO = Path(__file__).resolve().parent.parent / "docs" / "results" / "zoo.json"
MODES = {"hr": "HR", "ar": "AR-Seg", "lr": "LR", "warp": "warped"}
ADAPTED = {
    "lr": "every frame at 0.5×",
    "ar before": "AR-Seg at 0.5×, untrained",
    "ar after": "**AR-Seg at 0.5×, adapted**",
    "warp": "keyframe's result, warped",
}
DISTANCES = (1, 3, 6, 11)


def zoo() -> str:
    """Of each network the ways of `MODES`: mIoU, GMACs and milliseconds of a mean frame."""
    found = json.loads(ZOO.read_text(encoding="utf-8"))["rows"]
    rows = []
    for name in ("lite0", "slim", "lite2", "lite0 at 288"):
        for mode, text in MODES.items():
            row = found[f"{name} {mode}"]
            cells = f"{row['miou']:.1f}", f"{row['gmacs']:.2f}", f"{row['ms']:.0f}"
            rows.append([name if mode == "hr" else "", text, *cells])
    return table(["", "mode", "mIoU %", "GMACs", "ms"], rows)


def zoo_machine() -> str:
    facts = json.loads(ZOO.read_text(encoding="utf-8"))["facts"]
    return f"{facts['processor']}, {facts['threads']} threads"


def adapted(network: str, text: str) -> Callable[[], str]:
    """Agreement with the network on every frame, pixels and mIoU in percent, by distance to the keyframe."""

    def made() -> str:
        found = load("accelerate.json")[network]
        gmacs = found["gmacs"]
        compute = {"lr": gmacs["lr"], "ar before": gmacs["ar mean"], "ar after": gmacs["ar mean"]}
        compute["warp"] = gmacs["hr"] / found["gop"]
        rows = [["the network on every frame (the teacher)", "100", *[""] * len(DISTANCES), f"{gmacs['hr']:.2f}"]]
        for way, name in ADAPTED.items():
            rows.append([name, *_both(found["agreement"][way]), f"{compute[way]:.2f}"])
        return table([text, "mean", *map(str, DISTANCES), "GMACs"], rows)

    return made


def _both(score: dict[str, Any]) -> list[str]:
    pixels, miou = score["pixel_accuracy"], score["miou"]
    pairs = [(score["mean_pixel_accuracy"], score["mean_miou"]), *((pixels[d], miou[d]) for d in DISTANCES)]
    return [f"{a:.1f} / {b:.1f}" for a, b in pairs]


FIGURES: dict[str, Callable[[], str]] = {
    "zoo": zoo,
    "zoo machine": zoo_machine,
    "adapted lraspp": adapted(
        "lraspp_mobilenet_v3_large",
        "LR-ASPP, MobileNetV3-Large (feature: 168 channels at stride 8, two classifiers)",
    ),
    "adapted lite0": adapted(
        "efficientnet_lite0", "EfficientNet-Lite0 (feature: 64 channels at stride 8, 1x1 classifier)"
    ),
}
