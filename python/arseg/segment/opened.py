"""A segmenter of what the command line names; other processes make theirs so, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arseg.errors import InputError
from arseg.export.exported import ExportedNet
from arseg.networks.arseg_net import ARSegNet

from .segmenter import VideoSegmenter, opened
from .steering import USUAL

WITH_BRANCH: dict[str, Any] = {"policy": "ensemble", "gop": 12}
"""What is made of videos where nothing else is asked for."""

ALONE: dict[str, Any] = {"policy": "bidirectional", "gop": 3}
"""The same for a network without a trained low-resolution branch, at about the same compute."""

THE_METHOD: dict[str, Any] = {"mode": "ar", "gop": 12}
"""The same of the published checkpoints, whose results stay the authors'."""


def open_segmenter(
    device: str,
    weights: str | os.PathLike[str] | None,
    model: str | None,
    settings: Mapping[str, Any],
) -> VideoSegmenter:
    """Of weights and the line of a network, see `arseg.acceleration.opened.open_network`.

    Args:
        settings: other arguments of `VideoSegmenter`. Where they have no mode, budget, bound and policy, the network
            says what is best: both keyframes around a frame, and its own result at low resolution if it has a trained
            branch for that.

    Raises `InputError` where a way to see frames is asked for that the network has not.
    """
    chosen = {name: value for name, value in settings.items() if value is not None}
    for name, option in (("budget", "--budget"), ("slowest", "--live")):
        if "gop" in chosen and name in chosen:
            raise InputError(f"--gop: {option} says how far apart keyframes are; leave one of them out")
    asked = not chosen.keys().isdisjoint(("mode", "budget", "slowest", "policy"))
    network, trained = _network(weights, model)
    if model is not None and not trained and _needs_branch(chosen):
        if _has_branch(model):
            raise InputError(
                f"--model: of {model} it takes the keyframes' network alone; give it as --weights, with its branch"
            )
        raise InputError(
            f"--model: {model} is a network alone; train its low-resolution branch with `arseg adapt` and give "
            "--weights, give a --budget such as 25%, or choose --mode hr, warp, lr or keep"
        )
    if not trained and "slowest" in chosen and "mode" not in chosen:
        chosen = {"policy": USUAL} | chosen
    if not asked:
        usual = ALONE if not trained else THE_METHOD if network.grid == "legacy" else WITH_BRANCH
        chosen = usual | chosen
    return VideoSegmenter(network, device=device, **chosen)


def _network(weights: str | os.PathLike[str] | None, model: str | None) -> tuple[ARSegNet | ExportedNet, bool]:
    """The network, and whether it has a trained low-resolution branch."""
    if model is None:
        found = opened(weights)
        return found, not isinstance(found, ExportedNet) or found.has_branch
    if weights is not None and Path(weights).is_dir():
        raise InputError(f"--model: {weights} has its network in it; leave out --model")
    from arseg.acceleration.opened import around, open_network

    network = open_network(None if weights is None else Path(weights), model)
    return (network, True) if isinstance(network, ARSegNet) else (around(network), False)


def _has_branch(model: str) -> bool:
    """Whether a line means weights with a trained low-resolution branch."""
    from arseg.acceleration.network_source import is_weights
    from arseg.weights.files import read_config

    return is_weights(model) and read_config(model)[0] in ("ar", "accelerated")


def _needs_branch(settings: Mapping[str, Any]) -> bool:
    """Whether a frame's own low-resolution branch is asked for."""
    return settings.get("mode") == "ar" or settings.get("policy") in ("ar", "ensemble")
