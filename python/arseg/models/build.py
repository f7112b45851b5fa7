"""From the `kind` and `config` of a weights file to a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from .arseg_net import ARSegNet
from .pyramid import PyramidNet


def build(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised network. `kind`: "hr" (the network alone), "ar" (with its fused low-resolution branch) or
    "accelerated" (that around any network, see `accelerated`).

    `config`: `classes`, `channels`, `wide` of `PyramidNet`; for "ar" also `scale` and `window` of `ARSegNet`.
    """
    config = dict(config)
    if kind == "hr":
        return PyramidNet(**config)
    if kind == "ar":
        scale, window = config.pop("scale"), config.pop("window")
        return ARSegNet(PyramidNet(**config), channels=config["channels"], scale=scale, window=window)
    if kind == "accelerated":
        from .accelerated import rebuild

        return rebuild(config)
    raise ValueError(f'kind: expected "hr", "ar" or "accelerated", got "{kind}"')
