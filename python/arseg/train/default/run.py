"""The default trainings as presets: from what the command line was given to their data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arseg.errors import InputError
from arseg.train.inputs import RunInputs

from .recipes import ArRecipe, HrRecipe


def run_hr(recipe: HrRecipe, inputs: RunInputs) -> Path:
    """Phase 1 on CamVid's stills and synthetic streets."""
    from .hr import train_hr

    return train_hr(_camvid(inputs), inputs.output, recipe, start=inputs.start, **_options(inputs))


def run_ar(recipe: ArRecipe, inputs: RunInputs) -> Path:
    """Phase 2 on pairs made from CamVid's stills, synthetic streets and unlabelled videos."""
    from .ar import train_ar

    if inputs.teacher is None:
        raise InputError("--teacher: give the weights of phase 1 (from `arseg train hr`)")
    more: dict[str, Any] = {"videos": inputs.videos, "start": inputs.start, "branch": inputs.branch}
    return train_ar(_camvid(inputs), inputs.teacher, inputs.output, recipe, **more, **_options(inputs))


def _camvid(inputs: RunInputs) -> Path:
    if inputs.camvid is None:
        raise InputError(f"--camvid: preset {inputs.preset} needs CamVid; give its folder")
    return inputs.camvid


def _options(inputs: RunInputs) -> dict[str, Any]:
    return {"report": inputs.report, "device": inputs.device, "tensorboard": inputs.tensorboard}
