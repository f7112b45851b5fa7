"""From the `kind` and `config` of a weights file to a network: one builder for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from arseg.labels import CAMVID, LabelSet
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.paper.published import make_published
from arseg.networks.pyramid import PyramidNet
from arseg.networks.registry import make_network
from arseg.registry import Registry, imported

_FUSION = ("scale", "window", "fusion", "grid", "keyframe_weight", "keyframe_decay", "keyframe_detail")

Builder = Callable[[dict[str, Any]], nn.Module]
"""Of a network with fresh weights; may change the `config` that it is given."""

KINDS: Registry[Builder] = Registry("kind")
"""Kinds of weights files and their builders. A kind of a folder above this one is named by its import path."""


def build(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised network.

    Args:
        kind: a name of `KINDS`: "hr" (the network alone), "ar" (with its fused low-resolution branch), "fused" (the
            paper's low-resolution network alone, see `FusedNetwork`), "accelerated" (an `AcceleratedNet`).
        config: `network`, a line for `arseg.networks.make_network`, and its options. Without it the options are those
            of `PyramidNet` (its `num_classes` called `classes`), or of `make_published` where there is an `arch`.
            For "ar" also `scale`, `window` and, where they are not the default, its other options, for "fused"
            `window` and `fusion`; `labels`, a `LabelSet` as JSON: where it is missing, 11 classes are CamVid's and
            others unknown; `height`, of the frames that the network was trained for. For "accelerated" see
            `AcceleratedNet.save`.

    The network has the label set as its attribute `label_set`, and the height as `input_height`.

    Raises `InputError` for names that are in no table; what the network's class raises for options it does not have.
    """
    return KINDS[kind](dict(config))


@KINDS.register("hr")
def _high(config: dict[str, Any]) -> nn.Module:
    return _labelled(_network, config)


@KINDS.register("ar")
def _pair(config: dict[str, Any]) -> nn.Module:
    return _labelled(_around, config)


@KINDS.register("fused")
def _fused(config: dict[str, Any]) -> nn.Module:
    return _labelled(lambda options: make_published(part="fused", **options), config)


KINDS.register("accelerated", imported("arseg.acceleration.network:rebuild"))


def _labelled(make: Builder, config: dict[str, Any]) -> nn.Module:
    """What `make` builds, with the label set and the height that the config says or that are known otherwise."""
    labels = LabelSet.from_json(config.pop("labels")) if "labels" in config else None
    height = config.pop("height", None)
    module = make(config)
    if labels is None:
        labels = getattr(module, "label_set", None)
    if labels is None and _num_classes(module) == len(CAMVID.classes):
        labels = CAMVID
    module.label_set = labels  # type: ignore[assignment]
    module.input_height = height
    return module


def _num_classes(module: nn.Module) -> int | None:
    return getattr(getattr(module, "classifier", None), "out_channels", None)


def _around(config: dict[str, Any]) -> ARSegNet:
    options = {key: config.pop(key) for key in _FUSION if key in config}
    for key in ("scale", "window"):
        if key not in options:
            raise KeyError(key)
    high: Any = _network(config)
    return ARSegNet(high, channels=high.channels, **options)


def _network(config: dict[str, Any]) -> nn.Module:
    if "network" in config:
        return make_network(config.pop("network"), **config)
    if "arch" in config:
        return make_published(**config)
    if "classes" in config:
        config["num_classes"] = config.pop("classes")
    return PyramidNet(**config)
