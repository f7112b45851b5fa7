"""Phase 1: the network of the keyframes, on labelled single frames."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from arseg.data.stills import ROWS, camvid_stills, compressed, fingerprint, street_stills
from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import CAMVID
from arseg.networks.pyramid import PyramidNet
from arseg.train import distributed
from arseg.train.batches import Batch
from arseg.train.loop import train
from arseg.train.losses import class_weights, weighted_iou_loss
from arseg.train.schedule import Schedule
from arseg.weights.files import load_into, read_checkpoint, save_checkpoint

from .recipes import HrRecipe
from .stills import Donors, sample_stills

EMA_DECAY = 0.998
"""Of the weights' average in both phases, a step."""


def lr_groups(net: nn.Module) -> list[dict[str, Any]]:
    """The optimiser's groups: the encoder, which has learned before, at half of the learning rate."""
    named = list(net.named_parameters())
    encoder = [p for name, p in named if name.startswith("encoder.")]
    rest = [p for name, p in named if not name.startswith("encoder.")]
    return [{"params": encoder, "lr_scale": 0.5}, {"params": rest}]


def train_hr(
    root: StrPath,
    folder: StrPath,
    recipe: HrRecipe,
    report: Callable[[str], None] = print,
    start: StrPath | None = None,
    device: torch.device | str = "cpu",
    tensorboard: bool = False,
) -> Path:
    """Trains on CamVid's `train` in `root` and on synthetic streets; resumes what `folder` holds.

    Args:
        start: weights of an earlier phase 1 to go on from, in place of ImageNet's.
        device, tensorboard: see `loop.train`.

    Returns the path of the weights, `folder/hr.safetensors`.
    """
    folder, start = Path(folder), None if start is None else Path(start)
    torch.manual_seed(recipe.seed)
    real = camvid_stills(root, rows=ROWS)
    report(f"CamVid: {len(real)} frames; rendering {recipe.street_scenes} streets")
    with distributed.main_process_first():
        streets = street_stills(folder / "streets", recipe.street_scenes)
    drawn = round(recipe.batch * recipe.street_share)
    sources = [
        ([real, *(compressed(real, crf) for crf in recipe.qualities)], recipe.batch - drawn),
        ([compressed(streets, 23)] if drawn else [], drawn),
    ]
    donors = Donors(real)

    def sample(_: int, rng: np.random.Generator) -> Batch:
        return sample_stills(sources, donors, recipe, rng)

    num_classes = len(CAMVID.classes)
    device = torch.device(device)
    weights = class_weights((label for _, label in real), num_classes).to(device)
    config: dict[str, Any] = {"classes": num_classes, "channels": recipe.channels, "wide": recipe.wide}
    net = PyramidNet(num_classes, recipe.channels, recipe.wide)
    if start is None:
        net.encoder.load_imagenet_weights()
    else:
        _start_from(net, config, start)
    net = net.to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]

    def loss(batch: Batch) -> dict[str, Tensor]:
        with torch.autocast(device.type, torch.bfloat16):
            logits = net(batch["image"])
        return weighted_iou_loss(
            logits,
            batch["label"],
            weights,
            iou_loss_weight=recipe.iou_loss_weight,
        )

    state = train(
        net,
        lr_groups(net),
        sample,
        loss,
        Schedule(recipe.steps, recipe.lr, ema_decay=EMA_DECAY),
        folder,
        settings={**asdict(recipe), "data": fingerprint(real), **start_settings(start)},
        seed=recipe.seed,
        report=report,
        device=device,
        tensorboard=tensorboard,
    )
    path = folder / "hr.safetensors"
    if distributed.is_main_process():
        height = {"height": recipe.height} if recipe.height else {}
        save_checkpoint(state, path, kind="hr", config={**config, **height})
    return path


def _start_from(net: PyramidNet, config: dict[str, Any], path: Path) -> None:
    kind, found, state = read_checkpoint(path)
    if kind != "hr" or any(found.get(key) != value for key, value in config.items()):
        raise InputError(
            f"{path}: expected weights of `arseg train hr` with "
            f"{', '.join(f'{key} {value}' for key, value in config.items())}, got {kind} with "
            f"{', '.join(f'{key} {value}' for key, value in found.items() if key != 'labels')}"
        )
    load_into(net, state, path)


def start_settings(start: Path | None, name: str = "start") -> dict[str, Any]:
    """What tells a run from one with another start; nothing without one, as in the states of earlier versions."""
    return {} if start is None else {name: zlib.crc32(start.read_bytes())}
