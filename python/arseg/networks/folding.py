"""Batch normalisation folded into the convolutions before it, for inference."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from arseg.errors import InputError
from arseg.extras import loaded

Module = TypeVar("Module", bound=nn.Module)

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def fold_batch_norm(module: Module, *, partly: bool = False) -> Module:
    """A copy in eval mode in which each batch normalisation is part of the convolution that it follows.

    A `BatchNorm2d` goes with the `Conv2d` that its parent defines right before it: true of networks that define their
    layers in the order of their calls, as ours, torchvision's and timm's do. The activation in timm's
    `BatchNormAct2d` stays. Fold before casting to half precision.

    Args:
        partly: leave a normalisation that cannot be folded as it is.

    Raises `InputError` for a normalisation without such a convolution, with other channels, without running
    statistics, or used in more than one place; its name is in the message.
    """
    folded = copy.deepcopy(module).eval()
    with_activation = loaded("timm.layers", "BatchNormAct2d")
    uses = Counter(id(m) for _, m in folded.named_modules(remove_duplicate=False))
    for prefix, parent in list(folded.named_modules()):
        children = list(parent.named_children())
        for (before, conv), (after, norm) in pairwise(children):
            if not isinstance(conv, nn.Conv2d) or type(norm) not in (nn.BatchNorm2d, *with_activation):
                continue
            problem = _problem(before, conv, norm, uses)
            if problem and partly:
                continue
            if problem:
                raise InputError(f"{prefix}.{after}: {problem}" if prefix else f"{after}: {problem}")
            setattr(parent, before, fuse_conv_bn_eval(conv, norm))
            # In eval mode timm's layer is the normalisation and then its activation (which may be an Identity).
            setattr(parent, after, norm.act if isinstance(norm, with_activation) else nn.Identity())
    left = [name for name, m in folded.named_modules() if isinstance(m, NORMS)]
    if left and not partly:
        raise InputError(f"{left[0]}: no convolution right before it to fold it into")
    return folded


def _problem(before: str, conv: nn.Conv2d, norm: nn.Module, uses: Mapping[int, int]) -> str:
    """Why the normalisation cannot become part of the convolution `before` it; empty where it can."""
    if conv.out_channels != norm.num_features:
        return f"{norm.num_features} channels, but {before} has {conv.out_channels}"
    if norm.running_mean is None:
        return "no running statistics to fold"
    if uses[id(conv)] > 1 or uses[id(norm)] > 1:
        return "used in more than one place, cannot be folded"
    return ""
