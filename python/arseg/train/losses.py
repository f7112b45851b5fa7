"""Losses of segmentation: cross-entropy, soft IoU, hard pixels, auxiliary heads, feature similarity.

`LOSSES` names those of a network with auxiliary heads; a script adds its own by `register`, and a recipe of the paper's
networks takes it by its name (`--set loss=NAME`). Labels are class ids; pixels of `ignore_index` count in no loss. What
a loss divides by is counted over the batch of all processes.

Sources: Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017 (auxiliary head at 0.4); Yu et al., "BiSeNet",
ECCV 2018 (three heads); Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example
Mining", CVPR 2016; Rahman and Wang, ISVC 2016 (soft Jaccard index); Paszke et al., "ENet", 2016 (class weights);
Hu et al., CVPR 2023 (feature similarity training, FST).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from arseg.labels import IGNORED
from arseg.registry import Registry

from . import distributed

SegmentationLoss = Callable[[Tensor, Sequence[Tensor], Tensor], dict[str, Tensor]]
"""(logits `[N, K, h, w]`, outputs of the auxiliary heads, labels int64 `[N, H, W]`) -> named terms, to be summed."""

LOSSES: Registry[Callable[[float], SegmentationLoss]] = Registry("loss")
"""By name, what makes a loss from the weight of the auxiliary heads' terms."""

register = LOSSES.register


def at_size(x: Tensor, size: Sequence[int]) -> Tensor:
    """`[N, C, h, w]` -> `[N, C, *size]`, bilinear with the corners in place, as all resizing around the losses is."""
    size = tuple(size)
    return x if x.shape[2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def nll_loss(
    log_probability: Tensor, labels: Tensor, *, weight: Tensor | None = None, ignore_index: int = IGNORED
) -> Tensor:
    """Negative log-likelihood, the mean over the labelled pixels; 0 where there is none.

    Args:
        log_probability: `[N, K, H, W]`.
        labels: int64 `[N, H, W]`.
        weight: `[K]`, of each class; the mean is weighted, too.
    """
    summed = F.nll_loss(log_probability, labels, weight, ignore_index=ignore_index, reduction="sum")
    counted = labels != ignore_index
    total = counted.sum() if weight is None else weight[labels[counted]].sum()
    return distributed.mean_of(summed, total.float())


def segmentation_loss(
    logits: Tensor, labels: Tensor, *, weight: Tensor | None = None, ignore_index: int = IGNORED
) -> Tensor:
    """Cross-entropy, the mean over the labelled pixels; 0 where there is none.

    Args:
        logits: `[N, K, h, w]`, resized to the labels' size. Log-probabilities do as well: a log-softmax leaves them
            as they are, so that this is the negative log-likelihood of a network that ends in one.
        labels: int64 `[N, H, W]`, class ids.
        weight: `[K]`, of each class.
    """
    log_probability = at_size(logits, labels.shape[1:]).float().log_softmax(1)
    return nll_loss(log_probability, labels, weight=weight, ignore_index=ignore_index)


def soft_iou_loss(probability: Tensor, labels: Tensor, *, ignore_index: int = IGNORED) -> Tensor:
    """1 - mean over the batch's classes of their soft IoU: what the score asks for, where cross-entropy counts pixels.

    0 for a batch without labels.

    Args:
        probability: `[N, K, H, W]`.
        labels: int64 `[N, H, W]`.
    """
    counted = labels != ignore_index
    truth = labels.where(counted, 0)[:, None]
    hit = (probability.gather(1, truth) * counted[:, None]).flatten()
    shared, true = (
        distributed.total(hit.new_zeros(probability.shape[1]).index_add(0, truth.flatten(), values))
        for values in (hit, counted.flatten().to(hit.dtype))
    )
    found = distributed.total((probability * counted[:, None]).sum((0, 2, 3)))
    present = true > 0
    if not present.any():
        return probability.sum() * 0
    return 1 - (shared[present] / (found + true - shared)[present]).mean()


def weighted_iou_loss(
    logits: Tensor, labels: Tensor, class_weight: Tensor, *, iou_loss_weight: float, ignore_index: int = IGNORED
) -> dict[str, Tensor]:
    """Cross-entropy weighted by `class_weight` `[K]`, and `iou_loss_weight` times `soft_iou_loss`.

    `logits` `[N, K, H, W]` have the size of `labels` `[N, H, W]`.
    """
    log_probability = logits.float().log_softmax(1)
    iou = soft_iou_loss(log_probability.exp(), labels, ignore_index=ignore_index)
    return {
        "segmentation": nll_loss(log_probability, labels, weight=class_weight, ignore_index=ignore_index),
        "iou": iou_loss_weight * iou,
    }


def class_weights(labels: Iterable[np.ndarray], num_classes: int) -> Tensor:
    """float32 `[num_classes]`, mean 1: the root of ENet's 1 / ln(1.02 + frequency), so that thin classes count.

    `labels`: uint8 `[H, W]` each; ids from `num_classes` up are left out.
    """
    return weights_of_counts(sum(np.bincount(label.ravel(), minlength=256)[:num_classes] for label in labels))


def weights_of_counts(counts: np.ndarray | int) -> Tensor:
    """`class_weights` of labels with so many pixels of each class, int `[num_classes]`, at least one in all."""
    weights = 1 / np.sqrt(np.log(1.02 + counts / np.sum(counts)))
    return torch.from_numpy(weights / weights.mean()).float()


def classes_present(labels: Tensor, num_classes: int, *, ignore_index: int = IGNORED) -> Tensor:
    """`[N, H, W]` labels -> float32 `[N, num_classes]`: 1 where a class occurs in the image."""
    flat = labels.flatten(1)
    seen = torch.zeros(len(flat), num_classes + 1, device=labels.device)
    return seen.scatter_(1, flat.masked_fill(flat == ignore_index, num_classes), 1.0)[:, :num_classes]


def presence_loss(logits: Tensor, labels: Tensor, *, ignore_index: int = IGNORED) -> Tensor:
    """Binary cross-entropy of an image-wide head: which classes occur. Logits `[N, K]`, labels `[N, H, W]`."""
    target = classes_present(labels, logits.shape[1], ignore_index=ignore_index)
    return F.binary_cross_entropy_with_logits(logits.float(), target)


def ohem_loss(
    logits: Tensor, labels: Tensor, *, threshold: float = 0.7, least: float = 1 / 16, ignore_index: int = IGNORED
) -> Tensor:
    """Cross-entropy over hard pixels only: those whose own class has a probability below `threshold`.

    Where these are fewer than the fraction `least` of the labelled pixels, that many of the hardest count.
    `logits` and `labels` as in `segmentation_loss`; 0 where no pixel is labelled.
    """
    logits = at_size(logits, labels.shape[1:]).float()
    losses = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction="none").flatten()
    labelled = losses[(labels != ignore_index).flatten()]
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
    logits: Tensor,
    auxiliary: Sequence[Tensor],
    labels: Tensor,
    *,
    auxiliary_weight: float = 1.0,
    ignore_index: int = IGNORED,
) -> dict[str, Tensor]:
    """PSPNet on CamVid: likelihood, and `auxiliary_weight` times the presence of classes. To be summed."""
    (presence,) = auxiliary
    return {
        "segmentation": segmentation_loss(logits, labels, ignore_index=ignore_index),
        "presence": auxiliary_weight * presence_loss(presence, labels, ignore_index=ignore_index),
    }


def psp_cityscapes_loss(
    logits: Tensor,
    auxiliary: Sequence[Tensor],
    labels: Tensor,
    *,
    auxiliary_weight: float = 0.4,
    ignore_index: int = IGNORED,
) -> dict[str, Tensor]:
    """PSPNet on Cityscapes: cross-entropy, and `auxiliary_weight` times that of the head on layer 3. To be summed."""
    (early,) = auxiliary
    return {
        "segmentation": segmentation_loss(logits, labels, ignore_index=ignore_index),
        "auxiliary": auxiliary_weight * segmentation_loss(early, labels, ignore_index=ignore_index),
    }


def bisenet_loss(
    logits: Tensor,
    auxiliary: Sequence[Tensor],
    labels: Tensor,
    *,
    threshold: float = 0.7,
    least: float = 1 / 16,
    ignore_index: int = IGNORED,
) -> dict[str, Tensor]:
    """BiSeNet: hard pixels of the output and of the heads at strides 8 and 16, all alike. To be summed."""
    names = ("segmentation", "auxiliary8", "auxiliary16")
    return {
        name: ohem_loss(x, labels, threshold=threshold, least=least, ignore_index=ignore_index)
        for name, x in zip(names, (logits, *auxiliary), strict=True)
    }


register("psp-camvid", lambda auxiliary_weight: partial(psp_camvid_loss, auxiliary_weight=auxiliary_weight))
register("psp-cityscapes", lambda auxiliary_weight: partial(psp_cityscapes_loss, auxiliary_weight=auxiliary_weight))
register("bisenet", lambda auxiliary_weight: bisenet_loss)
