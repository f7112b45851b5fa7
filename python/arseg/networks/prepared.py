"""A network made ready to look: batch normalisation folded, weights in the type and layout that convolutions want."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from arseg.memory import is_out_of_memory

from .arseg_net import ARSegNet
from .folding import NORMS, fold_batch_norm

TRIED = 256
"""Pixels on a side of the part of an image that shows whether folding is right."""

FOLDED = 0.05
"""How far, of its largest value, folding may move a feature: TF32 rounds, and a wrong fold is off by about 1."""


@torch.inference_mode()
def prepared(net: ARSegNet, image: Tensor, kind: torch.dtype) -> ARSegNet | None:
    """A copy of `net` for inference in `kind`, channels last; None where it cannot run so.

    Batch normalisation is folded where that leaves the features what they are, and else stays. On the CPU there is
    nothing else to gain in float32: where nothing is folded, None.

    Args:
        image: `[1, 3, H, W]` normalised RGB, to try it on.
    """
    ready = _folded(net, image[..., :TRIED, :TRIED])
    if ready is None and kind == torch.float32 and image.device.type == "cpu":
        return None
    if ready is None:
        try:
            ready = copy.deepcopy(net)
        except Exception as error:  # as of pruned weights, which are no leaves
            _unless_out_of_memory(error)
            return None
    ready = ready.to(kind).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if kind != torch.float32:
        try:
            ready.classifier(ready.keyframe(image))
            ready.low_res(image)
        except Exception as error:  # foreign code may make 32-bit tensors of its own
            _unless_out_of_memory(error)
            return None
    return ready


def _folded(net: ARSegNet, image: Tensor) -> ARSegNet | None:
    if not any(isinstance(module, NORMS) for module in net.modules()):
        return None
    try:
        folded = fold_batch_norm(net, partly=True)
        same = all(_alike(getattr(net, name), getattr(folded, name), image) for name in ("keyframe", "low_res"))
    except Exception as error:
        _unless_out_of_memory(error)
        return None
    return folded if same else None


def _alike(one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor], image: Tensor) -> bool:
    expected, found = one(image), other(image)
    return bool((expected - found).abs().max() <= FOLDED * expected.abs().max())


def _unless_out_of_memory(error: Exception) -> None:
    if is_out_of_memory(error):
        raise error
