"""mIoU while training: on whole frames, shared among the processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from arseg_ext import ops

from . import parallel
from .metrics import ConfusionMatrix


def validation_scores(
    count: int, predict: Callable[[int], tuple[np.ndarray, np.ndarray]], classes: int, device: torch.device
) -> ConfusionMatrix:
    """The confusion matrix of `count` frames.

    `predict(index)` gives a frame's labels, true and predicted, uint8 `[H, W]`; each process calls it for its share.
    """
    matrix = ConfusionMatrix(classes)
    for index in range(parallel.rank(), count, parallel.world()):
        matrix.add(*predict(index))
    if parallel.world() > 1:
        counts = torch.from_numpy(matrix.counts).to(device)
        dist.all_reduce(counts)
        matrix.counts = counts.cpu().numpy()
    return matrix


def labels_of(logits: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Logits `[1, classes, h, w]` -> uint8 `size`, corner pixels in place as the published networks resize."""
    return ops.resize_labels(logits.float().contiguous(), size, align_corners=True)[0].cpu().numpy()


def every(items: Iterable[int], at_most: int) -> list[int]:
    """At most so many of the items, evenly spread; all where 0."""
    found = list(items)
    if not at_most or len(found) <= at_most:
        return found
    return [found[round(i * (len(found) - 1) / max(1, at_most - 1))] for i in range(at_most)]
