"""AR-Seg around any segmentation network: `arseg.accelerate`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from arseg.errors import InputError
from arseg.labels import CAMVID, LabelSet
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.huggingface import of_transformers
from arseg.networks.pyramid import PyramidNet
from arseg.weights.files import CheckpointError, building, load_into, load_state, read_checkpoint, save_checkpoint

from .cut import CutPoint
from .cut_network import Cut, CutNetwork
from .network_source import Source, config_of, is_code, network_from, own_source, portable
from .parts import SIZE, again, check_classes, cut_anywhere, cut_record, recut
from .sizes import first_line, random_image

KIND = "accelerated"
"""What weights files call it."""


class AcceleratedNet(ARSegNet):
    """An `ARSegNet` around a network that is not ours; made by `accelerate`.

    Attributes:
        label_set: normalisation, class names and colours of the network's data; always known.
        channels, stride: of the fusion feature; the stride is that of the height, and may not be whole.
        source: how to build the network again, None where that is not known.
    """

    high: CutNetwork
    label_set: LabelSet

    def __init__(
        self,
        high: CutNetwork,
        *,
        channels: int,
        stride: float,
        label_set: LabelSet,
        scale: float = 0.5,
        window: int = 7,
        keyframe_weight: float = 0.0,
        keyframe_decay: float = 0.5,
        keyframe_detail: float = 0.0,
        keyframe_tau: float | None = None,
        keyframe_residual: float = 0.0,
        residual_tau: float | None = None,
        source: Source | None = None,
    ):
        super().__init__(
            high,
            channels=channels,
            scale=scale,
            window=window,
            keyframe_weight=keyframe_weight,
            keyframe_decay=keyframe_decay,
            keyframe_detail=keyframe_detail,
            keyframe_tau=keyframe_tau,
            keyframe_residual=keyframe_residual,
            residual_tau=residual_tau,
        )
        self.channels, self.stride, self.label_set, self.source = channels, stride, label_set, source
        self.window = window
        self.start_fusion()

    def save(self, path: str | Path, made: Mapping[str, Any] | None = None) -> None:
        """Weights in full precision, so that keyframes stay the network's own, and what `load` needs besides.

        `made`: how, see `arseg.weights.made.how_made`; None: the file does not say.
        """
        config = {
            "model": self.source,
            **cut_record(self.high),
            "functions": not self.high.cut.portable,
            "scale": self.scale,
            "window": self.window,
            "keyframe_weight": self.keyframe_weight,
            "keyframe_decay": self.keyframe_decay,
            "keyframe_detail": self.keyframe_detail,
            "keyframe_tau": self.keyframe_tau,
            "keyframe_residual": self.keyframe_residual,
            "residual_tau": self.residual_tau,
            "height": self.input_height,
            "labels": self.label_set.to_json(),
            **({} if made is None else {"made": dict(made)}),
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
        with building(path):
            net = rebuild(config, model)
        load_into(net, state, path)
        return net.eval()

    def extra_repr(self) -> str:
        return f"channels={self.channels}, stride={self.stride:g}, scale={self.scale}, {self.label_set}"


def accelerate(
    model: nn.Module | str,
    features: CutPoint = None,
    classifier: CutPoint = None,
    *,
    weights: str | Path | None = None,
    scale: float = 0.5,
    window: int = 7,
    keyframe_weight: float = 1.0,
    keyframe_detail: float = 1.0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    classes: Sequence[str] | None = None,
    palette: Sequence[Sequence[int]] | None = None,
    size: tuple[int, int] = SIZE,
) -> AcceleratedNet:
    """Builds AR-Seg around a segmentation network, ready for `arseg adapt` and `VideoSegmenter`.

    The network is copied (twice), in float32 and eval mode; `model` itself is not changed. On keyframes the result is
    the network's own. Other frames need training first (`arseg.train.adapt`): until then they are the network's result
    at low resolution, joined with the keyframe's.

    Args:
        model: takes normalised RGB `[N, 3, H, W]` of any size; returns logits `[N, classes, H, W]` at the image's
            size or a smaller one, as a tensor, as `{"out": logits}` or as an object with `.logits`. Or a line that
            builds one (see `arseg.acceleration.network_source`), such as "torchvision:lraspp_mobilenet_v3_large".
        features: the submodule whose output is the feature to fuse, by name; or a function `(model, image) -> feature`.
            None: the classifier's input.
        classifier: the submodule that makes the logits of that feature, by name (often a 1x1 convolution, for which the
            fusion has a faster way); or a function `(model, feature) -> logits`. None: found by looking for it.
        weights: a file with the network's state, .safetensors or .pth; None: the weights it comes with.
        scale, window, keyframe_weight, keyframe_detail: see `ARSegNet`. `arseg adapt` chooses the weight
            anew in the end, where it is not 0.
        mean, std: RGB statistics of the normalisation; None: those of the network's `label_set`, or ImageNet's.
        classes, palette: names and RGB colours 0..255; None: those of the network's `label_set`, or "class 0", … in
            Pascal VOC's colours.
        size: height and width of the random image on which the parts are compared with the whole.

    Raises `InputError` (a `ValueError`), one sentence, where a name leads nowhere, the network does not run, or
    `classifier(features(image))` is not what the network itself gives.
    """
    source: Source | None = None
    if not isinstance(model, nn.Module):
        source = portable(model)
        model = network_from(model, pretrained=weights is None)
    if features is classifier is None:
        model = of_transformers(model)  # also what a function of the user's returns
    source = own_source(model) or source
    known = _known_labels(model)
    input_height = getattr(model, "input_height", None)
    model = model.high if isinstance(model, ARSegNet) else model
    whole = copy.deepcopy(model).eval().requires_grad_(False).float()
    if weights is not None:
        load_state(whole, weights)
    high, count = cut_anywhere(whole, model, features, classifier, size)
    check_classes(count)
    if high.sizes.only is not None:
        raise InputError(
            f"model: runs on images of {high.sizes} (height x width), so that a smaller frame costs as much; give a "
            "network that takes several sizes"
        )
    known = known or LabelSet.of(count)
    label_set = LabelSet.of(count, mean=mean or known.mean, std=std or known.std, classes=classes, palette=palette)
    if classes is palette is None and len(known.classes) == count:
        label_set = replace(known, mean=label_set.mean, std=label_set.std)
    net = AcceleratedNet(
        high,
        channels=high.channels,
        stride=high.stride,
        label_set=label_set,
        scale=scale,
        window=window,
        keyframe_weight=keyframe_weight,
        keyframe_detail=keyframe_detail,
        source=source,
    )
    net.input_height = input_height
    net.to(device=next(whole.parameters(), torch.zeros(())).device)
    _try_low(net, size)
    return net.eval()


def _known_labels(model: nn.Module) -> LabelSet | None:
    found = getattr(model, "label_set", None)
    if isinstance(found, LabelSet):
        return found
    # Our own network without weights that say otherwise.
    ours = isinstance(model, PyramidNet) and model.classifier.out_channels == len(CAMVID.classes)
    return CAMVID if ours else None


def rebuild(config: Mapping[str, Any], model: nn.Module | str | None = None) -> AcceleratedNet:
    """An `AcceleratedNet` as the metadata of its weights file describes it, with fresh weights."""
    source = config["model"]
    if model is None and source is None:
        raise InputError("made from a network that the file does not name; give it: AcceleratedNet.load(path, model=…)")
    if model is None and is_code(source):
        raise InputError(
            f"made with --model {source}, which is code of yours and is not run because a file names it; give it "
            "again: --model, or AcceleratedNet.load(path, model=…)"
        )
    network = again(source, copy.deepcopy(model) if isinstance(model, nn.Module) else model)
    if not isinstance(network, CutNetwork) and config["functions"]:
        raise InputError(
            "made with functions for features and classifier, which no file can keep; give the network as "
            "arseg.acceleration.CutNetwork(network, Cut(features, classifier))"
        )
    high = recut(network, Cut.from_json(config), config)
    if source is not None:
        high.made_from = {**config_of(source), "cut": cut_record(high)}
    high.eval().requires_grad_(False)
    net = AcceleratedNet(
        high,
        channels=config["channels"],
        stride=config["stride"],
        label_set=LabelSet.from_json(config["labels"]),
        scale=config["scale"],
        window=config["window"],
        keyframe_weight=config.get("keyframe_weight", 0.0),  # files of earlier versions have none
        keyframe_decay=config.get("keyframe_decay", 0.5),
        keyframe_detail=config.get("keyframe_detail", 0.0),
        keyframe_tau=config.get("keyframe_tau"),
        keyframe_residual=config.get("keyframe_residual", 0.0),
        residual_tau=config.get("residual_tau"),
        source=source,
    )
    net.input_height = config.get("height")
    return net


@torch.no_grad()
def _try_low(net: AcceleratedNet, size: tuple[int, int]) -> None:
    image = random_image(net, size)
    small = net.shrink(image)
    try:
        net.low_res(image)
    except Exception as error:
        try:
            net.high.features(small)
        except Exception:
            raise InputError(
                f"model: does not run on the {small.shape[2]}x{small.shape[3]} image that scale {net.scale:g} makes of "
                f"{size[0]}x{size[1]}: {first_line(error)}; choose scale and size so that both sizes suit it"
            ) from error
        raise InputError(
            f"classifier: without {str(net.high.cut.classifier)!r} the layers before it do not run: "
            f"{first_line(error)}; give functions: features(model, image) and classifier(model, feature)"
        ) from error
