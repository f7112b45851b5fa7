"""Presets of `arseg fit`: settings by dotted name, over which a config file and `--set` are laid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arseg.registry import Registry

FIT_PRESETS: Registry[Mapping[str, Any]] = Registry("preset")
"""By name. A script adds its own: `FIT_PRESETS.register("mine", {"hr.steps": 500})`."""

FIT_PRESETS.register("default", {})
FIT_PRESETS.register(
    "quick",  # to see that data and network go together: a tenth of the work
    {
        "hr.steps": 250,
        "hr.batch": 4,
        "ar.low_steps": 200,
        "ar.low_batch": 4,
        "ar.steps": 200,
        "ar.batch": 4,
        "adapt.steps": 150,
        "adapt.batch": 2,
        "eval.stills": 12,
    },
)
