"""How much of what the fusion finds is to be trusted, found on real drives without labels.

Half of the clips that phase 2 trains on are made from stills: nothing in them moves by itself or comes out from behind
something else, so their vectors are better than those of a drive, and training trusts the fusion too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg.models.arseg_net import ARSegNet
from arseg.models.fusion import Attention, DenseAttention, ValueOnly, enlarged

from .loop import Batch

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
        net: in eval mode; its classifier is linear, so that logits are as well.
        teacher: image -> the fusion feature of the frozen keyframe network.
        batches: of pairs, see `train_ar.sample_pairs`.
    """
    losses: dict[float, list[float]] = {gain: [] for gain in GAINS}
    for batch in batches:
        where = {"block": block, "frame_size": batch["frame_size"]}
        reference, wanted = teacher(torch.cat([batch["key"], batch["image"]])).chunk(2)
        classes = net.classifier(wanted).softmax(1)
        low = net.low_res(batch["image"])
        alone = net.classifier(enlarged(low, reference))
        fused = net.classifier(net.fuse(low, reference, batch["motion"], **where))
        kept = net.classifier(reference)
        for gain, found in losses.items():
            logits = alone.lerp(fused, gain)
            logits = net.with_keyframe(
                logits, kept, batch["motion"], batch["distance"], **where, low_size=low.shape[2:]
            )
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
