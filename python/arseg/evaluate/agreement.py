"""How far the cheaper ways to see a frame agree with the network at full resolution, by distance to the keyframe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arseg.data.groups import BLOCK, StoredGroup
from arseg.networks.arseg_net import ARSegNet
from arseg.preprocess import normalise
from arseg.segment.modes import Mode
from arseg.segment.ways import see

from .consistency import Consistency
from .metrics import ConfusionMatrix


class Agreement:
    """Of one way, a confusion matrix for each distance 0 … gop-1; the truth is the network at full resolution.

    Attributes:
        by_distance: the matrices.
        consistency: how well its labels follow the vectors from frame to frame.
    """

    def __init__(self, classes: int, gop: int):
        self.by_distance = [ConfusionMatrix(classes) for _ in range(gop)]
        self.consistency = Consistency(gop)

    def pixels(self) -> list[float]:
        """Share of pixels with the same label, percent, at each distance; NaN where no frame was."""
        totals = [(np.trace(matrix.counts), matrix.counts.sum()) for matrix in self.by_distance]
        return [100 * float(same / count) if count else float("nan") for same, count in totals]

    def miou(self) -> list[float]:
        """mIoU in percent at each distance, over the classes that occur."""
        return [matrix.miou() for matrix in self.by_distance]

    def record(self) -> dict[str, Any]:
        """For JSON: both figures at each distance and their means, and the consistency; null where no frame was."""
        found = {"pixel_accuracy": self.pixels(), "miou": self.miou()}
        rounded = {
            name: [None if np.isnan(value) else round(value, 2) for value in values] for name, values in found.items()
        }
        means = {f"mean_{name}": round(float(np.nanmean(values)), 2) for name, values in found.items()}
        return {**means, **rounded, "temporal_consistency": self.consistency.record()}


@torch.inference_mode()
def measure(
    net: ARSegNet,
    groups: Sequence[StoredGroup],
    ways: Sequence[Mode],
    *,
    gop: int = 12,
    autocast: Callable[[], AbstractContextManager[Any]],
    progress: Callable[[int], None] = lambda done: None,
) -> dict[Mode, Agreement]:
    """Segments each frame of `groups` at full resolution and in each of `ways`.

    Args:
        ways: "lr", the network on every frame at low resolution; "warp", the keyframe's result moved by the vectors;
            "ar", the fusion.
        autocast: makes the context to compute in.
        progress: called after each group with the number done.

    Returns:
        each of `ways`, and "hr", which is the truth, for its consistency.
    """
    device = next(net.parameters()).device
    label_set = net.known_labels()
    found = {way: Agreement(len(label_set.classes), gop) for way in ("hr", *ways)}
    for done, group in enumerate(groups, 1):
        reference = key_logits = signals = None
        for distance in range(min(group.frames, gop)):
            pixels = torch.from_numpy(group.image(distance)).to(device).permute(2, 0, 1)[None]
            image = normalise(pixels, label_set.mean, label_set.std)
            where: dict[str, Any] = {"block": BLOCK, "frame_size": group.coded}
            field = None if distance == 0 else group.field(distance)
            motion = None if field is None else torch.from_numpy(field.vectors)[None].to(device)
            with autocast():
                feature = net.keyframe(image)
                logits = net.classifier(feature)
                if reference is None or key_logits is None:
                    reference, key_logits = feature, logits
                    signals = net.keyframe_signals(image, feature, logits)
                truth = _labels(net, logits, image)
                for way, agreement in found.items():
                    labels = truth
                    if way != "hr":
                        seen = image, reference, key_logits, motion, distance
                        logits = see(net, way, *seen, signals=signals, **where)
                        labels = _labels(net, logits, image)
                    agreement.by_distance[distance].add(truth, labels)
                    agreement.consistency.add(group.first + distance, distance, labels, field, group.coded)
        progress(done)
    return found


def _labels(net: ARSegNet, logits: Tensor, image: Tensor) -> np.ndarray:
    return net.labels(logits, (image.shape[2], image.shape[3]))[0].cpu().numpy()
