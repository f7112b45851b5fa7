"""A network made ready to look: batch normalisation folded, weights in the type and layout that convolutions want."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from arseg.memory import is_out_of_memory

from .arseg_net import ARSegNet
from .conv_activation import fuse_activations
from .folding import NORMS, fold_batch_norm

TRIED = 256
"""Pixels on a side of the part of an image that shows whether folding is right."""

FOLDED = 0.05
"""How far, of its largest value, folding may move a feature: TF32 rounds, and a wrong fold is off by about 1."""

BRANCHES = ("keyframe", "low_res")
"""What is tried of a network."""

ROUNDED = 1e-4
"""The same of convolutions with their activations, where nothing but the order of sums is another."""


@torch.inference_mode()
def prepared(net: ARSegNet, image: Tensor, kind: torch.dtype, *, activations: bool = True) -> ARSegNet | None:
    """A copy of `net` for inference in `kind`, channels last; None where it cannot run so.

    Batch normalisation is folded where that leaves the features what they are, and else stays. In float32 on the CPU
    convolutions then apply the activations after them (`conv_activation`); where nothing is folded, None.

    Args:
        image: `[1, 3, H, W]` normalised RGB, to try it on.
        activations: whether convolutions may apply those after them; not where other programs are to read the network.
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
    if activations and kind == torch.float32 and image.device.type == "cpu":
        return _with_activations(ready, image[..., :TRIED, :TRIED])
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
        same = all(_alike(getattr(net, name), getattr(folded, name), image, FOLDED) for name in BRANCHES)
    except Exception as error:
        _unless_out_of_memory(error)
        return None
    return folded if same else None


def _with_activations(ready: ARSegNet, image: Tensor) -> ARSegNet:
    """`ready`, or a copy whose convolutions apply the activations after them, where that leaves its features."""
    image = image.contiguous(memory_format=torch.channels_last)
    try:
        found = copy.deepcopy(ready)
        for network in (found.high, found.low):
            fuse_activations(network, leave=[found.classifier])
        same = all(_alike(getattr(ready, name), getattr(found, name), image, ROUNDED) for name in BRANCHES)
    except Exception as error:
        _unless_out_of_memory(error)
        return ready
    return found if same else ready


def _alike(one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor], image: Tensor, far: float) -> bool:
    expected, found = one(image), other(image)
    return bool((expected - found).abs().max() <= far * expected.abs().max())


def _unless_out_of_memory(error: Exception) -> None:
    if is_out_of_memory(error):
        raise error
