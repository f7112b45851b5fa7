"""The operators as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from arseg_ext import _checks, ops
from arseg_ext._torch_private import has_hooks

__all__ = ["CReFF", "LocalAttention", "MVWarp"]


class MVWarp(nn.Module):
    """`ops.mv_warp` with fixed `block` (video pixels; 4 for the fields of `arseg.video.VideoReader`) and `grid`."""

    def __init__(self, block: int, grid: str = "aligned") -> None:
        super().__init__()
        self.block = _checks.block_size("MVWarp", block)
        _checks.block_name("MVWarp", self.block)
        _checks.grid_name("MVWarp", grid)
        self.grid = grid

    def forward(self, feature: Tensor, motion: Tensor, *, frame_size: Sequence[int]) -> Tensor:
        """feature [N, C, H, W], motion int16 [N, Hb, Wb, 2] -> [N, C, H, W]."""
        return ops.mv_warp(feature, motion, block=self.block, frame_size=frame_size, grid=self.grid)

    def extra_repr(self) -> str:
        return f"block={self.block}, grid={self.grid!r}"


class LocalAttention(nn.Module):
    """`ops.local_attention` with fixed options."""

    def __init__(self, window: int | Sequence[int] = 7, outside: str = "zero", scale: float = 1.0) -> None:
        super().__init__()
        _checks.window_sides("LocalAttention", _checks.window_pair("LocalAttention", window))
        _checks.outside_name("LocalAttention", outside)
        _checks.is_number("LocalAttention", "scale", scale)
        self.window = window
        self.outside = outside
        self.scale = scale

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query, key [N, C, H, W], value [N, Cv, H, W] -> [N, Cv, H, W]."""
        return ops.local_attention(query, key, value, window=self.window, outside=self.outside, scale=self.scale)

    def extra_repr(self) -> str:
        return f"window={self.window}, outside={self.outside!r}, scale={self.scale}"


def _parameters(op: str, name: str, convolution: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight and bias; a bias that is not there is 0.

    Hooks are refused: the operator takes the parameters and would not call them (old pruning and weight or spectral
    normalisation make the weight in one; `torch.nn.utils.parametrizations` do not).
    """
    if has_hooks(convolution):
        raise ValueError(
            f"{op}: {name} must have no hooks, which the fused operator would not call; make them permanent "
            "(torch.nn.utils.prune.remove and the like) or use torch.nn.utils.parametrizations"
        )
    bias = convolution.bias
    return convolution.weight, convolution.weight.new_zeros(convolution.out_channels) if bias is None else bias


def _own_forward(expected: str, convolution: nn.Conv2d) -> None:
    """Refuses a class that computes something else, such as one that quantises its weight on the way."""
    own = type(convolution)
    if own.forward is not nn.Conv2d.forward:
        raise ValueError(f"{expected}a {own.__module__}.{own.__name__} with a forward of its own, which would not run")


def _head(op: str, classifier: nn.Conv2d, channels: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of a 1x1 convolution; with any other the result would be another."""
    expected = f"{op}: classifier must be a 1x1 nn.Conv2d of {channels} channels, stride 1, no padding, 1 group, got "
    if not isinstance(classifier, nn.Conv2d):
        raise TypeError(expected + _checks.described(classifier))
    plain = (
        classifier.kernel_size == (1, 1)
        and classifier.stride == (1, 1)
        and classifier.padding in ((0, 0), "valid", "same")
        and classifier.groups == 1
    )
    if not plain or classifier.in_channels != channels:
        raise ValueError(expected + repr(classifier))
    _own_forward(expected, classifier)
    return _parameters(op, "classifier", classifier)


def _depthwise(name: str, convolution: nn.Conv2d, channels: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of what `ops.creff` computes; with any other the result would be another."""
    expected = f"creff: {name} must be a depthwise 3x3 nn.Conv2d of {channels} channels with zero padding of 1, got "
    if not isinstance(convolution, nn.Conv2d):
        raise TypeError(expected + _checks.described(convolution))
    plain = (
        convolution.kernel_size == (3, 3)
        and convolution.stride == (1, 1)
        and convolution.padding in ((1, 1), "same")
        and convolution.padding_mode == "zeros"
        and convolution.dilation == (1, 1)
        and convolution.groups == convolution.in_channels == convolution.out_channels == channels
    )
    if not plain:
        raise ValueError(expected + repr(convolution))
    _own_forward(expected, convolution)
    return _parameters("creff", name, convolution)


class CReFF(nn.Module):
    """Cross-resolution feature fusion with its three depthwise convolutions (`ops.creff`).

    The parameters have the names of the published checkpoints: `lr_query_conv`, `hr_key_conv`, `hr_value_conv`.
    """

    def __init__(
        self, channels: int, window: int | Sequence[int] = 7, grid: str = "aligned", outside: str = "zero"
    ) -> None:
        super().__init__()
        if not _checks.is_integer(channels) or channels < 1:
            error = ValueError if _checks.is_integer(channels) else TypeError
            raise error(f"CReFF: channels must be a positive int, got {_checks.described(channels)}")
        _checks.window_sides("CReFF", _checks.window_pair("CReFF", window))
        _checks.grid_name("CReFF", grid)
        _checks.outside_name("CReFF", outside)
        self.channels = channels
        self.window = window
        self.grid = grid
        self.outside = outside
        self.lr_query_conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.hr_key_conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.hr_value_conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(
        self,
        reference: Tensor,
        low_res: Tensor,
        motion: Tensor,
        *,
        block: int | None = None,
        frame_size: Sequence[int] | None = None,
    ) -> Tensor:
        """reference [N, C, H, W], low_res [N, C, h, w], motion in blocks or dense -> [N, C, H, W]."""
        return ops.creff(reference, low_res, motion, *self._weights(), block=block, **self._options(frame_size))

    def logits(
        self,
        reference: Tensor,
        low_res: Tensor,
        motion: Tensor,
        classifier: nn.Conv2d,
        *,
        block: int | None = None,
        frame_size: Sequence[int] | None = None,
    ) -> Tensor:
        """`classifier(self(...))` for a 1x1 classifier, without the fused map between them -> [N, K, H, W]."""
        head = _head("creff_logits", classifier, self.channels)
        options = self._options(frame_size)
        return ops.creff_logits(reference, low_res, motion, *self._weights(), *head, block=block, **options)

    def labels(
        self,
        reference: Tensor,
        low_res: Tensor,
        motion: Tensor,
        classifier: nn.Conv2d,
        *,
        block: int | None = None,
        frame_size: Sequence[int] | None = None,
    ) -> Tensor:
        """The class of the largest of `logits` -> uint8 [N, H, W]."""
        head = _head("creff_labels", classifier, self.channels)
        options = self._options(frame_size)
        return ops.creff_labels(reference, low_res, motion, *self._weights(), *head, block=block, **options)

    def _weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        names = ("lr_query_conv", "hr_key_conv", "hr_value_conv")
        query, key, value = (_depthwise(name, getattr(self, name), self.channels) for name in names)
        return (*query, *key, *value)

    def _options(self, frame_size: Sequence[int] | None) -> dict[str, Any]:
        return {"window": self.window, "frame_size": frame_size, "grid": self.grid, "outside": self.outside}

    def extra_repr(self) -> str:
        return f"{self.channels}, window={self.window}, grid={self.grid!r}, outside={self.outside!r}"
