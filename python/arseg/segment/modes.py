"""The ways to segment a video: the method, and what it is compared with. Light to import, for the command line."""

from __future__ import annotations

from typing import Literal, get_args

Mode = Literal["ar", "hr", "lr", "warp", "keep"]
MODES: tuple[Mode, ...] = get_args(Mode)

Way = Mode | Literal["bidirectional", "ensemble"]
"""What may be made of a single frame: as in a mode; or the results of both keyframes around it, warped, to which
"ensemble" adds the frame's own at low resolution."""

TWO_SIDED: tuple[Way, ...] = ("bidirectional", "ensemble")
"""Ways that need the next keyframe."""

FROM_KEYFRAME: tuple[Mode, ...] = ("ar", "warp", "keep")
"""Modes in which frames after a keyframe take from it, and cost less than it."""

BRANCH: frozenset[Way] = frozenset(("ar", "ensemble"))
"""Ways that need a trained low-resolution branch."""

NAMES: dict[Mode, str] = {
    "hr": "HR every frame",
    "lr": "LR every frame",
    "ar": "AR-Seg",
    "warp": "keyframe warped",
    "keep": "keyframe kept",
}
"""Headings of tables, in the order of tables."""
