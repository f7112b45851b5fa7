"""The operators as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from arseg_ext import ops

__all__ = ["CReFF", "LocalAttention", "MVWarp"]


class MVWarp(nn.Module):
    """`ops.mv_warp` with fixed `block` (video pixels) and `grid`."""

    def __init__(self, block: int = 16, grid: str = "aligned") -> None:
        super().__init__()
        self.block = block
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
        self.window = window
        self.outside = outside
        self.scale = scale

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query, key [N, C, H, W], value [N, Cv, H, W] -> [N, Cv, H, W]."""
        return ops.local_attention(query, key, value, window=self.window, outside=self.outside, scale=self.scale)

    def extra_repr(self) -> str:
        return f"window={self.window}, outside={self.outside!r}, scale={self.scale}"


def _parameters(convolution: nn.Conv2d) -> tuple[Tensor, Tensor]:
    assert convolution.bias is not None
    return convolution.weight, convolution.bias


class CReFF(nn.Module):
    """Cross-resolution feature fusion with its three depthwise convolutions (`ops.creff`).

    The parameters have the names of the published checkpoints: `lr_query_conv`, `hr_key_conv`, `hr_value_conv`.
    """

    def __init__(
        self, channels: int, window: int | Sequence[int] = 7, grid: str = "aligned", outside: str = "zero"
    ) -> None:
        super().__init__()
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
        head = _parameters(classifier)
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
        head = _parameters(classifier)
        options = self._options(frame_size)
        return ops.creff_labels(reference, low_res, motion, *self._weights(), *head, block=block, **options)

    def _weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        query, key, value = map(_parameters, (self.lr_query_conv, self.hr_key_conv, self.hr_value_conv))
        return (*query, *key, *value)

    def _options(self, frame_size: Sequence[int] | None) -> dict[str, Any]:
        return {"window": self.window, "frame_size": frame_size, "grid": self.grid, "outside": self.outside}

    def extra_repr(self) -> str:
        return f"{self.channels}, window={self.window}, grid={self.grid!r}, outside={self.outside!r}"
