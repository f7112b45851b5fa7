"""The network that phase 1 trains: the default one, or whatever a line of text makes."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from arseg.errors import InputError
from arseg.labels import LabelSet
from arseg.networks.base import SegmentationNetwork
from arseg.networks.pyramid import PyramidNet
from arseg.weights.files import load_into, read_checkpoint

from .recipes import HrRecipe

LEARNED = ("encoder", "backbone")
"""Names of the part of a network that has learned before."""


def lr_groups(net: nn.Module) -> list[dict[str, Any]]:
    """The optimiser's groups: the encoder, which has learned before, at half of the learning rate."""
    learned: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in net.named_parameters():
        (learned if set(name.split(".")) & set(LEARNED) else rest).append(parameter)
    groups: list[dict[str, Any]] = [{"params": learned, "lr_scale": 0.5}, {"params": rest}]
    return [group for group in groups if group["params"]]


def hr_network(
    labels: LabelSet, recipe: HrRecipe, line: str | None, start: Path | None
) -> tuple[SegmentationNetwork, LabelSet, dict[str, Any]]:
    """A network for `labels`, in training mode, with the weights that it starts from.

    Args:
        line: as `--model` takes it (see `arseg.acceleration.network_source`); None: the default network.
        start: weights of an earlier phase 1 of the same network.

    Returns the network; `labels` with the RGB statistics that it expects; and what its weights file says of how it is
    built. Raises `InputError` for a line that makes no such network, and for weights of another one.
    """
    config: dict[str, Any]
    net: Any
    if line is None:
        config = {"classes": len(labels.classes), "channels": recipe.channels, "wide": recipe.wide}
        if recipe.encoder != HrRecipe.encoder:
            config["encoder"] = recipe.encoder  # not in the weights of before there was a choice
        net = PyramidNet(len(labels.classes), recipe.channels, recipe.wide, recipe.encoder)
    else:
        net, config = _of_line(line, len(labels.classes), recipe)
        if net.label_set is not None:
            labels = replace(labels, mean=net.label_set.mean, std=net.label_set.std)
    encoder: Any = getattr(net, "encoder", None)
    if start is not None:
        _start_from(net, config, start)
    elif recipe.imagenet and hasattr(encoder, "load_imagenet_weights") and not (line and Path(line).is_file()):
        encoder.load_imagenet_weights()
    net.label_set = labels
    return cast(SegmentationNetwork, net.train()), labels, config


def _of_line(line: str, num_classes: int, recipe: HrRecipe) -> tuple[Any, dict[str, Any]]:
    from arseg.acceleration import split

    net: Any = split(line, num_classes=num_classes, size=recipe.crop, pretrained="pretrained=true" in line.lower())
    if net.made_from is None:
        raise InputError(f"model: {line}: cannot be built again from a weights file; cut it by names of submodules")
    # What the file that a line names was trained for is said anew.
    said = ("labels", "height", "made")
    return net, {key: value for key, value in net.made_from.items() if key not in said}


def _start_from(net: nn.Module, config: dict[str, Any], path: Path) -> None:
    kind, found, state = read_checkpoint(path)
    if kind != "hr" or any(found.get(key) != value for key, value in config.items()):
        raise InputError(
            f"{path}: expected weights of `arseg train hr` with "
            f"{', '.join(f'{key} {value}' for key, value in config.items())}, got {kind} with "
            f"{', '.join(f'{key} {value}' for key, value in found.items() if key not in ('labels', 'made'))}"
        )
    load_into(net, state, path)


def start_settings(start: Path | None, name: str = "start") -> dict[str, Any]:
    """What tells a run from one with another start; nothing without one, as in the states of earlier versions."""
    return {} if start is None else {name: zlib.crc32(start.read_bytes())}


def at_size_of(logits: Tensor, label: Tensor, net: Any) -> Tensor:
    """A network's logits `[N, K, h, w]` at the size of `label` `[N, H, W]`, as its output reaches a frame."""
    size = label.shape[-2:]
    if logits.shape[-2:] == size:
        return logits
    corners = getattr(net, "align_corners", False)
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=corners)
