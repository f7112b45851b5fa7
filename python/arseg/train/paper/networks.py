"""The paper's networks as training takes them: where they start, their losses, their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from arseg.errors import InputError
from arseg.extras import needs
from arseg.labels import NORMALIZATIONS
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.base import SplitNetwork
from arseg.networks.fused import FusedNetwork
from arseg.networks.paper.bisenet import BiSeNet
from arseg.networks.paper.pspnet import PSPNet
from arseg.networks.paper.pspnet_cityscapes import CityscapesPSPNet
from arseg.networks.paper.published import architecture, make_published
from arseg.networks.state_dict import misfit
from arseg.train.losses import LOSSES, SegmentationLoss
from arseg.weights.build import build
from arseg.weights.files import load_into, read_checkpoint, read_state_dict, save_checkpoint

from .recipes import PaperHrRecipe

_LOSSES: Mapping[Callable[..., SplitNetwork], str] = {
    PSPNet: "psp-camvid",
    CityscapesPSPNet: "psp-cityscapes",
    BiSeNet: "bisenet",
}


def loss_of(recipe: PaperHrRecipe) -> SegmentationLoss:
    """The recipe's loss, or else the published one of its architecture."""
    return LOSSES[recipe.loss or _LOSSES[architecture(recipe.arch).network]](recipe.auxiliary)


def new_network(arch: str, backbone: str = "") -> SplitNetwork:
    """The high-resolution network with its auxiliary heads; `backbone` as in `PaperHrRecipe`."""
    network = make_published(arch, "hr")
    assert isinstance(network, SplitNetwork)
    if backbone:
        load_backbone(_encoder(network), backbone, architecture(arch).depth)
    return network


def _encoder(network: nn.Module) -> nn.Module:
    from arseg.networks.paper.resnet import ResNet

    return next(module for module in network.modules() if isinstance(module, ResNet))


def load_backbone(encoder: nn.Module, source: str, depth: int) -> None:
    """A ResNet's weights, with torchvision's keys: "imagenet" (downloaded), a .pth or a .safetensors file.

    Raises `InputError` where the file is missing or its keys do not fit.
    """
    if source == "imagenet":
        with needs("networks", "backbone=imagenet"):
            from torchvision.models import get_model_weights

        state = get_model_weights(f"resnet{depth}").IMAGENET1K_V1.get_state_dict(progress=False)  # type: ignore[attr-defined]
    else:
        try:
            state = read_state_dict(Path(source))
        except InputError as error:
            raise InputError(f"backbone: {error}") from error
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    found = misfit(state, encoder.state_dict())
    if found is not None:
        raise InputError(
            f"backbone: {source}: expected the weights of torchvision's resnet{depth}; its keys do not fit: {found}"
        )
    encoder.load_state_dict(state, strict=False)


def labels_record(arch: str, normalization: str = "") -> dict[str, Any]:
    """The classes of an architecture's data set and its input's normalisation, for a weights file.

    `normalization`: a name of `NORMALIZATIONS`; the architecture's own where empty.
    """
    record = architecture(arch).labels.to_json()
    if normalization:
        mean, std = NORMALIZATIONS[normalization]
        record |= {"mean": list(mean), "std": list(std)}
    return record


def save_hr(state: Mapping[str, Tensor], path: Path, arch: str, labels: Mapping[str, Any]) -> None:
    """The high-resolution network, with its auxiliary heads, as a weights file of kind "hr"."""
    config = {"arch": arch, "auxiliary": True, "labels": dict(labels)}
    save_checkpoint(state, path, kind="hr", config=config, half=False)


def load_teacher(path: Path, arch: str, normalization: str) -> tuple[SplitNetwork, dict[str, Any]]:
    """A network that `save_hr` wrote, frozen and in eval mode, and its label set as JSON.

    Raises `InputError` where it is another network or takes images that are normalised in another way.
    """
    kind, config, state = read_checkpoint(path)
    if kind != "hr" or config.get("arch") != arch:
        found = config.get("arch", "the default network") if kind == "hr" else f'kind "{kind}"'
        raise InputError(f"{path}: expected phase-1 weights of {arch} (from `arseg train hr --preset …`), got {found}")
    labels = config["labels"]
    if (tuple(labels["mean"]), tuple(labels["std"])) != NORMALIZATIONS[normalization]:
        raise InputError(
            f"normalization: {path} was trained with another one than {normalization}; give that of phase 1"
        )
    network = build(kind, config)
    assert isinstance(network, SplitNetwork)
    load_into(network, state, path)
    return network.eval().requires_grad_(False), labels


def new_fused(arch: str, teacher: SplitNetwork, *, window: int, fusion: str, start: str, backbone: str) -> FusedNetwork:
    """The low-resolution network with its fusion; its classifier is the teacher's, frozen."""
    fused = make_published(arch, "fused", window=window, fusion=fusion, grid="aligned")
    assert isinstance(fused, FusedNetwork)
    if start == "teacher":
        fused.network.load_state_dict(teacher.state_dict())
    elif backbone:
        load_backbone(_encoder(fused.network), backbone, architecture(arch).depth)
    fused.network.classifier.load_state_dict(teacher.classifier.state_dict())
    fused.network.classifier.requires_grad_(False)
    return fused


def step_network(teacher: SplitNetwork, fused: FusedNetwork, scale: float) -> ARSegNet:
    """Both as one network, which shares their weights; `scale` is that of the shrunken frames."""
    return ARSegNet(teacher, channels=teacher.channels, low=fused.network, fusion=fused.fusion, scale=scale)


def ar_state(teacher: nn.Module, fused: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Both networks as the state of an `ARSegNet`, without what only training uses."""
    state = {f"high.{k}": v for k, v in teacher.state_dict().items() if not k.startswith("auxiliary.")}
    for key, value in fused.items():
        low = key.removeprefix("network.")
        if key.startswith("fusion."):
            state[key] = value
        elif not low.startswith(("auxiliary.", "classifier.")):
            state[f"low.{low}"] = value
    return state
