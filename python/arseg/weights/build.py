"""From the `kind` and `config` of a weights file to a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from arseg.labels import CAMVID, LabelSet
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.base import SplitNetwork
from arseg.networks.paper.published import make_published
from arseg.networks.pyramid import PyramidNet

_FUSION = ("scale", "window", "fusion", "grid", "keyframe_weight", "keyframe_decay", "keyframe_detail")


def build(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised network.

    Args:
        kind: "hr" (the network alone), "ar" (with its fused low-resolution branch), "fused" (the paper's
            low-resolution network alone, see `FusedNetwork`), "accelerated" (an `AcceleratedNet`).
        config: `classes`, `channels`, `wide` of `PyramidNet`, or `arch` (and `auxiliary`) of `make_published`; for
            "ar" also `scale`, `window` and, where they are not the default, its other options, for
            "fused" `window` and `fusion`; `labels`, a `LabelSet` as JSON: where it is missing, 11 classes are CamVid's
            and others unknown; `height`, of the frames that the network was trained for. For "accelerated" see
            `AcceleratedNet.save`.

    The network has the label set as its attribute `label_set`, and the height as `input_height`.
    """
    if kind == "accelerated":
        from arseg.acceleration.network import rebuild

        return rebuild(config)
    config = dict(config)
    labels = LabelSet.from_json(config.pop("labels")) if "labels" in config else None
    height = config.pop("height", None)
    module = _build(kind, config)
    if labels is None:
        labels = getattr(module, "label_set", None)
    if labels is None and _classes(module) == len(CAMVID.classes):
        labels = CAMVID
    module.label_set = labels  # type: ignore[assignment]
    module.input_height = height
    return module


def _classes(module: nn.Module) -> int | None:
    return getattr(getattr(module, "classifier", None), "out_channels", None)


def _build(kind: str, config: dict[str, Any]) -> nn.Module:
    if kind == "hr":
        return _network(config)
    if kind == "fused":
        return make_published(part="fused", **config)
    if kind == "ar":
        options = {key: config.pop(key) for key in _FUSION if key in config}
        for key in ("scale", "window"):
            if key not in options:
                raise KeyError(key)
        high = _network(config)
        return ARSegNet(high, channels=high.channels, **options)
    raise ValueError(f'kind: expected "hr", "fused", "ar" or "accelerated", got "{kind}"')


def _network(config: dict[str, Any]) -> PyramidNet | SplitNetwork:
    if "arch" not in config:
        return PyramidNet(**config)
    network = make_published(part="hr", **config)
    assert isinstance(network, SplitNetwork)
    return network
