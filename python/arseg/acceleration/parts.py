"""A network in two parts, features and classifier, of a line of text or a module: where training and scoring begin."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

from torch import nn

from arseg.errors import InputError
from arseg.labels import LabelSet
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.base import SegmentationNetwork, SplitNetwork
from arseg.networks.huggingface import of_transformers

from .cut import CutPoint, compare, cut, own_logits
from .cut_network import Cut, CutNetwork
from .network_source import Source, is_code, made_from, network_from
from .sizes import Sizes, find_sizes, random_image

SIZE = (192, 256)
"""Height and width of the random image on which the parts are compared with the whole."""


def split(
    model: nn.Module | Source | os.PathLike[str],
    *,
    num_classes: int | None = None,
    features: CutPoint = None,
    classifier: CutPoint = None,
    size: tuple[int, int] = SIZE,
    pretrained: bool = False,
) -> SegmentationNetwork:
    """A network with `features`, `classifier` and `channels`, to train, to score, or to put `ARSegNet` around.

    Args:
        model: a line (see `arseg.acceleration.network_source`), or a module, which stays what it is and is part of the
            result: trained with it.
        num_classes: build it with so many; None: as many as the line says, or the network has.
        features, classifier: where to cut, see `arseg.accelerate`; None: found.
        size: height and width of the random image on which the parts are compared with the whole.
        pretrained: whether the line may fetch weights, see `network_from`.

    Returns:
        The network itself where it has these parts, or else a `CutNetwork` around it; in eval mode where a line made
        it. Besides: `label_set`, always known; `input_height`; and `made_from`, the config with which weights of kind
        "hr" build it again, None for a module that no line made.

    Raises `InputError`, one sentence, where the line leads to no network, it has another number of classes, does not
    run, or cannot be cut.
    """
    source = None if isinstance(model, nn.Module) else model
    if isinstance(model, nn.Module):
        network = model
    else:
        network = network_from(model, pretrained=pretrained, num_classes=num_classes)
    if features is classifier is None:
        network = of_transformers(network)  # also what a function of the user's returns
    found = made_from(network, source, num_classes)
    network = network.high if isinstance(network, ARSegNet) else network
    result: Any = network
    training = network.training
    modes = {module: module.training for module in network.modules()}  # a part may be frozen
    try:
        high, count = cut_anywhere(network.eval(), network, features, classifier, size)
    finally:
        for module, mode in modes.items():
            module.training = mode
    check_classes(count, num_classes)
    as_it_is = is_split(network) and high.cut.preset == "own" and high.sizes == Sizes()
    if not as_it_is and high is not network:
        result = high
        high.training = training
        high.input_height = getattr(network, "input_height", None)
        found = None if found is None or not high.cut.portable else {**found, "cut": cut_record(high)}
    known = getattr(network, "label_set", None)
    result.label_set = known if isinstance(known, LabelSet) and len(known.classes) == count else LabelSet.of(count)
    result.made_from = found
    return cast(SegmentationNetwork, result)


def cut_anywhere(
    whole: nn.Module, original: nn.Module, features: CutPoint, classifier: CutPoint, size: tuple[int, int]
) -> tuple[CutNetwork, int]:
    """The network cut, with all that is measured there, and how many classes it gives; arguments: see `cut.cut`."""
    if isinstance(whole, SplitNetwork):  # what it gives of any size is the paper's
        sizes = Sizes()
    else:
        sizes = whole.sizes if isinstance(whole, CutNetwork) else find_sizes(whole, size)
    size = sizes.nearest(size)
    image = random_image(whole, size)
    output = own_logits(whole, image, size)
    high = cut(whole, features, classifier, original, image, output)
    high.sizes = sizes
    feature = compare(high, image, output)
    high.channels, high.stride = feature.shape[1], size[0] / feature.shape[2]
    return high, output.shape[1]


def is_split(network: nn.Module) -> bool:
    """Whether it has the parts of a `SegmentationNetwork` of its own."""
    has = isinstance(getattr(network, "channels", None), int) and callable(getattr(network, "features", None))
    return has and isinstance(getattr(network, "classifier", None), nn.Module)


def check_classes(found: int, wanted: int | None = None) -> None:
    """Raises `InputError` for a number of logits that no label map can hold, or other than what was asked for."""
    if found < 2:
        raise InputError("model: gives 1 class, and label maps need at least 2; build it with another num_classes")
    if found > 256:
        raise InputError(f"model: {found} classes; label maps are uint8, which has room for 256")
    if wanted is not None and found != wanted:
        raise InputError(
            f"model: gives {found} classes where {wanted} are wanted; give a network, or a function with the argument "
            "num_classes, that makes so many"
        )


def cut_record(high: CutNetwork) -> dict[str, Any]:
    """Where and how a network is cut, for the config of a weights file."""
    return {
        **high.cut.to_json(),
        "channels": high.channels,
        "stride": high.stride,
        "upsampling": high.upsampling,
        "upsampling_corners": high.upsampling_corners,
        "align_corners": high.align_corners,
        "sizes": high.sizes.to_json(),
    }


def cut_again(config: dict[str, Any], model: nn.Module | str | None = None) -> nn.Module:
    """The network of a weights file's `config` (see `split`), cut where `cut` in it says, with fresh weights.

    Args:
        model: to take in place of the line in the file; needed where that is code.
    """
    record, line = config.pop("cut", None), config.pop("network", None)
    if model is None and line is not None and is_code(line):
        raise InputError(
            f"made with --model {line}, which is code of yours and is not run because a file names it; give it again: "
            "--model, or arseg.load(path, model=…)"
        )
    network = again({"kind": "hr", "config": {**config, "network": line}}, model, config.get("num_classes"))
    return network if record is None else recut(network, Cut.from_json(record), record)


def again(source: Source | None, model: nn.Module | str | None, num_classes: int | None = None) -> nn.Module:
    """The network that `source` makes, or that is given in its place; of an `ARSegNet` the keyframes'."""
    if isinstance(model, nn.Module):
        network = model if source is None else of_transformers(model)
    else:
        line = source if model is None else model
        assert line is not None
        network = network_from(line, num_classes=num_classes)
        if isinstance(source, Mapping) and source["config"].get("network") == "transformers":
            network = of_transformers(network)
    return network.high if isinstance(network, ARSegNet) else network


def recut(network: nn.Module, where: Cut, record: Mapping[str, Any]) -> CutNetwork:
    """The network cut there, as `cut_record` has it; one that is cut already stays so."""
    high = network if isinstance(network, CutNetwork) else CutNetwork(network, where)
    high.align_corners, high.sizes = record["align_corners"], Sizes.from_json(record.get("sizes"))
    high.upsampling = record.get("upsampling", high.upsampling)
    high.upsampling_corners = record.get("upsampling_corners", high.upsampling_corners)
    high.channels, high.stride = record["channels"], record["stride"]
    return high
