"""How much the fusion, and how much the keyframe's own result, is to be trusted: found on videos without labels.

Half of the clips that phase 2 trains on are made from stills: nothing in them moves by itself or comes out from behind
something else, so their vectors are better than those of a drive, and training trusts the fusion too much.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg.data.groups import BLOCK, StoredGroup
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.fusion import Attention, DenseAttention, ValueOnly
from arseg.networks.keyframe import joined
from arseg.preprocess import normalise
from arseg.segment.ways import see

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
        where["signals"] = net.keyframe_signals(batch["key"], kept)
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


KEYFRAMES = tuple(product((0.5, 1.0, 2.0, 4.0, 8.0, 16.0), (0.0, 0.5, 1.0)))
"""Weights of the keyframe's result, and the powers of the distance that divide them, to choose from."""


@torch.inference_mode()
def keyframe_agreement(
    net: ARSegNet,
    groups: Sequence[StoredGroup],
    *,
    gop: int,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> dict[tuple[float, float], float]:
    """For each of `KEYFRAMES` on how many cells of the feature, percent, the result is the full-resolution network's.

    The mean over the distances 1 ... gop-1 that `groups` have.

    Args:
        autocast: makes the context to compute in.
    """
    found = torch.zeros(len(KEYFRAMES), gop, dtype=torch.float64)
    frames = torch.zeros(gop, dtype=torch.float64)
    weight_before, net.keyframe_weight = net.keyframe_weight, 0.0
    try:
        for distance, own, warped, truth in _results(net, groups, gop, autocast):
            frames[distance] += 1
            for index, (weight, decay) in enumerate(KEYFRAMES):
                same = joined(own, warped, weight / distance**decay).argmax(1) == truth
                found[index, distance] += same.double().mean().cpu()
    finally:
        net.keyframe_weight = weight_before
    seen = frames > 0
    shares = (found[:, seen] / frames[seen]).mean(1) * 100
    return dict(zip(KEYFRAMES, shares.tolist(), strict=True))


def _results(
    net: ARSegNet, groups: Sequence[StoredGroup], gop: int, autocast: Callable[[], AbstractContextManager[Any]]
) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """Of each frame after a keyframe: distance, the network's logits, the keyframe's, warped, and the true classes."""
    device, label_set = next(net.parameters()).device, net.known_labels()
    for group in groups:
        reference = key_logits = None
        for distance in range(min(group.frames, gop)):
            pixels = torch.from_numpy(group.image(distance)).to(device).permute(2, 0, 1)[None]
            image = normalise(pixels, label_set.mean, label_set.std)
            with autocast():
                feature = net.keyframe(image)
                logits = net.classifier(feature)
                if reference is None:
                    reference, key_logits = feature, logits
                    continue
                motion = torch.from_numpy(group.vectors(distance))[None].to(device)
                where: dict[str, Any] = {"block": BLOCK, "frame_size": group.coded}
                seen = (image, reference, key_logits, motion, distance)
                own, warped = see(net, "ar", *seen, **where), see(net, "warp", *seen, **where)
            yield distance, own, warped, logits.argmax(1)
