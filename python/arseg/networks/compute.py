"""Multiply-accumulates of the ways in which a network sees a frame."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .arseg_net import ARSegNet
from .fusion import enlarged
from .trust import KeyframeSignals

Net = TypeVar("Net", bound=nn.Module)

SHAPELESS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm, nn.Dropout, nn.Dropout2d),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid),
    *(nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softmax),
)


def count(way: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        way()
    return counter.get_total_flops() / 2e9


@torch.no_grad()
def gmacs(model: ARSegNet, height: int, width: int) -> dict[str, float]:
    """GMACs (10^9 multiply-accumulates) of one frame of `height` x `width`.

    Keys: "hr", a frame at full resolution; "keyframe", that with what later frames need of it (a pass of the branch for
    low resolution, where its residual counts); "lr", the keyframe network on the shrunken frame; "ar", a frame between
    keyframes with its fusion; "low", the result of that frame's branch alone. Convolutions and attention are counted,
    as the paper does; resizing and warping are not.
    """
    image, device = black_image(model, height, width)
    with FlopCounterMode(display=False) as counter:
        reference = model.keyframe(image)
        key_logits = model.classifier(reference)
        hr = counter.get_total_flops() / 2e9
        signals = model.keyframe_signals(image, reference, key_logits)
    return {
        "hr": hr,
        "keyframe": counter.get_total_flops() / 2e9,
        "lr": count(lambda: model.classifier(model.keyframe(model.shrink(image)))),
        "low": count(lambda: model.classifier(enlarged(model.low_res(image), reference))),
        "ar": count(lambda: between_keyframes(model, image, reference, key_logits, device, signals)),
    }


def shapes_alone(model: Net) -> Net:
    """A copy on "meta", to count on: without values, and without the layers that neither count nor change a shape."""
    memo: dict[int, object] = {}
    for tensor in (*model.parameters(), *model.buffers()):  # is not copied first
        empty = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    found = copy.deepcopy(model, memo).to("meta")
    for parent in list(found.modules()):
        for name, child in parent.named_children():
            if type(child) in SHAPELESS:
                setattr(parent, name, nn.Identity())
    return found


def black_image(model: nn.Module, height: int, width: int) -> tuple[Tensor, torch.device]:
    """A black image where the network's parameters are: "meta" counts without computing."""
    device = next((p.device for p in model.parameters()), torch.get_default_device())
    return torch.zeros(1, 3, height, width, device=device), device


def between_keyframes(
    model: ARSegNet,
    image: Tensor,
    reference: Tensor,
    key_logits: Tensor,
    device: torch.device,
    signals: KeyframeSignals | None = None,
) -> Tensor:
    height, width, block = image.shape[2], image.shape[3], 4
    motion = torch.zeros(1, -(-height // block), -(-width // block), 2, dtype=torch.int16, device=device)
    where: dict[str, Any] = {"block": block, "frame_size": (height, width), "signals": signals}
    return model.step_outputs(image, reference, motion, 1, key_logits, **where).logits


def gop_average(keyframe: float, between: float, gop: int = 12) -> float:
    """Mean over a group of `gop` frames: one keyframe, and the frames between."""
    return (keyframe + (gop - 1) * between) / gop
