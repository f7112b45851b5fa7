"""The authors' weights: their architectures by name, their keys, and whether a state dict fits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from arseg.errors import InputError
from arseg.labels import CAMVID_VOID, CITYSCAPES, CITYSCAPES_BISENET, LabelSet
from arseg.networks.base import SplitNetwork
from arseg.networks.fused import FusedNetwork
from arseg.networks.state_dict import counted, listed, misfit

from .bisenet import BiSeNet
from .pspnet import PSPNet
from .pspnet_cityscapes import CityscapesPSPNet

Part = Literal["hr", "fused"]
PARTS: tuple[Part, ...] = ("hr", "fused")


@dataclass(frozen=True)
class Architecture:
    """One of the paper's networks.

    Attributes:
        network: its class, which takes `num_classes`, `depth` and `auxiliary`.
        labels: the data set's classes, and what its images are normalised with.
        depth: of the ResNet.
        keys: prefixes of the authors' keys -> prefixes of ours, the first that fits counts.
        second: the authors' second names for parameters that they have twice -> first names, by part.
        size: (height, width) of the data set's frames.
    """

    network: Callable[..., SplitNetwork]
    labels: LabelSet
    depth: int
    keys: Mapping[str, str]
    second: Mapping[Part, Mapping[str, str]]
    size: tuple[int, int]


_PSP = {"final_conv.": "classifier.", "classifier.": "auxiliary."}
_BISE = {
    "conv_out.conv_out.": "classifier.",
    "conv_out.conv.": "feat_conv_out.",
    "conv_out16.": "auxiliary.0.",
    "conv_out32.": "auxiliary.1.",
}
_SEMSEG = {
    "layer0.0.": "resnet.conv1.",
    "layer0.1.": "resnet.bn1.",
    "layer": "resnet.layer",
    "cls.4.": "classifier.",
    "cls.": "head.",
    "aux.": "auxiliary.",
}
_ONCE: Mapping[Part, Mapping[str, str]] = {"hr": {}, "fused": {}}
_BISE_TWICE = {"feat_conv_out.": "conv_out.conv.", "final_conv.": "conv_out.conv_out."}
_SEMSEG_TWICE = {"final_conv.": "cls.4."}

_TWICE: Mapping[Part, Mapping[str, str]] = {"hr": _BISE_TWICE, "fused": _BISE_TWICE}
_FAMILIES: Mapping[str, tuple[Any, LabelSet, Mapping[str, str], Mapping[Part, Mapping[str, str]], tuple[int, int]]] = {
    "camvid-psp": (PSPNet, CAMVID_VOID, _PSP, _ONCE, (720, 960)),
    "camvid-bise": (BiSeNet, CAMVID_VOID, _BISE, _TWICE, (720, 960)),
    "cityscapes-psp": (CityscapesPSPNet, CITYSCAPES, _SEMSEG, {"hr": {}, "fused": _SEMSEG_TWICE}, (1024, 2048)),
    "cityscapes-bise": (BiSeNet, CITYSCAPES_BISENET, _BISE, _TWICE, (1024, 2048)),
}
PUBLISHED = ("camvid-psp18", "camvid-bise18", "cityscapes-psp18", "cityscapes-bise18")
"""The architectures that the authors publish weights of."""
DEPTHS = {"psp": (18, 34, 50), "bise": (18, 34)}

ARCHITECTURES: Mapping[str, Architecture] = {
    f"{family}{depth}": Architecture(network, labels, depth, keys, second, size)
    for family, (network, labels, keys, second, size) in _FAMILIES.items()
    for depth in DEPTHS[family.split("-")[1]]
}
"""All architectures by name: `PUBLISHED`, and with the same code deeper ones, such as camvid-psp50."""


def architecture(name: str) -> Architecture:
    """The entry of `ARCHITECTURES`; raises `InputError` for another name."""
    if name not in ARCHITECTURES:
        raise InputError(f"arch: expected one of {', '.join(ARCHITECTURES)}, got {name!r}")
    return ARCHITECTURES[name]


def make_published(
    arch: str,
    part: Part = "hr",
    *,
    window: int = 7,
    fusion: str = "attention",
    auxiliary: bool = True,
    grid: str = "legacy",
    num_classes: int | None = None,
) -> SplitNetwork | FusedNetwork:
    """A freshly initialised network of the paper: "hr", or "fused" (`FusedNetwork`).

    Args:
        arch: a name of `ARCHITECTURES`.
        window, fusion, grid: see `FusedNetwork`.
        auxiliary: with the heads that training uses.
        num_classes: other than its data set's; the classes are then unnamed.

    Raises `InputError` for unknown names.
    """
    made = architecture(arch)
    if part not in PARTS:
        raise InputError(f"part: expected hr or fused, got {part!r}")
    labels = made.labels
    if num_classes is not None and num_classes != len(labels.classes):
        labels = LabelSet.of(num_classes, mean=labels.mean, std=labels.std)
    network = made.network(num_classes=len(labels.classes), depth=made.depth, auxiliary=auxiliary)
    network.label_set = labels
    return network if part == "hr" else FusedNetwork(network, window=window, fusion=fusion, grid=grid)


def from_reference_state_dict(
    state_dict: Mapping[str, Tensor], arch: str, part: Part, *, window: int = 7, fusion: str = "attention"
) -> SplitNetwork | FusedNetwork:
    """The network of the authors' weights, in eval mode.

    Args:
        state_dict: their keys, with or without `module.` before them.
        arch: "camvid-psp18", "camvid-bise18", "cityscapes-psp18" or "cityscapes-bise18"; others of `ARCHITECTURES`
            for weights that their code makes with another ResNet.
        part: "hr" (the keyframes' network) or "fused" (the one of the shrunken frames, with CReFF).
        window: side of the attention, which is not in the weights; the published ones have 7.
        fusion: one of `arseg.networks.fusion.FUSIONS`.

    Returns:
        A module with `module(image)`, `module.features(image)`, `module.forward_train(image)`, and for "fused" also
        `module.fuse(low_res, warped)`. `module(image)` is exactly the main output of the authors' network: for
        camvid-psp log-probabilities at the image's size, for cityscapes-psp logits at the image's size, for the
        BiSeNets logits of 16 times the size of the map at stride 16 (the image's size where its sides are multiples
        of 16).

    Raises:
        InputError: (a `ValueError`) names the keys that are missing, unexpected, of a wrong shape, or contradict
            their second name; or says which argument is wrong.
    """
    made = architecture(arch)
    with torch.device("meta"):  # no values yet: those of the state dict take their place
        module = make_published(arch, part, window=window, fusion=fusion)
    own = module.state_dict()
    theirs = {their_key(key, made.keys): key for key in own}
    given = _without_prefix(state_dict)
    if made.network is CityscapesPSPNet and part == "hr":
        given = _without_idle_fusion(given)
    given = _without_second_names(given, made.second[part], theirs)
    _check_fit(given, {key: own[ours] for key, ours in theirs.items()}, f"{arch}, part {part}")
    values = {
        ours: given[key].to(own[ours].dtype, copy=True) if key in given else torch.zeros((), dtype=own[ours].dtype)
        for key, ours in theirs.items()
    }
    module.load_state_dict(values, assign=True)
    return module.eval()


def guess_reference(state_dict: Mapping[str, Tensor]) -> tuple[str, Part]:
    """`(arch, part)` of the authors' weights, from their keys and shapes; raises `InputError` where none fits."""
    shapes = {key: tuple(value.shape) for key, value in _without_prefix(state_dict).items()}
    part: Part = "fused" if any(key.startswith("fuse_attention.") for key in shapes) else "hr"
    if "feats.conv1.weight" in shapes:
        family, encoder = "psp", "feats."
    elif "layer0.0.weight" in shapes:
        family, encoder = "psp", ""
    elif "cp.resnet.conv1.weight" in shapes:
        family, encoder = "bise", "cp.resnet."
    else:
        raise InputError("state_dict: not the keys of a PSPNet or BiSeNet of AR-Seg's authors; say --arch and --part")
    heads = ("cls.4.weight", "conv_out.conv_out.weight", "final_conv.weight")
    classes = next((shapes[key][0] for key in heads if key in shapes), 0)
    deep = f"{encoder}layer3.0.conv3.weight" in shapes, f"{encoder}layer3.2.conv1.weight" in shapes
    depth = {(False, False): 18, (False, True): 34, (True, True): 50}.get(deep)
    for arch, made in ARCHITECTURES.items():
        same_keys = family == "bise" or (made.network is PSPNet) == (encoder == "feats.")
        if arch.endswith(f"-{family}{depth}") and len(made.labels.classes) == classes and same_keys:
            return arch, part
    raise InputError(f"state_dict: a {family} network with {classes} classes is none of ours; say --arch and --part")


def their_key(key: str, keys: Mapping[str, str]) -> str:
    """Our key -> the authors'."""
    if key.startswith("fusion."):
        return "fuse_attention." + key.removeprefix("fusion.")
    key = key.removeprefix("network.")
    for theirs, ours in keys.items():
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    return key


def _without_prefix(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    wrong = [key for key, value in state_dict.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if wrong:
        raise InputError(f"state_dict: expected tensors under names, got something else under {listed(wrong)}")
    given = {key.removeprefix("module."): value for key, value in state_dict.items()}
    if len(given) < len(state_dict):
        twice = [key for key in state_dict if f"module.{key}" in state_dict]
        raise InputError(f"state_dict: the same keys with and without module.: {listed(twice)}; keep one of each")
    return given


def _without_second_names(
    given: dict[str, Tensor], second: Mapping[str, str], wanted: Collection[str]
) -> dict[str, Tensor]:
    """Second names are all there, with the value of the first, or (as in weights from elsewhere) not at all."""
    pairs = {
        name + key.removeprefix(first): key for name, first in second.items() for key in wanted if key.startswith(first)
    }
    named = given.keys() & pairs.keys()
    if named and named != pairs.keys() and given.keys() >= set(pairs.values()):
        raise InputError(_REFUSED + counted([("missing", sorted(pairs.keys() - named))]))
    other = [key for key in named if pairs[key] in given and not torch.equal(given[key], given[pairs[key]])]
    if other:
        both = [f"{key} and {pairs[key]}" for key in sorted(other)]
        raise InputError(_REFUSED + counted([("pairs with two values for one parameter", both)]))
    return {key: value for key, value in given.items() if key not in pairs}


def _without_idle_fusion(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors evaluate this network in the class with the fusion, so that its weights may carry what it adds."""
    given = _without_second_names(given, _SEMSEG_TWICE, ("cls.4.weight", "cls.4.bias"))
    idle = [key for key in given if key.startswith("fuse_attention.")]
    if idle:
        warnings.warn(f"state_dict: part hr has no fusion; left out {listed(idle)}", stacklevel=3)
    return {key: value for key, value in given.items() if key not in idle}


def _check_fit(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str) -> None:
    found = misfit(given, wanted, counters=True)
    if found is not None:
        fused = any(key.startswith("fuse_attention.") and key not in wanted for key in given)
        hint = "; its keys are those of part fused" if fused else ""
        raise InputError(f"{_REFUSED}{found}, for {what}{hint}")


_REFUSED = "state_dict: the keys do not fit: "
