"""The default trainings as presets: from what the command line was given to their data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from arseg.errors import InputError
from arseg.train.inputs import RunInputs

from .recipes import ArRecipe, HrRecipe

if TYPE_CHECKING:
    from arseg.data.opened import OpenData


def run_hr(recipe: HrRecipe, inputs: RunInputs) -> Path:
    """Phase 1 on labelled stills and, where the classes are CamVid's, synthetic streets."""
    from .hr import train_hr

    data = _data(inputs)
    if data is None:
        raise InputError(
            f"--data: preset {inputs.preset} needs labelled data; give their folder, or CamVid's with --camvid"
        )
    return train_hr(data, inputs.output, recipe, start=inputs.start, teacher=inputs.teacher, **_options(inputs))


def run_ar(recipe: ArRecipe, inputs: RunInputs) -> Path:
    """Phase 2 on pairs made from labelled stills or videos, from synthetic streets and from unlabelled videos."""
    from .ar import train_ar

    if inputs.teacher is None:
        raise InputError("--teacher: give the weights of phase 1 (from `arseg train hr`)")
    data = _data(inputs)
    if data is None and inputs.prepared is None:
        raise InputError(
            "--data: give a labelled data set, --camvid or --prepared; with videos alone, `arseg adapt` trains on them"
        )
    more: dict[str, Any] = {"videos": inputs.videos, "start": inputs.start, "branch": inputs.branch}
    return train_ar(data, inputs.teacher, inputs.output, recipe, prepared=inputs.prepared, **more, **_options(inputs))


def _data(inputs: RunInputs) -> OpenData | Path | None:
    if inputs.cityscapes is not None:
        raise InputError(f"--cityscapes: belongs to the paper's presets; preset {inputs.preset} takes --data")
    return inputs.camvid if inputs.data is None else inputs.data


def _options(inputs: RunInputs) -> dict[str, Any]:
    return {
        "report": inputs.report,
        "device": inputs.device,
        "tensorboard": inputs.tensorboard,
        "workers": inputs.workers,
        "model": inputs.model,
        "licence": inputs.licence,
    }
