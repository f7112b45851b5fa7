"""Multiply-accumulates of the network's three ways to see a frame."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from arseg.models.arseg_net import ARSegNet


@torch.no_grad()
def gmacs(model: ARSegNet, height: int, width: int) -> dict[str, float]:
    """GMACs (10^9 multiply-accumulates) of one frame of `height` x `width`.

    Keys: "hr", a frame at full resolution; "lr", the keyframe network on the shrunken frame; "ar", a frame between
    keyframes with its fusion. Convolutions and attention are counted, as the paper does; resizing and warping are not.
    """
    image = torch.zeros(1, 3, height, width, device=next(model.parameters()).device)
    block = 4
    motion = torch.zeros(1, -(-height // block), -(-width // block), 2, dtype=torch.int16, device=image.device)
    reference = model.keyframe(image)

    def high() -> None:
        model.classifier(model.keyframe(image))

    def low() -> None:
        model.classifier(model.keyframe(model.shrink(image)))

    def fused() -> None:
        feature = model.fuse(model.low_res(image), reference, motion, block=block, frame_size=(height, width))
        model.classifier(feature)

    counts = {}
    for name, way in (("hr", high), ("lr", low), ("ar", fused)):
        with FlopCounterMode(display=False) as counter:
            way()
        counts[name] = counter.get_total_flops() / 2e9
    return counts
