"""The paper's training: phase 1, the high-resolution network; phase 2, the low-resolution one and its fusion.

Source: Hu et al., CVPR 2023. Both phases run on any number of processes, can be stopped at any moment, and go on where
they were (see `loop.train`). The best weights of each stage are kept apart.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from arseg.data.datasets import LabelledFrames
from arseg.data.prepared import Prepared
from arseg.errors import InputError
from arseg.files import StrPath
from arseg.networks.base import SplitNetwork
from arseg.networks.paper.published import architecture
from arseg.train import distributed
from arseg.train.batches import Batch
from arseg.train.loop import Validate, train
from arseg.train.losses import similarity_loss
from arseg.train.optimisers import make_optimiser
from arseg.train.sampling import Sample, Sampler
from arseg.train.schedule import Schedule
from arseg.train.settings import check
from arseg.train.workers import default_workers
from arseg.weights.files import save_checkpoint

from .data import PairDataset, data_fingerprint, finish_of, frame_loader, pair_loader
from .networks import ar_state, labels_record, load_teacher, loss_of, new_fused, new_network, save_hr, step_network
from .recipes import PaperArRecipe, PaperHrRecipe
from .validation import autocast, frame_scores, pair_scores

Report = Callable[[str], None]


def train_paper_hr(
    data: LabelledFrames,
    validation: LabelledFrames | None,
    folder: StrPath,
    recipe: PaperHrRecipe,
    *,
    device: torch.device | str = "cpu",
    tensorboard: bool = False,
    report: Report = print,
) -> Path:
    """Phase 1 on labelled frames; resumes what `folder` holds.

    Returns the path of the weights, `folder/hr.safetensors`: the best on `validation`, the last where it is None.
    """
    folder = Path(folder)
    _check(recipe, device, data.classes)
    torch.manual_seed(recipe.seed)
    net = new_network(recipe.arch, recipe.backbone).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    terms = loss_of(recipe)

    load = frame_loader(data, recipe)

    def loss(batch: Batch) -> dict[str, Tensor]:
        with autocast(recipe, device):
            out = net.forward_train(batch["image"])
        return terms(out.logits, out.auxiliary, batch["label"])

    def validate(done: int, state: Mapping[str, Tensor]) -> tuple[str, Mapping[str, float]]:
        assert validation is not None
        return "hr", frame_scores(net, state, validation, recipe, device, net)

    state = _run(
        net,
        load,
        len(data),
        loss,
        None if validation is None else validate,
        folder,
        recipe,
        device,
        {"data": data_fingerprint(data)},
        tensorboard,
        report,
    )
    path = folder / "hr.safetensors"
    if distributed.is_main_process():
        save_hr(_best(folder, "hr", state), path, recipe.arch, labels_record(recipe.arch, recipe.normalization))
    return path


def train_paper_ar(
    pairs: PairDataset,
    validation: Prepared | None,
    teacher: StrPath,
    folder: StrPath,
    recipe: PaperArRecipe,
    *,
    device: torch.device | str = "cpu",
    tensorboard: bool = False,
    report: Report = print,
) -> Path:
    """Phase 2 under the frozen phase-1 weights `teacher`; resumes what `folder` holds.

    At first the low-resolution network alone, with feature similarity (`recipe.plain_epochs`); then with its fusion.
    `validation`: a prepared run or split, scored at the recipe's distances. Returns the path of the weights,
    `folder/ar.safetensors`: both networks, of the second stage's best validation, or its end where there is none.
    """
    teacher, folder = Path(teacher), Path(folder)
    num_classes = len(architecture(recipe.arch).labels.classes)
    _check(recipe, device, None if validation is None else validation.classes)
    torch.manual_seed(recipe.seed)
    high, labels = load_teacher(teacher, recipe.arch, recipe.normalization)
    high = high.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    net = new_fused(
        recipe.arch, high, window=recipe.window, fusion=recipe.fusion, start=recipe.start, backbone=recipe.backbone
    )
    net = net.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    terms = loss_of(recipe)
    grid = _feature_size(high, recipe.crop, device)
    plain = plain_steps(recipe, len(pairs))

    load = pair_loader(pairs, recipe, grid)
    both = step_network(high, net, recipe.scale)

    def loss(batch: Batch) -> dict[str, Tensor]:
        with autocast(recipe, device):
            if batch["step"] < plain:
                with torch.no_grad():
                    target = high.features(batch["image"])
                logits, auxiliary, feature = net.forward_train(both.shrink(batch["image"]))
            else:
                with torch.no_grad():
                    target, reference = high.features(torch.cat([batch["image"], batch["key"]])).chunk(2)
                scores, feature, auxiliary = both.step_outputs(batch["image"], reference, batch["flow"])
                logits = net.network.finish(scores)
        found = terms(logits, auxiliary, batch["label"])
        return {**found, "similarity": recipe.similarity * similarity_loss(feature, target)}

    def validate(done: int, state: Mapping[str, Tensor]) -> tuple[str, Mapping[str, float]]:
        assert validation is not None
        stage = "fused" if done > plain else "plain"
        return stage, pair_scores(both, net, state, validation, recipe, device, stage == "fused", num_classes)

    settings = {"data": pairs.fingerprint, "teacher": zlib.crc32(teacher.read_bytes())}
    state = _run(
        net,
        load,
        len(pairs),
        loss,
        None if validation is None else validate,
        folder,
        recipe,
        device,
        settings,
        tensorboard,
        report,
    )
    path = folder / "ar.safetensors"
    if distributed.is_main_process():
        config = {
            "arch": recipe.arch,
            "auxiliary": False,
            "scale": recipe.scale,
            "window": recipe.window,
            "fusion": recipe.fusion,
            "grid": "aligned",
            "labels": labels,
        }
        save_checkpoint(ar_state(high, _best(folder, "fused", state)), path, kind="ar", config=config, half=False)
    return path


def total_steps(recipe: PaperHrRecipe, count: int) -> int:
    """Steps of a training on `count` frames."""
    return recipe.steps or max(1, recipe.epochs * count // recipe.batch)


def plain_steps(recipe: PaperArRecipe, count: int) -> int:
    """Steps before fusion begins; where `steps` is given, the same fraction of them."""
    fraction = min(1.0, recipe.plain_epochs / max(1, recipe.epochs))
    return round(total_steps(recipe, count) * fraction)


def _run(
    net: nn.Module,
    load: Callable[[int, np.random.Generator], Sample],
    count: int,
    loss: Callable[[Batch], dict[str, Tensor]],
    validate: Validate | None,
    folder: Path,
    recipe: PaperHrRecipe,
    device: torch.device | str,
    settings: Mapping[str, Any],
    tensorboard: bool,
    report: Report,
) -> dict[str, Tensor]:
    steps = total_steps(recipe, count)
    every = max(1, recipe.validate_every * count // recipe.batch) if recipe.validate_every else 0
    schedule = Schedule(steps, recipe.lr, recipe.warmup, recipe.log_every, recipe.save_every, every, recipe.ema_decay)
    sampler = Sampler(load, count, recipe.batch, accumulate=recipe.accumulate, seed=recipe.seed)
    if distributed.is_main_process():
        shared = f", on {distributed.world()} processes" if distributed.world() > 1 else ""
        report(f"{recipe.arch}: {count} frames, {steps} steps of {recipe.batch}{shared}")
    optimiser = partial(
        make_optimiser, recipe.optimiser, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    # How the work is done does not change what comes out.
    free = ("workers", "log_every", "save_every")
    kept = {key: value for key, value in asdict(recipe).items() if key not in free}
    if not recipe.loss:  # runs of before the setting go on
        del kept["loss"]
    return train(
        net,
        [{"params": [p for p in net.parameters() if p.requires_grad]}],
        sampler,
        loss,
        schedule,
        folder,
        settings={**kept, **settings},
        seed=recipe.seed,
        report=report,
        optimiser=optimiser,
        accumulate=recipe.accumulate,
        max_grad_norm=recipe.max_grad_norm or None,
        device=device,
        grad_scaler=recipe.precision == "float16",
        sharded=True,
        validate=validate,
        tensorboard=tensorboard,
        find_unused_parameters=isinstance(recipe, PaperArRecipe) and recipe.plain_epochs > 0,
        workers=default_workers(torch.device(device)) if recipe.workers is None else recipe.workers,
        finish=finish_of(recipe),
    )


def _check(recipe: PaperHrRecipe, device: torch.device | str, classes: Sequence[str] | None) -> None:
    num_classes = len(architecture(recipe.arch).labels.classes)
    if classes is not None and len(classes) != num_classes:
        raise InputError(f"{recipe.arch}: a network of {num_classes} classes, but the data has {len(classes)}")
    if recipe.precision == "float16" and torch.device(device).type != "cuda":
        raise InputError("precision: float16 needs --device cuda; on the CPU use bfloat16")
    check(recipe)
    if not recipe.scales:
        raise InputError("scales: expected at least one factor, got none")


def _best(folder: Path, stage: str, last: dict[str, Tensor]) -> dict[str, Tensor]:
    path = folder / f"best-{stage}.pt"
    return torch.load(path, weights_only=True, map_location="cpu") if path.exists() else last


@torch.no_grad()
def _feature_size(net: SplitNetwork, crop: tuple[int, int], device: torch.device | str) -> tuple[int, int]:
    height, width = net.features(torch.zeros(1, 3, *crop, device=device)).shape[2:]
    return height, width
