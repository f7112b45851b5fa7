"""Networks of torchvision and timm by name, with what is known of their classes and normalisation."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from arseg.errors import InputError
from arseg.extras import needs
from arseg.labels import LabelSet

from .encoder_head import EncoderHead
from .encoders import check_timm
from .lines import check_known

_TORCHVISION_OPTIONS = ("num_classes", "aux_loss", "weights", "weights_backbone")


def torchvision_network(name: str, *, pretrained: bool | None = None, **options: Any) -> nn.Module:
    """torchvision's network of that name.

    Args:
        pretrained: fetch its default weights, or with options those of its backbone; None: where there are no options.
        options: of its builder.

    Raises `InputError` for a name that torchvision does not have, or an option that the builder does not.
    """
    with needs("networks", f"torchvision:{name}"):
        from torchvision.models import get_model_builder, get_model_weights, list_models, segmentation

    check_known("model", "torchvision", name, list_models())
    builder = get_model_builder(name)
    parameters = inspect.signature(builder).parameters
    has = [key for key in _TORCHVISION_OPTIONS if key in parameters or key == "num_classes"]
    unknown = options.keys() - set(has)  # which torchvision would leave unsaid
    if unknown:
        raise InputError(f"model: {name} has no option {min(unknown)!r}; it has {', '.join(has)}")
    whole = pretrained is not False and not options
    wanted = get_model_weights(name).DEFAULT if whole else None  # type: ignore[attr-defined]
    if pretrained is False:
        options = {key: value for key, value in options.items() if not key.startswith("weights")}
    backbone: dict[str, Any] = {"weights_backbone": None} if "weights_backbone" in has else {}
    if pretrained and not whole and backbone:
        backbone = {"weights_backbone": "DEFAULT"}
    network = builder(**{"weights": wanted, **backbone, **options})
    if name in list_models(module=segmentation):
        names = get_model_weights(name).DEFAULT.meta["categories"]  # type: ignore[attr-defined]
        count = options.get("num_classes", len(names))
        network.label_set = LabelSet.of(count, classes=names if count == len(names) else None)  # type: ignore[assignment]
    return network


def timm_network(name: str, *, pretrained: bool = False, **options: Any) -> EncoderHead:
    """timm's encoder of that name with the head of `EncoderHead`, whose options these are.

    Raises `InputError` for a name that timm does not have.
    """
    check_timm("model", name)
    network = EncoderHead(f"timm:{name}", pretrained=pretrained, **options)
    network.label_set = LabelSet.of(network.classifier.out_channels, mean=network.mean, std=network.std)
    return network
