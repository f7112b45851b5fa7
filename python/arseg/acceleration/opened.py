"""What `--weights` and `--model` name together: the network that eval and segment look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from arseg.networks.arseg_net import ARSegNet
from arseg.weights.files import OTHER_NETWORK, load_checkpoint, load_state
from arseg.zoo import DEFAULT

from .cut_network import CutNetwork
from .parts import split


def open_network(weights: str | Path | None = None, model: str | None = None) -> nn.Module:
    """A network in eval mode.

    Args:
        weights: a weights file of ours, or its name in the zoo; with `model` also the state of that network, as its
            own training saved it (.safetensors or .pth). None: those that `model` comes with, or else the package's.
        model: the network's line (see `arseg.acceleration.network_source`), which may fetch weights where there are
            no others; with a weights file of ours it is needed only where that was made with code of yours.

    Returns an `ARSegNet`, or a network alone, with features and a classifier. Raises `InputError`, `CheckpointError`.
    """
    if model is None:
        return load_checkpoint(DEFAULT if weights is None else weights)
    if weights is not None and not _is_state(Path(weights)):
        return load_checkpoint(weights, model)
    network: Any = split(model, pretrained=weights is None)
    if weights is not None:
        load_state(network.network if isinstance(network, CutNetwork) else network, weights, OTHER_NETWORK)
    return network.eval()


def around(network: nn.Module) -> ARSegNet:
    """A network alone as `VideoSegmenter` takes it: in all ways to segment but "ar", for which nothing is trained."""
    parts: Any = network
    net = ARSegNet(network, channels=parts.channels, label_set=parts.label_set)
    net.input_height = getattr(network, "input_height", None)
    return net.eval()


def _is_state(path: Path) -> bool:
    """Whether a file holds tensors alone, not a network of ours."""
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return "kind" not in (file.metadata() or {})
    except (SafetensorError, OSError):
        return path.suffix != ".safetensors"
