"""Losses of the published training: segmentation, auxiliary heads, hard pixels, feature similarity.

Sources: Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017 (auxiliary head at 0.4); Yu et al., "BiSeNet",
ECCV 2018 (three heads); Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example
Mining", CVPR 2016; Hu et al., CVPR 2023 (feature similarity training, FST).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg.labels import IGNORED

from . import distributed


def at_size(x: Tensor, size: Sequence[int]) -> Tensor:
    """`[N, C, h, w]` -> `[N, C, *size]`, bilinear with the corners in place, as all resizing around the losses is."""
    size = tuple(size)
    return x if x.shape[2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def segmentation_loss(logits: Tensor, labels: Tensor, *, weight: Tensor | None = None, ignore: int = IGNORED) -> Tensor:
    """Cross-entropy, the mean over the labelled pixels; 0 where there is none.

    Args:
        logits: `[N, K, h, w]`, resized to the labels' size. Log-probabilities do as well: a log-softmax leaves them
            as they are, so that this is the negative log-likelihood of a network that ends in one.
        labels: int64 `[N, H, W]`, class ids.
        weight: `[K]`, of each class.
        ignore: label of pixels that do not count.
    """
    logits = at_size(logits, labels.shape[1:]).float()
    summed = F.cross_entropy(logits, labels, weight, ignore_index=ignore, reduction="sum")
    counted = labels != ignore
    total = counted.sum() if weight is None else weight[labels.masked_fill(~counted, 0)][counted].sum()
    return distributed.mean_of(summed, total.float())


def classes_present(labels: Tensor, classes: int, *, ignore: int = IGNORED) -> Tensor:
    """`[N, H, W]` labels -> float32 `[N, classes]`: 1 where a class occurs in the image."""
    flat = labels.flatten(1)
    seen = torch.zeros(len(flat), classes + 1, device=labels.device)
    return seen.scatter_(1, flat.masked_fill(flat == ignore, classes), 1.0)[:, :classes]


def presence_loss(logits: Tensor, labels: Tensor, *, ignore: int = IGNORED) -> Tensor:
    """Binary cross-entropy of an image-wide head: which classes occur. Logits `[N, K]`, labels `[N, H, W]`."""
    wanted = classes_present(labels, logits.shape[1], ignore=ignore)
    return F.binary_cross_entropy_with_logits(logits.float(), wanted)


def ohem_loss(
    logits: Tensor, labels: Tensor, *, threshold: float = 0.7, least: float = 1 / 16, ignore: int = IGNORED
) -> Tensor:
    """Cross-entropy over hard pixels only: those whose own class has a probability below `threshold`.

    Where these are fewer than the share `least` of the labelled pixels, that many of the hardest count.
    `logits`, `labels`, `ignore` as in `segmentation_loss`; 0 where no pixel is labelled.
    """
    logits = at_size(logits, labels.shape[1:]).float()
    losses = F.cross_entropy(logits, labels, ignore_index=ignore, reduction="none").flatten()
    labelled = losses[(labels != ignore).flatten()]
    every = distributed.gathered(labelled)  # which pixels are hard is decided over the batch of all processes
    if len(every) == 0:
        return losses.sum()
    floor = max(1, int(len(every) * least))
    limit = -math.log(threshold)
    if int((every > limit).sum()) >= floor:
        hard = labelled > limit
    elif distributed.world() == 1:
        return labelled.topk(floor).values.mean()
    else:
        hard = labelled >= every.topk(floor).values[-1]
    return distributed.mean_of(labelled[hard].sum(), hard.sum().float())


def similarity_loss(feature: Tensor, teacher: Tensor) -> Tensor:
    """FST: mean squared difference from the frozen high-resolution network's feature of the same frame.

    `feature` `[N, C, h, w]` is resized to the size of `teacher` `[N, C, H, W]`, through which no gradient flows.
    """
    return F.mse_loss(at_size(feature, teacher.shape[2:]).float(), teacher.detach().float())


def psp_camvid_loss(
    logits: Tensor, auxiliary: Sequence[Tensor], labels: Tensor, *, share: float = 1.0, ignore: int = IGNORED
) -> dict[str, Tensor]:
    """PSPNet on CamVid: likelihood, and `share` times the presence of classes. Parts to be summed."""
    (presence,) = auxiliary
    return {
        "segmentation": segmentation_loss(logits, labels, ignore=ignore),
        "presence": share * presence_loss(presence, labels, ignore=ignore),
    }


def psp_cityscapes_loss(
    logits: Tensor, auxiliary: Sequence[Tensor], labels: Tensor, *, share: float = 0.4, ignore: int = IGNORED
) -> dict[str, Tensor]:
    """PSPNet on Cityscapes: cross-entropy, and `share` times that of the head on layer 3. Parts to be summed."""
    (early,) = auxiliary
    return {
        "segmentation": segmentation_loss(logits, labels, ignore=ignore),
        "auxiliary": share * segmentation_loss(early, labels, ignore=ignore),
    }


def bisenet_loss(
    logits: Tensor,
    auxiliary: Sequence[Tensor],
    labels: Tensor,
    *,
    threshold: float = 0.7,
    least: float = 1 / 16,
    ignore: int = IGNORED,
) -> dict[str, Tensor]:
    """BiSeNet: hard pixels of the output and of the heads at strides 8 and 16, all alike. Parts to be summed."""
    names = ("segmentation", "auxiliary8", "auxiliary16")
    return {
        name: ohem_loss(x, labels, threshold=threshold, least=least, ignore=ignore)
        for name, x in zip(names, (logits, *auxiliary), strict=True)
    }
