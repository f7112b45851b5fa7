"""A segmenter of what the command line names; other processes make theirs so, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arseg.errors import InputError

from .segmenter import VideoSegmenter


def open_segmenter(
    device: str, weights: str | os.PathLike[str] | None, model: str | None, settings: Mapping[str, Any]
) -> VideoSegmenter:
    """Of weights and the line of a network, see `arseg.acceleration.opened.open_network`.

    Args:
        settings: other arguments of `VideoSegmenter`.

    Raises `InputError` where a way to see frames is asked for that the network has not.
    """
    if model is None:
        return VideoSegmenter(weights, device=device, **settings)
    if weights is not None and Path(weights).is_dir():
        raise InputError(f"--model: {weights} has its network in it; leave out --model")
    from arseg.acceleration.opened import around, open_network
    from arseg.networks.arseg_net import ARSegNet

    network = open_network(None if weights is None else Path(weights), model)
    if not isinstance(network, ARSegNet):
        if _needs_branch(settings):
            raise InputError(
                f"--model: {model} is a network alone; train its low-resolution branch with `arseg adapt` and give "
                "--weights, give a --budget such as 25%, or choose --mode hr, warp, lr or keep"
            )
        network = around(network)
    return VideoSegmenter(network, device=device, **settings)


def _needs_branch(settings: Mapping[str, Any]) -> bool:
    """Whether a frame's own low-resolution branch is used."""
    mode, policy = settings.get("mode"), settings.get("policy")
    if policy is not None:
        return policy in ("ar", "ensemble")
    return mode == "ar" or (mode is None and not (settings.get("budget") or settings.get("slowest")))
