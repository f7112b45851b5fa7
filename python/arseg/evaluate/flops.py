"""Multiply-accumulates: of the paper's table, of any network, and of the ways in which ours sees a frame."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from arseg.networks.arseg_net import ARSegNet
from arseg.networks.base import SplitNetwork
from arseg.networks.compute import between_keyframes, black_image, count, gmacs, gop_average
from arseg.networks.paper.published import PUBLISHED, architecture, make_published

__all__ = ["SCALES", "Cell", "NetworkCompute", "gmacs", "gop_average", "network_compute", "paper_table"]

SCALES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Scales of the low-resolution frames in the paper's table."""


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
        image, device = black_image(model, *architecture(arch).size)
        reference = model.keyframe(image)
        key_logits = model.classifier(reference)
        whole = count(lambda: model.classifier(model.keyframe(image)))  # noqa: B023 (called at once)
        for scale in scales:
            model.scale = scale
            between = None
            if scale != 1:
                between = count(lambda: between_keyframes(model, image, reference, key_logits, device))  # noqa: B023
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
    image, _ = black_image(model, height, width)
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
