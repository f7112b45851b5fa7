"""How far the warped keyframe is to be trusted, pixel by pixel: both decoded pictures say where vectors lead astray.

The error e is the mean absolute difference of luma between a frame and its keyframe, warped, in each cell of the
logits. What is taken from the keyframe counts exp(-e / tau): all of it where both look alike, nothing where they do
not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arseg.errors import InputError

from .keyframe import warped_logits

WEIGHTS = (0.299, 0.587, 0.114)
"""Of red, green and blue in luma (ITU-R BT.601)."""


class KeyframeSignals(NamedTuple):
    """What trust takes of a keyframe, beside its feature and logits.

    Attributes:
        luma: of its picture, float32 `[N, 1, H, W]` in 0..255, at the size that the network sees.
        residual: what the low-resolution branch got wrong on it, `[N, num_classes, h, w]`: the keyframe's logits minus
            those of the branch; None where nothing of it is added.
    """

    luma: Tensor
    residual: Tensor | None = None

    def tensors(self) -> tuple[Tensor, ...]:
        """Those there are; `KeyframeSignals(*tensors)` has them back."""
        return (self.luma,) if self.residual is None else (self.luma, self.residual)


class LearnedResidual(nn.Module):
    """`ARSegNet`'s `keyframe_residual` and `residual_tau` while training finds them.

    Both are kept above 0: the parameters are their logarithms.
    """

    def __init__(self, residual: float, tau: float):
        super().__init__()
        self.log_residual = nn.Parameter(torch.tensor(math.log(residual)))
        self.log_tau = nn.Parameter(torch.tensor(math.log(tau)))

    def tensors(self) -> dict[str, Tensor]:
        """Of the network's attributes, with gradients."""
        return {"keyframe_residual": self.log_residual.exp(), "residual_tau": self.log_tau.exp()}

    def constants(self) -> dict[str, float]:
        """The same as plain numbers, as weights files and the network in use have them."""
        return {name: value.item() for name, value in self.tensors().items()}


def luma(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalised RGB `[N, 3, H, W]` -> float32 `[N, 1, H, W]` in 0..255; `mean`, `std` as in `preprocess.normalise`."""
    channels = zip(WEIGHTS, std, mean, image.float().unbind(1), strict=True)
    red, green, blue = (255 * weight * (scale * x + shift) for weight, scale, shift, x in channels)
    return (red + green + blue).unsqueeze(1)


def photometric_error(
    frame: Tensor,
    key: Tensor,
    motion: Tensor,
    size: Sequence[int],
    block: int | None = None,
    frame_size: tuple[int, int] | None = None,
) -> Tensor:
    """How unlike a frame the warped keyframe looks around each cell of its logits: float32 `[N, 1, *size]`, in 0..255.

    Args:
        frame, key: luma of both, `[N, 1, H, W]`.
        motion, block, frame_size: those of `arseg_ext.ops.creff`. Dense motion counts in its own cells: the pictures
            are brought to them.
        size: height and width of the logits.
    """
    if motion.is_floating_point():
        frame, key = (F.interpolate(x, size=motion.shape[1:3], mode="area") for x in (frame, key))
    return F.interpolate((frame - warped_logits(key, motion, block, frame_size)).abs(), size=tuple(size), mode="area")


def trust(error: Tensor, tau: float | Tensor | None) -> Tensor | float:
    """exp(-error / tau), 0..1, of the error's shape; 1 where there is no `tau`: everything is trusted alike."""
    return 1.0 if tau is None else torch.exp(-error / tau)


def trusted(
    frame: Tensor,
    signals: KeyframeSignals,
    motion: Tensor,
    logits: Tensor,
    tau: float | Tensor | None,
    residual: float | Tensor,
    residual_tau: float | Tensor | None,
    *,
    block: int | None = None,
    frame_size: tuple[int, int] | None = None,
) -> dict[str, Tensor | float]:
    """What `with_keyframe` takes: `trust` in the warped logits, and the `residual` to add, in the type of `logits`.

    Args:
        frame: luma of the frames, `[N, 1, H, W]`.
        signals: of the keyframe of each.
        logits: the frames' own, `[N, num_classes, h, w]`.
        tau, residual, residual_tau: `ARSegNet`'s `keyframe_tau`, `keyframe_residual` and `residual_tau`.

    Raises `InputError` where the residual counts and the keyframe's is missing.
    """
    error = photometric_error(frame, signals.luma, motion, logits.shape[2:], block, frame_size)
    found: dict[str, Tensor | float] = {"trust": trust(error, tau)}
    if isinstance(residual, Tensor) or residual:
        if signals.residual is None:
            raise InputError("signals.residual: expected that of the keyframe, got None; see ARSegNet.keyframe_signals")
        moved = warped_logits(signals.residual, motion, block, frame_size)
        found["residual"] = residual * trust(error, residual_tau) * moved
    return {name: x.to(logits.dtype) if isinstance(x, Tensor) else x for name, x in found.items()}
