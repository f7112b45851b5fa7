"""Multiply-accumulates: of the network's ways to see a frame, of the paper's table, of any network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from arseg.networks.arseg_net import ARSegNet
from arseg.networks.base import SplitNetwork
from arseg.networks.paper.published import PUBLISHED, architecture, make_published
from arseg.networks.trust import KeyframeSignals

SCALES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Scales of the low-resolution frames in the paper's table."""


def _count(way: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        way()
    return counter.get_total_flops() / 2e9


@torch.no_grad()
def gmacs(model: ARSegNet, height: int, width: int) -> dict[str, float]:
    """GMACs (10^9 multiply-accumulates) of one frame of `height` x `width`.

    Keys: "hr", a frame at full resolution; "keyframe", that with what later frames need of it (a pass of the branch for
    low resolution, where its residual counts); "lr", the keyframe network on the shrunken frame; "ar", a frame between
    keyframes with its fusion. Convolutions and attention are counted, as the paper does; resizing and warping are not.
    """
    image, device = _image(model, height, width)
    reference = model.keyframe(image)
    key_logits = model.classifier(reference)
    signals = model.keyframe_signals(image, reference, key_logits)
    return {
        "hr": _count(lambda: model.classifier(model.keyframe(image))),
        "keyframe": _count(lambda: _keyframe(model, image)),
        "lr": _count(lambda: model.classifier(model.keyframe(model.shrink(image)))),
        "ar": _count(lambda: _between(model, image, reference, key_logits, device, signals)),
    }


def _image(model: nn.Module, height: int, width: int) -> tuple[Tensor, torch.device]:
    """A black image where the network's parameters are: "meta" counts without computing."""
    device = next((p.device for p in model.parameters()), torch.get_default_device())
    return torch.zeros(1, 3, height, width, device=device), device


def _keyframe(model: ARSegNet, image: Tensor) -> None:
    reference = model.keyframe(image)
    model.keyframe_signals(image, reference, model.classifier(reference))


def _between(
    model: ARSegNet,
    image: Tensor,
    reference: Tensor,
    key_logits: Tensor,
    device: torch.device,
    signals: KeyframeSignals | None = None,
) -> Tensor:
    height, width, block = image.shape[2], image.shape[3], 4
    motion = torch.zeros(1, -(-height // block), -(-width // block), 2, dtype=torch.int16, device=device)
    where: dict[str, Any] = {"block": block, "frame_size": (height, width), "signals": signals}
    return model.step_outputs(image, reference, motion, 1, key_logits, **where).logits


def gop_average(keyframe: float, between: float, gop: int = 12) -> float:
    """Mean over a group of `gop` frames: one keyframe, and the frames between."""
    return (keyframe + (gop - 1) * between) / gop


@dataclass(frozen=True)
class Cell:
    """One cell of the paper's table, in GMACs: a group's mean, and a frame between keyframes (None at scale 1)."""

    arch: str
    scale: float
    average: float
    between: float | None


@torch.no_grad()
def paper_table(
    archs: Sequence[str] = PUBLISHED, scales: Sequence[float] = SCALES, gop: int = 12, window: int = 7
) -> list[Cell]:
    """The paper's compute, counted on this code: convolutions and attention, without auxiliary heads.

    Frames are 960x720 (CamVid) and 2048x1024 (Cityscapes); a shrunken frame is `int(side * scale)` large. At scale 1
    every frame goes through the high-resolution network. Counting holds no values and computes nothing.
    """
    cells = []
    for arch in archs:
        with torch.device("meta"):
            network = make_published(arch, auxiliary=False).eval()
            assert isinstance(network, SplitNetwork)
            model = ARSegNet(network, channels=network.channels, window=window, grid="legacy").eval()
        image, device = _image(model, *architecture(arch).size)
        reference = model.keyframe(image)
        key_logits = model.classifier(reference)
        whole = _count(lambda: model.classifier(model.keyframe(image)))  # noqa: B023 (called at once)
        for scale in scales:
            model.scale = scale
            between = None
            if scale != 1:
                between = _count(lambda: _between(model, image, reference, key_logits, device))  # noqa: B023
            cells.append(Cell(arch, scale, whole if between is None else gop_average(whole, between, gop), between))
    return cells


@dataclass(frozen=True)
class NetworkCompute:
    """GMACs and parameters (millions) of one network; `parts`: GMACs of its outermost modules."""

    total: float
    parameters: float
    parts: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def network_compute(model: nn.Module, height: int, width: int) -> NetworkCompute:
    """What `model` does with one image `[1, 3, height, width]`, in eval mode, where its parameters are.

    Convolutions, matrix products and attention are counted, once for a multiplication with its addition.
    """
    image, _ = _image(model, height, width)
    with FlopCounterMode(display=False) as counter:
        model.eval()(image)
    root = f"{type(model).__name__}."
    found = {name.removeprefix(root): ops for name, ops in counter.get_flop_counts().items() if name.startswith(root)}
    outermost = [name for name in found if not _inside(name, found)]
    if len(outermost) == 1 and len(found) > 1:  # a wrapper says nothing
        del found[outermost[0]]
    parts = {name: sum(ops.values()) / 2e9 for name, ops in found.items() if not _inside(name, found)}
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    return NetworkCompute(counter.get_total_flops() / 2e9, parameters, parts)


def _inside(name: str, names: Collection[str]) -> bool:
    """Whether a module lies in another of them; lists of modules are never called and are none of them."""
    return any(name[:place] in names for place, letter in enumerate(name) if letter == ".")
