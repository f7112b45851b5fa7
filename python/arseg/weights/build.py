"""From the `kind` and `config` of a weights file to a network: one builder for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from arseg.errors import InputError
from arseg.labels import CAMVID, LabelSet
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.paper.published import make_published
from arseg.networks.pyramid import PyramidNet
from arseg.networks.registry import make_network
from arseg.registry import Registry, imported

FUSION = (
    "scale",
    "window",
    "fusion",
    "grid",
    "keyframe_weight",
    "keyframe_decay",
    "keyframe_detail",
    "keyframe_tau",
    "keyframe_residual",
    "residual_tau",
)
"""Options of `ARSegNet` in the config of kind "ar"; the others are its network's."""

Builder = Callable[..., nn.Module]
"""Of a network with fresh weights: from a `config`, which it may change, and the user's network where one is given."""

KINDS: Registry[Builder] = Registry("kind")
"""Kinds of weights files and their builders. A kind of a folder above this one is named by its import path."""


def build(kind: str, config: Mapping[str, Any], model: nn.Module | str | None = None) -> nn.Module:
    """A freshly initialised network.

    Args:
        kind: a name of `KINDS`: "hr" (the network alone), "ar" (with its fused low-resolution branch), "fused" (the
            paper's low-resolution network alone, see `FusedNetwork`), "accelerated" (an `AcceleratedNet`).
        config: `network`, a line for `arseg.networks.make_network`, and its options. Without it the options are those
            of `PyramidNet` (its `num_classes` called `classes`), or of `make_published` where there is an `arch`.
            For "ar" also `scale`, `window` and, where they are not the default, its other options, for "fused"
            `window` and `fusion`; `labels`, a `LabelSet` as JSON: where it is missing, 11 classes are CamVid's and
            others unknown; `height`, of the frames that the network was trained for; `made`, how: it builds nothing.
            `cut`: where the network is cut into features and classifier, see `arseg.acceleration.split`. For
            "accelerated" see `AcceleratedNet.save`.
        model: a network of the user's, or the line of one, in place of the one that `network` names: code is not run
            because a file names it.

    The network has the label set as its attribute `label_set`, and the height as `input_height`.

    Raises `InputError` for names that are in no table; what the network's class raises for options it does not have.
    """
    return KINDS[kind](dict(config)) if model is None else KINDS[kind](dict(config), model)


@KINDS.register("hr")
def _high(config: dict[str, Any], model: nn.Module | str | None = None) -> nn.Module:
    return _labelled(partial(_network, model=model), config)


@KINDS.register("ar")
def _pair(config: dict[str, Any], model: nn.Module | str | None = None) -> nn.Module:
    return _labelled(partial(_around, model=model), config)


@KINDS.register("fused")
def _fused(config: dict[str, Any]) -> nn.Module:
    return _labelled(lambda options: make_published(part="fused", **options), config)


KINDS.register("accelerated", imported("arseg.acceleration.network:rebuild"))
_CUT = imported("arseg.acceleration.parts:cut_again")


def _labelled(make: Builder, config: dict[str, Any]) -> nn.Module:
    """What `make` builds, with the label set and the height that the config says or that are known otherwise."""
    labels = LabelSet.from_json(config.pop("labels")) if "labels" in config else None
    height = config.pop("height", None)
    config.pop("made", None)  # see `arseg.weights.made`
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


def _around(config: dict[str, Any], model: nn.Module | str | None = None) -> ARSegNet:
    options = {key: config.pop(key) for key in FUSION if key in config}
    for key in ("scale", "window"):
        if key not in options:
            raise KeyError(key)
    high: Any = _network(config, model)
    if not hasattr(high, "channels"):
        raise InputError(f"expected the network that the weights are of, got {type(high).__name__}; leave --model out")
    return ARSegNet(high, channels=high.channels, **options)


def _network(config: dict[str, Any], model: nn.Module | str | None = None) -> nn.Module:
    if "cut" in config or model is not None:
        return _CUT(config, model)
    if "network" in config:
        return make_network(config.pop("network"), **config)
    if "arch" in config:
        return make_published(**config)
    if "classes" in config:
        config["num_classes"] = config.pop("classes")
    return PyramidNet(**config)
