"""How much the fusion is to be trusted: found on videos without labels. (What of the keyframe's own result: `trust`.)

Half of the clips that phase 2 trains on are made from stills: nothing in them moves by itself or comes out from behind
something else, so their vectors are better than those of a drive, and training trusts the fusion too much.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg.networks.arseg_net import ARSegNet
from arseg.networks.fusion import Attention, DenseAttention, ValueOnly

from .batches import Batch

GAINS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""0 tells what the result is without the fusion; it is not to be chosen, for no training would come back from it."""


ADDING = (Attention, DenseAttention, ValueOnly)
"""Fusions that add something to the low-resolution feature, in proportion to their values."""


@torch.inference_mode()
def gain_losses(
    net: ARSegNet, teacher: Callable[[Tensor], Tensor], batches: Iterable[Batch], block: int
) -> dict[float, float]:
    """For each of `GAINS` the mean cross-entropy with the teacher's classes, were what the fusion adds times that.

    Args:
        net: in eval mode.
        teacher: image -> the fusion feature of the frozen keyframe network.
        batches: of pairs, see `default.pairs.sample_pairs`.
    """
    losses: dict[float, list[float]] = {gain: [] for gain in GAINS}
    before = copy.deepcopy(net.fusion.state_dict())
    for batch in batches:
        where: dict[str, Any] = {"block": block, "frame_size": batch["frame_size"]}
        reference, target = teacher(torch.cat([batch["key"], batch["image"]])).chunk(2)
        classes, kept = net.classifier(target).softmax(1), net.classifier(reference)
        where["signals"] = net.keyframe_signals(batch["key"], reference, kept)
        for gain, found in losses.items():
            scale_fusion(net, gain)
            try:
                logits = net.step(batch["image"], reference, batch["motion"], batch["distance"], kept, **where)
            finally:
                net.fusion.load_state_dict(before)
            found.append(F.cross_entropy(logits, classes).item())
    return {gain: sum(found) / len(found) for gain, found in losses.items()}


@torch.no_grad()
def scale_fusion(net: ARSegNet, gain: float) -> None:
    """Leaves the fusion with `gain` times what it found before."""
    assert isinstance(net.fusion, ADDING)
    value = net.fusion.hr_value_conv
    value.weight.mul_(gain)
    if value.bias is not None:
        value.bias.mul_(gain)
