"""Any segmentation network as two parts, `features` and `classifier`, without touching its code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arseg.errors import InputError
from arseg.extras import loaded
from arseg.labels import LabelSet
from arseg.networks.base import SplitNetwork
from arseg.networks.layers import resize
from arseg.registry import Registry

from .sizes import Sizes

Features = Callable[[nn.Module, Tensor], Tensor]
"""`(network, image [N, 3, H, W]) -> feature [N, C, h, w]`"""
Classifier = Callable[[nn.Module, Tensor], Tensor]
"""`(network, feature [N, C, h, w]) -> logits [N, num_classes, h', w']`"""


@dataclass(frozen=True)
class Cut:
    """Where a network is cut.

    Attributes:
        features: the submodule whose output is the fusion feature, by name; None for the classifier's input; or a
            function of the network and the image.
        classifier: the submodule that makes logits of the feature, by name, or a function of the network and the
            feature.
        preset: name in `KNOWN_CUTS`, for cuts by functions of ours.
    """

    features: str | Features | None
    classifier: str | Classifier
    preset: str | None = None

    @property
    def portable(self) -> bool:
        """Whether a file can keep it: it is made of names."""
        return self.preset is not None or not (callable(self.features) or callable(self.classifier))

    def to_json(self) -> dict[str, str | None]:
        """Names, for a weights file."""
        features, classifier = (x if isinstance(x, str) else None for x in (self.features, self.classifier))
        return {"features": features, "classifier": classifier, "preset": self.preset}

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> Cut:
        """The inverse of `to_json`; `InputError` for a preset that there is not."""
        preset = record.get("preset")
        return KNOWN_CUTS[preset].cut if preset else Cut(record["features"], record["classifier"])


class _Reached(Exception):
    """Ends a forward pass at the cut: what comes after it would be computed in vain."""


def logits_of(output: Any) -> Tensor:
    """The logits in what a network returns.

    A tensor, torchvision's `{"out": …}`, an object with `.logits`, or the first of several.
    """
    found = output[0] if isinstance(output, (tuple, list)) and output else output
    if isinstance(found, Mapping) and not isinstance(found, Tensor):
        found = found.get("out", found.get("logits"))
    found = getattr(found, "logits", found)
    if isinstance(found, Tensor) and found.dim() == 4:
        return found
    if isinstance(found, Tensor):
        what = f"a tensor of shape {tuple(found.shape)}"
    else:
        keys = f" with {', '.join(map(str, output))}" if isinstance(output, Mapping) else ""
        what = f"{type(output).__name__}{keys}"
    raise InputError(
        f"model: expected logits [N, classes, H, W] as a tensor, as output['out'] or as output.logits, got {what}; "
        "wrap the model in a module that returns its logits"
    )


class CutNetwork(nn.Module):
    """`network`, cut: `features(image)`, then `classifier(feature)`; `forward` runs it whole.

    `upsampling`, `upsampling_corners` and `align_corners` say how its scores reach the frame: `SegmentationNetwork`.

    Cuts by name run the network itself up to the cut and end it there, so that the layers after it cost nothing.
    The network's parameters stay where they are: the state's keys are its own, after `network.`. Gradients reach them.

    Attributes:
        channels, stride: of the feature; the stride is that of the height, and may not be whole. `arseg.acceleration`
            measures both.
        sizes: which images the network takes; others are resized to the nearest of these.
        label_set, input_height: see `SegmentationNetwork`.
        made_from: what `arseg.weights.build` makes the same network of; None where no line says it.

    Raises `InputError` that names the argument where a name is no submodule.
    """

    channels: int
    stride: float
    label_set: LabelSet | None = None
    input_height: int | None = None
    made_from: dict[str, Any] | None = None

    def __init__(self, network: nn.Module, cut: Cut):
        super().__init__()
        self.network = network
        self.cut = cut
        self.sizes = Sizes()
        self.upsampling, self.upsampling_corners, self.align_corners = 1, False, False
        if isinstance(network, SplitNetwork) and self.is_published:
            self.upsampling, self.align_corners = network.upsampling, network.align_corners
        for argument, name in (("features", cut.features), ("classifier", cut.classifier)):
            if isinstance(name, str):
                submodule(network, name, argument)

    @property
    def is_published(self) -> bool:
        """Whether this is one of the paper's networks in its own parts, which say how their scores reach the frame."""
        return isinstance(self.network, SplitNetwork) and self.cut.preset == "own"

    @property
    def classifier(self) -> Callable[[Tensor], Tensor]:
        """What maps a fusion feature to logits: a module of the network, or a function bound to it."""
        where = self.cut.classifier
        return self.network.get_submodule(where) if isinstance(where, str) else partial(where, self.network)

    @classifier.deleter
    def classifier(self) -> None:
        """Leaves the weights out that only the classifier needs, where they can be told (a cut by name).

        The module stays, for code before the cut that asks for its stride or its weights' dtype.
        """
        where = self.cut.classifier
        if isinstance(where, str):
            for module in self.network.get_submodule(where).modules():
                _leave_weights_out(module)

    def features(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the fusion feature `[N, C, h, w]`."""
        image = self.sizes.fit(image)
        where = self.cut.features
        if callable(where):
            return _checked(where(self.network, image), "features: expected a function that returns")
        argument, name = ("classifier", str(self.cut.classifier)) if where is None else ("features", where)
        part, seen = self.network.get_submodule(name), list[Any]()

        def reached(feature: Any) -> None:
            seen.append(feature)
            if not torch.compiler.is_compiling():  # a graph must be whole; what is in vain falls out of it by itself
                raise _Reached

        if where is None:
            hook = part.register_forward_pre_hook(lambda _, given: reached(given[0] if given else None))
        else:
            hook = part.register_forward_hook(lambda _, given, output: reached(output))
        try:
            with suppress(_Reached):
                self.network(image)
        finally:
            hook.remove()
        if not seen:
            raise InputError(f"{argument}: {name!r} is not called when the model runs; name a submodule that is")
        return _checked(seen[0], f"{argument}: {name!r} deals with")

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the network's own logits `[N, classes, h, w]`, at the size it gives them.

        Of an image that it does not take as it is: at the image's size.
        """
        seen = self.sizes.fit(image)
        logits = logits_of(self.network(seen))
        return logits if seen is image else resize(logits, (image.shape[2], image.shape[3]))

    def finish(self, scores: Tensor) -> Tensor:
        """The classifier's scores `[N, classes, h, w]` -> what the network gives, before a resizing to the image."""
        if self.upsampling == 1:
            return scores
        factor, corners = float(self.upsampling), self.upsampling_corners
        return F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=corners)


def _leave_weights_out(module: nn.Module) -> None:
    for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
        delattr(module, name)
        # Beside the state, and without memory.
        module.__dict__[name] = torch.empty(1, dtype=tensor.dtype).expand(tensor.shape)


def _checked(feature: Any, sentence: str) -> Tensor:
    if isinstance(feature, Mapping) and "out" in feature:
        feature = feature["out"]
    if isinstance(feature, Tensor) and feature.dim() == 4:
        return feature
    if isinstance(feature, Tensor):
        what = f"a tensor of shape {tuple(feature.shape)}"
    else:
        keys = f" with {', '.join(map(str, feature))}" if isinstance(feature, Mapping) else ""
        what = f"{type(feature).__name__}{keys}"
    raise InputError(f"{sentence} {what}, and the fusion needs one map [N, C, h, w]; cut at another place")


def submodule(network: nn.Module, name: str, argument: str) -> nn.Module:
    """The submodule of that dotted name, or one sentence that says how far the name leads."""
    module, path = network, list[str]()
    for part in name.split("."):
        children = dict(module.named_children())
        if part not in children:
            where = f"{'.'.join(path)!r}" if path else "the model"
            raise InputError(
                f"{argument}: there is no submodule {name!r}: {where} has "
                f"{', '.join(children) if children else 'no submodules'}"
            )
        module = children[part]
        path.append(part)
    return module


def _own_features(network: nn.Module, image: Tensor) -> Tensor:
    return network.features(image)  # type: ignore[operator]


def _lraspp_features(network: Any, image: Tensor) -> Tensor:
    """Both maps that torchvision's LR-ASPP head classifies, side by side at the finer one's size."""
    maps, head = network.backbone(image), network.classifier
    low, high = maps["low"], maps["high"]
    context = head.cbr(high) * head.scale(high)
    return torch.cat([low, F.interpolate(context, size=low.shape[-2:], mode="bilinear", align_corners=False)], 1)


def _lraspp_classifier(network: Any, feature: Tensor) -> Tensor:
    head = network.classifier
    low, high = feature.split([head.low_classifier.in_channels, head.high_classifier.in_channels], 1)
    return head.low_classifier(low) + head.high_classifier(high)


def _is_lraspp(network: nn.Module) -> bool:
    return isinstance(network, loaded("torchvision.models.segmentation.lraspp", "LRASPP"))


def _has_parts(network: nn.Module) -> bool:
    return callable(getattr(network, "features", None)) and isinstance(getattr(network, "classifier", None), nn.Module)


@dataclass(frozen=True)
class KnownCut:
    """A cut by functions, which a weights file names, and whether it fits a network's class or members."""

    cut: Cut
    fits: Callable[[nn.Module], bool]


KNOWN_CUTS: Registry[KnownCut] = Registry("preset")
"""Cuts that need functions: torchvision's LR-ASPP, networks with `features` and `classifier` of their own."""

KNOWN_CUTS.register("lraspp", KnownCut(Cut(_lraspp_features, _lraspp_classifier, "lraspp"), _is_lraspp))
KNOWN_CUTS.register("own", KnownCut(Cut(_own_features, "classifier", "own"), _has_parts))


def known_cut(network: nn.Module) -> Cut | None:
    """The first of `KNOWN_CUTS` that fits the network, None where none does."""
    return next((KNOWN_CUTS[name].cut for name in KNOWN_CUTS if KNOWN_CUTS[name].fits(network)), None)
