"""Phase 1: the network of the keyframes, on labelled single frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from arseg.data.stills import compressed, street_stills
from arseg.files import StrPath
from arseg.train import distributed
from arseg.train.batches import Batch
from arseg.train.finish import Finish
from arseg.train.loop import train
from arseg.train.losses import weighted_iou_loss
from arseg.train.schedule import Schedule
from arseg.train.workers import default_workers
from arseg.weights.files import licence_of, save_checkpoint
from arseg.weights.made import how_made
from arseg.zoo import weights_file

from .for_data import (
    Census,
    check_classes,
    data_settings,
    given_or_counted,
    is_camvid,
    opened,
    training_stills,
    with_epochs,
)
from .network import at_size_of, hr_network, lr_groups, start_settings
from .recipes import HrRecipe, settings_of
from .stills import Donors, sample_stills
from .taught import Taught

if TYPE_CHECKING:
    from arseg.data.opened import OpenData

EMA_DECAY = 0.998
"""Of the weights' average in both phases, a step."""


def train_hr(
    data: OpenData | StrPath,
    folder: StrPath,
    recipe: HrRecipe,
    report: Callable[[str], None] = print,
    start: StrPath | None = None,
    device: torch.device | str = "cpu",
    tensorboard: bool = False,
    model: str | None = None,
    licence: str | None = None,
    teacher: StrPath | None = None,
    workers: int | None = None,
) -> Path:
    """Trains on the labelled frames of `train`, and on synthetic streets where the classes are CamVid's 11.

    Resumes what `folder` holds.

    Args:
        data: what `open_data` gives; or CamVid's folder, in any of its layouts.
        start: weights of an earlier phase 1 to go on from, in place of ImageNet's.
        device, tensorboard: see `loop.train`.
        model: a line that makes the network, as `--model` takes it; None: the default network.
        licence: what the weights file says of the terms of its use; None: that of `start`, or the data's, where known.
        teacher: weights, of either phase, of a network for the same classes, whose softened classes the network
            imitates besides the labels (`recipe.imitation`; Hinton et al., 2015): for one smaller than it.
        workers: processes that make the batches; None: by the cores, see `default_workers`.

    Returns the path of the weights, `folder/hr.safetensors`. Raises `InputError` for data without labelled frames or
    with fewer than 2 classes, for a line that makes no network, and for a folder whose run has other settings.
    """
    data = opened(data)
    check_classes(data.labels)
    folder, start = Path(folder), None if start is None else Path(start)
    taught = None if teacher is None else Taught(weights_file(teacher), data.labels, device)
    torch.manual_seed(recipe.seed)
    real = training_stills(data, recipe.rows)
    recipe = with_epochs(recipe, len(real))
    census = Census.of(real)
    device = torch.device(device)
    weights = given_or_counted(data, census).to(device)
    donors = Donors(real, census.rare(data.labels, recipe.rare), census=census)
    scenes = recipe.street_scenes if is_camvid(data.labels) else 0
    streets_too = f"rendering {scenes} streets" if scenes else "no synthetic streets"
    report(f"{data.name}: {len(real)} frames to train on ({data.split_by}); {streets_too}")
    report(_summary(recipe, len(real), [data.labels.classes[c] for c in sorted(donors.shown)]))
    with distributed.main_process_first():
        streets = street_stills(folder / "streets", scenes)
    drawn = round(recipe.batch * recipe.street_share) if scenes else 0
    sources = [
        ([real, *(compressed(real, crf) for crf in recipe.qualities)], recipe.batch - drawn),
        ([compressed(streets, 23)] if drawn else [], drawn),
    ]
    made, labels, config = hr_network(data.labels, recipe, model, start)
    net: Any = made
    net = net.to(device=device, memory_format=torch.channels_last)

    def sample(_: int, rng: np.random.Generator) -> Batch:
        return sample_stills(sources, donors, recipe, rng)

    def loss(batch: Batch) -> dict[str, Tensor]:
        with torch.autocast(device.type, torch.bfloat16):
            logits = net(batch["image"])
        logits = at_size_of(logits, batch["label"], net)
        losses = weighted_iou_loss(logits, batch["label"], weights, iou_loss_weight=recipe.iou_loss_weight)
        if taught is not None:
            losses["imitation"] = recipe.imitation * taught.loss(logits, batch["image"], labels)
        return losses

    state = train(
        net,
        lr_groups(net),
        sample,
        loss,
        Schedule(recipe.steps, recipe.lr, ema_decay=EMA_DECAY),
        folder,
        settings={
            **settings_of(recipe),
            "data": data_settings(data, real),
            **({} if model is None else {"model": model}),
            **start_settings(start),
            **({} if taught is None else start_settings(taught.path, "teacher")),
        },
        seed=recipe.seed,
        report=report,
        device=device,
        tensorboard=tensorboard,
        find_unused_parameters=model is not None,
        workers=default_workers(device) if workers is None else workers,
        finish=Finish.of(labels),
    )
    path = folder / "hr.safetensors"
    if distributed.is_main_process():
        height = {"height": recipe.height} if recipe.height else {}
        licence = licence or (None if start is None else licence_of(start))
        record = how_made(
            recipe, data=data, licence=licence, start=start, teacher=None if taught is None else taught.path
        )
        save_checkpoint(state, path, kind="hr", config={**config, "labels": labels.to_json(), **height, "made": record})
    return path


def _summary(recipe: HrRecipe, frames: int, pasted: list[str]) -> str:
    """What the recipe came to, in a line."""
    views = f"views of {recipe.crop[1]}x{recipe.crop[0]} of frames of at most {recipe.rows} rows"
    passes = f"{recipe.steps} steps of {recipe.batch}, {recipe.steps * recipe.batch / frames:.3g} passes"
    return f"{views}; {passes}; pasted: {', '.join(pasted) or 'nothing'}"
