"""Networks of segmentation_models_pytorch (smp): by architecture, or from a folder of its `save_pretrained`."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, cast

from torch import nn

from arseg.errors import InputError
from arseg.extras import needs
from arseg.labels import IMAGENET_MEAN, IMAGENET_STD, RGB, LabelSet

from .lines import check_known
from .state_dict import misfit


def smp_network(
    name: str, *, num_classes: int | None = None, pretrained: bool | None = None, **options: Any
) -> nn.Module:
    """A network of segmentation_models_pytorch.

    Args:
        name: an architecture, such as "Unet"; or a folder of `save_pretrained`, whose weights are loaded.
        num_classes: smp's `classes`; of a folder only its own.
        pretrained: fetch the encoder's ImageNet weights; None, False: none.
        options: of the architecture, such as encoder_name.

    Raises `InputError` for an architecture, an encoder or an option that there is not, and for a folder that holds no
    such network.
    """
    with needs("smp", f"smp:{name}"):
        import segmentation_models_pytorch as smp

    folder = Path(name) if (Path(name) / "config.json").is_file() else None
    if folder is not None:
        saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        name = str(saved.pop("_model_class", ""))
        if options or num_classes not in (None, saved.get("classes")):
            raise InputError(
                f"model: smp:{folder} is a saved network with {saved.get('classes')} classes, which options cannot "
                "change; give an architecture, such as smp:Unet"
            )
        options = {key: value for key, value in saved.items() if not key.startswith("_")}
        num_classes, pretrained = options.pop("classes", None), False
    architectures = {made.__name__: made for made in smp.MODEL_ARCHITECTURES_MAPPING.values()}
    check_known("model", "smp", name, list(architectures))
    make = architectures[name]
    if options.pop("in_channels", 3) != 3:
        raise InputError(f"model: smp:{name}: expected 3 channels, RGB; leave in_channels out")
    options["classes"] = options.get("classes", 1) if num_classes is None else num_classes
    encoder = str(options.get("encoder_name", inspect.signature(make.__init__).parameters["encoder_name"].default))
    _check_encoder(encoder)
    if name == "DPT":  # else timm's vision transformers take images of their own size alone
        options.setdefault("dynamic_img_size", True)
    options["encoder_weights"] = options.get("encoder_weights") or "imagenet" if pretrained else None
    network = make(**options)
    if folder is not None:
        _load(network, folder)
    mean, std = _statistics(encoder, bool(pretrained))
    network.label_set = LabelSet.of(options["classes"], mean=mean, std=std)
    network.made_from = {"network": f"smp:{name}", **options, "encoder_weights": None}
    return network


def _check_encoder(name: str) -> None:
    import segmentation_models_pytorch as smp
    import timm

    if name.startswith("tu-"):
        if not timm.is_model(name.removeprefix("tu-")):
            check_known("encoder_name", "timm", name.removeprefix("tu-"), timm.list_models())
    elif not name.startswith("timm-"):
        check_known("encoder_name", "smp", name, smp.encoders.get_encoder_names())


def _load(network: nn.Module, folder: Path) -> None:
    from safetensors.torch import load_file

    path = folder / "model.safetensors"
    if not path.is_file():
        raise InputError(f"model: {path}: no such file; expected a folder of save_pretrained")
    if next(network.parameters()).is_meta:  # to count what it computes
        return
    state = load_file(path)
    found = misfit(state, network.state_dict())
    if found is not None:
        raise InputError(f"model: {path}: the weights do not fit the network: {found}")
    network.load_state_dict(state, strict=False)


def _statistics(encoder: str, fetch: bool) -> tuple[RGB, RGB]:
    """What the encoder's ImageNet weights were normalised with, ImageNet's own where smp would have to fetch it."""
    import segmentation_models_pytorch as smp

    if not fetch and not encoder.startswith("tu-"):
        return IMAGENET_MEAN, IMAGENET_STD
    try:
        found = smp.encoders.get_preprocessing_params(encoder)
    except (ValueError, RuntimeError):  # it has no weights
        return IMAGENET_MEAN, IMAGENET_STD
    scale = float(found["input_range"][1])
    mean, std = (tuple(float(value) / scale for value in found[key]) for key in ("mean", "std"))
    return cast(RGB, mean), cast(RGB, std)
