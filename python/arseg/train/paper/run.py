"""The paper's trainings as presets: from what the command line was given to their data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from arseg.errors import InputError
from arseg.train.inputs import RunInputs

from .recipes import PaperArRecipe, PaperHrRecipe

if TYPE_CHECKING:
    from arseg.data.datasets import LabelledFrames

    from .data import PairDataset

Recipe = TypeVar("Recipe", PaperHrRecipe, PaperArRecipe)


def run_paper_hr(recipe: PaperHrRecipe, inputs: RunInputs) -> Path:
    """Phase 1 on the labelled frames of the data set that the architecture is made for."""
    from .train import train_paper_hr

    if inputs.start is not None:
        raise InputError("--start: the default recipes go on from weights; the paper's take --set backbone=FILE")
    if inputs.teacher is not None:
        raise InputError("--teacher: the default recipes imitate one; phase 1 of the paper's takes none")
    _check(inputs)
    recipe = _with_workers(recipe, inputs)
    data = _frames(recipe, inputs, "train")
    validation = _frames(recipe, inputs, "val") if recipe.validate_every else None
    return train_paper_hr(data, validation, inputs.output, recipe, **_options(inputs))


def run_paper_ar(recipe: PaperArRecipe, inputs: RunInputs) -> Path:
    """Phase 2 on prepared pairs, or on pairs made from CamVid's stills."""
    from arseg.data.prepared import Prepared

    from .train import train_paper_ar

    for option, given in (("--start", inputs.start), ("--branch", inputs.branch)):
        if given is not None:
            raise InputError(f"{option}: the default recipe goes on from weights; the paper's take --set start=teacher")
    _check(inputs)
    if inputs.teacher is None:
        raise InputError("--teacher: give the weights of phase 1 (from `arseg train hr`)")
    recipe = _with_workers(recipe, inputs)
    pairs = _pairs(recipe, inputs)
    validation = Prepared(inputs.validation) if inputs.validation is not None and recipe.validate_every else None
    return train_paper_ar(pairs, validation, inputs.teacher, inputs.output, recipe, **_options(inputs))


def _check(inputs: RunInputs) -> None:
    if inputs.model is not None:
        raise InputError(f"--model: the default recipes take it; preset {inputs.preset} takes --set arch=NAME")


def _options(inputs: RunInputs) -> dict[str, Any]:
    return {"report": inputs.report, "device": inputs.device, "tensorboard": inputs.tensorboard}


def _with_workers(recipe: Recipe, inputs: RunInputs) -> Recipe:
    return recipe if inputs.workers is None else replace(recipe, workers=inputs.workers)


def _frames(recipe: PaperHrRecipe, inputs: RunInputs, split: str) -> LabelledFrames:
    from arseg.data.registry import DATA_SETS

    name = recipe.arch.split("-")[0]
    root = {"camvid": inputs.camvid, "cityscapes": inputs.cityscapes}.get(name)
    if inputs.data is not None and inputs.data.layout == name:
        root = inputs.data.root
    if root is None:
        raise InputError(f"--{name}: {recipe.arch} needs it; give the folder of the data set")
    return DATA_SETS[name].frames(root, split, void=recipe.void)


def _pairs(recipe: PaperArRecipe, inputs: RunInputs) -> PairDataset:
    from .data import prepared_pairs, still_pairs

    if inputs.prepared is not None:
        return prepared_pairs(inputs.prepared, recipe)
    camvid = inputs.camvid
    if inputs.data is not None and inputs.data.layout == "camvid":
        camvid = inputs.data.root
    if camvid is None:
        raise InputError("--prepared: give a folder made by `arseg prepare`, or --camvid to make pairs from its stills")
    return still_pairs(camvid, inputs.output / "pairs", recipe, inputs.report)
