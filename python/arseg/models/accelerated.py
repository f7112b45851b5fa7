"""AR-Seg around any segmentation network: `arseg.accelerate`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arseg.data.info import CAMVID, IMAGENET_MEAN, IMAGENET_STD, DataInfo, data_info
from arseg.errors import InputError

from .arseg_net import ARSegNet
from .bisenet import BiSeNet
from .checkpoint import CheckpointError, load_into, read_checkpoint, save_checkpoint
from .cut import Part, compare, cut, first_line, own_logits, random_image
from .pspnet import PSPNet
from .pyramid import PyramidNet
from .specs import Spec, build_network, is_code, load_state, portable
from .split import PRESETS, Split, SplitNet

KIND = "accelerated"
"""What weights files call it."""


class AcceleratedNet(ARSegNet):
    """An `ARSegNet` around a network that is not ours; made by `accelerate`.

    Attributes:
        info: normalisation, class names and colours of the network's data.
        align_corners: of the bilinear resizing from logits to frame, as the network itself does it.
        channels, stride: of the fusion feature; the stride is that of the height, and may not be whole.
        spec: how to build the network again, None where that is not known.
    """

    high: SplitNet

    def __init__(
        self,
        high: SplitNet,
        *,
        channels: int,
        stride: float,
        info: DataInfo,
        scale: float = 0.5,
        window: int = 7,
        align_corners: bool = False,
        spec: Spec | None = None,
    ):
        super().__init__(high, channels=channels, scale=scale, window=window)
        self.channels, self.stride, self.info, self.spec = channels, stride, info, spec
        self.window = window
        self.align_corners = align_corners
        self.start_fusion()

    @torch.no_grad()
    def start_fusion_for(self, feature: Tensor) -> None:
        """`start_fusion` at the scale of this network's features, of which `feature` `[N, C, h, w]` is an example.

        Queries and keys are centred, and scaled so that a pixel's logit with itself is 6 in the mean: enough for the
        attention to choose, not so much that it is blind to all but one.
        """
        feature = feature.float()
        gain = float((6 / feature.var((0, 2, 3)).sum().clamp_min(1e-12)).sqrt())
        self.start_fusion(gain)
        for conv in (self.fusion.lr_query_conv, self.fusion.hr_key_conv):
            assert conv.bias is not None
            conv.bias.copy_(-gain * feature.mean((0, 2, 3)))

    def classify(self, feature: Tensor, like: Tensor) -> Tensor:
        """A fusion feature -> logits at the size of the image `like`, `[N, classes, H, W]`."""
        logits, size = self.classifier(feature), like.shape[-2:]
        if logits.shape[-2:] == size:
            return logits
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=self.align_corners)

    def save(self, path: str | Path) -> None:
        """Weights in full precision, so that keyframes stay the network's own, and what `load` needs besides."""
        split = self.high.split
        config = {
            "model": self.spec,
            "features": split.features if isinstance(split.features, str) else None,
            "classifier": split.classifier if isinstance(split.classifier, str) else None,
            "preset": split.preset,
            "functions": split.preset is None and (callable(split.features) or callable(split.classifier)),
            "channels": self.channels,
            "stride": self.stride,
            "scale": self.scale,
            "window": self.window,
            "align_corners": self.align_corners,
            "info": self.info.as_json(),
        }
        save_checkpoint(self.state_dict(), Path(path), kind=KIND, config=config, half=False)

    @classmethod
    def load(cls, path: str | Path, model: nn.Module | str | None = None) -> AcceleratedNet:
        """What `save` wrote, in eval mode.

        Args:
            model: the network, with any weights, or how to build it. Needed where the file does not say, and where it
                names code of yours, for a weights file alone shall not make code run.

        Raises `CheckpointError` where the file cannot be read or does not fit.
        """
        kind, config, state = read_checkpoint(path)
        if kind != KIND:
            raise CheckpointError(f'{path}: expected weights made by `arseg adapt`, got some of kind "{kind}"')
        try:
            net = rebuild(config, model)
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: its metadata describes no network we know: {error!r}") from error
        except InputError as error:
            raise CheckpointError(f"{path}: {error}") from error
        load_into(net, state, path)
        return net.eval()

    def extra_repr(self) -> str:
        return f"channels={self.channels}, stride={self.stride:g}, scale={self.scale}, {len(self.info.classes)} classes"


def accelerate(
    model: nn.Module | str,
    features: Part = None,
    classifier: Part = None,
    *,
    weights: str | Path | None = None,
    scale: float = 0.5,
    window: int = 7,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    classes: Sequence[str] | None = None,
    palette: Sequence[Sequence[int]] | None = None,
    size: tuple[int, int] = (192, 256),
) -> AcceleratedNet:
    """Builds AR-Seg around a segmentation network, ready for `arseg adapt` and `VideoSegmenter`.

    The network is copied (twice), in float32 and eval mode; `model` itself is not changed. On keyframes the result is
    the network's own. Other frames need training first (`arseg.engine.adapt`): until then they are the network's result
    at low resolution.

    Args:
        model: takes normalised RGB `[N, 3, H, W]` of any size; returns logits `[N, classes, H, W]` at the image's
            size or a smaller one, as a tensor, as `{"out": logits}` or as an object with `.logits`. Or a line that
            builds one (see `arseg.models.specs.build_network`), such as "torchvision:lraspp_mobilenet_v3_large".
        features: the submodule whose output is the feature to fuse, by name; or a function `(model, image) -> feature`.
            None: the classifier's input.
        classifier: the submodule that makes the logits of that feature, by name (often a 1x1 convolution, for which the
            fusion has a faster way); or a function `(model, feature) -> logits`. None: found by looking for it.
        weights: a file with the network's state, .safetensors or .pth; None: the weights it comes with.
        scale, window: see `ARSegNet`.
        mean, std: RGB statistics of the network's normalisation; None: ImageNet's.
        classes, palette: names and RGB colours 0..255; None: "class 0", … in Pascal VOC's colours.
        size: height and width of the random image on which the parts are compared with the whole.

    Raises `InputError` (a `ValueError`), one sentence, where a name leads nowhere, the network does not run, or
    `classifier(features(image))` is not what the network itself gives.
    """
    spec: Spec | None = None
    if not isinstance(model, nn.Module):
        spec = portable(model)
        model, of_spec = build_network(model, weights=weights is None)
    else:
        of_spec = CAMVID if isinstance(model, (PyramidNet, PSPNet, BiSeNet)) else None
    whole = copy.deepcopy(model).eval().requires_grad_(False).float()
    if weights is not None:
        load_state(whole, weights)
    image = random_image(whole, size)
    output = own_logits(whole, image, size)
    high = cut(whole, features, classifier, model, image, output)
    feature, align_corners = compare(high, image, output)
    if of_spec is not None and classes is palette is None:
        info = replace(of_spec, mean=tuple(mean or of_spec.mean), std=tuple(std or of_spec.std))
    else:
        usual = (of_spec.mean, of_spec.std) if of_spec is not None else (IMAGENET_MEAN, IMAGENET_STD)
        info = data_info(output.shape[1], mean=mean or usual[0], std=std or usual[1], classes=classes, palette=palette)
    if output.shape[1] > 256:
        raise InputError(f"model: {output.shape[1]} classes; label maps are uint8, which has room for 256")
    if len(info.classes) != output.shape[1]:
        raise InputError(
            f"classes: expected {output.shape[1]} names, as many as the model has logits, got {len(info.classes)}"
        )
    net = AcceleratedNet(
        high,
        channels=feature.shape[1],
        stride=size[0] / feature.shape[2],
        info=info,
        scale=scale,
        window=window,
        align_corners=align_corners,
        spec=spec,
    )
    net.to(device=image.device)
    _try_low(net, image, size)
    return net.eval()


def rebuild(config: Mapping[str, Any], model: nn.Module | str | None = None) -> AcceleratedNet:
    """An `AcceleratedNet` as the metadata of its weights file describes it, with fresh weights."""
    spec = config["model"]
    if model is None and spec is None:
        raise InputError("made from a network that the file does not name; give it: AcceleratedNet.load(path, model=…)")
    if model is None and is_code(spec):
        raise InputError(
            f"made with --model {spec}, which is code of yours and is not run because a file names it; give it again: "
            "--model, or AcceleratedNet.load(path, model=…)"
        )
    network: nn.Module
    if isinstance(model, nn.Module):
        network = copy.deepcopy(model)
    else:
        network, _ = build_network(spec if model is None else model, weights=False)
    if isinstance(network, SplitNet):
        high = network
    elif config["functions"]:
        raise InputError(
            "made with functions for features and classifier, which no file can keep; give the network as "
            "arseg.models.SplitNet(network, Split(features, classifier))"
        )
    else:
        preset = config["preset"]
        high = SplitNet(network, PRESETS[preset] if preset else Split(config["features"], config["classifier"]))
    high.eval().requires_grad_(False)
    return AcceleratedNet(
        high,
        channels=config["channels"],
        stride=config["stride"],
        info=DataInfo.from_json(config["info"]),
        scale=config["scale"],
        window=config["window"],
        align_corners=config["align_corners"],
        spec=spec,
    )


@torch.no_grad()
def _try_low(net: AcceleratedNet, image: Tensor, size: tuple[int, int]) -> None:
    small = net.shrink(image)
    try:
        net.low_res(image)
    except Exception as error:
        raise InputError(
            f"model: does not run on the {small.shape[2]}x{small.shape[3]} image that scale {net.scale:g} makes of "
            f"{size[0]}x{size[1]}: {first_line(error)}; choose scale and size so that both sizes suit it"
        ) from error
