"""Ways to join the low-resolution feature with the warped reference: CReFF, and what the paper compares it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from arseg.errors import InputError
from arseg_ext import ops
from arseg_ext.nn import CReFF

from .layers import resize
from .motion import warp


def enlarged(low_res: Tensor, size_of: Tensor) -> Tensor:
    """The low-resolution feature `[N, C, h, w]` at the size of another map, the corner pixels in place."""
    return resize(low_res, size_of.shape[2:], align_corners=True)


class Attention(CReFF):
    """CReFF: up(low) + softmax(Q K) V over a window. `join` takes a reference that is warped already."""

    def join(self, warped: Tensor, low_res: Tensor) -> Tensor:
        """Warped reference `[N, C, H, W]` and low-resolution feature `[N, C, h, w]` -> fused `[N, C, H, W]`."""
        up = enlarged(low_res, warped)
        return up + self.attend(warped, up)

    def attend(self, warped: Tensor, up: Tensor) -> Tensor:
        query, key, value = self.lr_query_conv(up), self.hr_key_conv(warped), self.hr_value_conv(warped)
        return ops.local_attention(query, key, value, window=self.window, outside=self.outside)


class WarpedFusion(nn.Module):
    """Fusions that warp first, with the arguments of `CReFF.forward`.

    Subclasses define `join`, and set `grid`, the warp's (`arseg_ext.ops.flow_warp`).
    """

    grid: str

    def join(self, warped: Tensor, low_res: Tensor) -> Tensor:
        """Warped reference `[N, C, H, W]` and low-resolution feature `[N, C, h, w]` -> fused `[N, C, H, W]`."""
        raise NotImplementedError

    def forward(
        self,
        reference: Tensor,
        low_res: Tensor,
        motion: Tensor,
        *,
        block: int | None = None,
        frame_size: Sequence[int] | None = None,
    ) -> Tensor:
        """Reference `[N, C, H, W]`, low-resolution feature `[N, C, h, w]`, motion -> fused `[N, C, H, W]`.

        `motion`, `block`, `frame_size` are those of `arseg_ext.ops.creff`. Raises `InputError` where vectors of blocks
        come without either of the latter.
        """
        return self.join(warp(reference, motion, block, frame_size, grid=self.grid), low_res)


class AttentionOnly(WarpedFusion):
    """softmax(Q K) V alone, without the low-resolution feature added to it."""

    def __init__(self, channels: int, window: int, grid: str):
        super().__init__()
        self.grid, self.window = grid, window
        self.lr_query_conv = self.convolution(channels)
        self.hr_key_conv = self.convolution(channels)
        self.hr_value_conv = self.convolution(channels)

    def convolution(self, channels: int) -> nn.Conv2d:
        return nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def join(self, warped: Tensor, low_res: Tensor) -> Tensor:
        query = self.lr_query_conv(enlarged(low_res, warped))
        return ops.local_attention(query, self.hr_key_conv(warped), self.hr_value_conv(warped), window=self.window)


class DenseAttention(AttentionOnly):
    """CReFF whose three convolutions mix the channels."""

    def convolution(self, channels: int) -> nn.Conv2d:
        return nn.Conv2d(channels, channels, 3, padding=1)

    def join(self, warped: Tensor, low_res: Tensor) -> Tensor:
        return enlarged(low_res, warped) + super().join(warped, low_res)


class ValueOnly(WarpedFusion):
    """CReFF without attention: up(low) + V."""

    def __init__(self, channels: int, window: int, grid: str):
        super().__init__()
        self.grid = grid
        self.hr_value_conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def join(self, warped: Tensor, low_res: Tensor) -> Tensor:
        return enlarged(low_res, warped) + self.hr_value_conv(warped)


class Convolution(WarpedFusion):
    """A 3x3 convolution over both features."""

    def __init__(self, channels: int, window: int, grid: str):
        super().__init__()
        self.grid = grid
        self.fusion_conv = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def join(self, warped: Tensor, low_res: Tensor) -> Tensor:
        return self.fusion_conv(torch.cat([enlarged(low_res, warped), warped], 1))


class UpsampleOnly(WarpedFusion):
    """The low-resolution feature alone, enlarged."""

    def __init__(self, channels: int, window: int, grid: str):
        super().__init__()
        self.grid = grid

    def join(self, warped: Tensor, low_res: Tensor) -> Tensor:
        return enlarged(low_res, warped)

    def forward(
        self,
        reference: Tensor,
        low_res: Tensor,
        motion: Tensor,
        *,
        block: int | None = None,
        frame_size: Sequence[int] | None = None,
    ) -> Tensor:
        return enlarged(low_res, reference)


FUSIONS: Mapping[str, Callable[[int, int, str], Attention | WarpedFusion]] = {
    "attention": Attention,
    "attention-only": AttentionOnly,
    "dense-attention": DenseAttention,
    "value": ValueOnly,
    "convolution": Convolution,
    "none": UpsampleOnly,
}
"""Names of the fusions. "value" is "attention" switched off; "none" uses nothing of the reference."""


def make_fusion(name: str, channels: int, window: int = 7, grid: str = "aligned") -> Attention | WarpedFusion:
    """A fusion of `FUSIONS`. `window`: side of the attention; `grid`: see `arseg_ext.ops.flow_warp`.

    Raises `InputError` for an unknown name or a window that the attention does not have.
    """
    if name not in FUSIONS:
        raise InputError(f"fusion: expected one of {', '.join(FUSIONS)}, got {name!r}")
    if not isinstance(window, int) or window % 2 == 0 or not 3 <= window <= 15:
        raise InputError(f"window: expected an odd side from 3 to 15, got {window!r}")
    return FUSIONS[name](channels, window, grid)


@torch.no_grad()
def start_fusion(fusion: nn.Module, gain: float) -> None:
    """See `ARSegNet.start_fusion`."""
    for name, conv in fusion.named_children():
        assert isinstance(conv, nn.Conv2d)
        nn.init.zeros_(conv.weight)
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
        if name != "hr_value_conv":
            nn.init.dirac_(conv.weight, groups=conv.groups)
            conv.weight.mul_(1.0 if name == "fusion_conv" else gain)


@torch.no_grad()
def start_fusion_for(fusion: nn.Module, feature: Tensor, *, logit: float, value: float) -> None:
    """See `ARSegNet.start_fusion_for`."""
    feature = feature.float()
    gain = float((logit / feature.var((0, 2, 3)).sum().clamp_min(1e-12)).sqrt())
    start_fusion(fusion, gain)
    for name, conv in fusion.named_children():
        assert isinstance(conv, nn.Conv2d)
        if name in ("lr_query_conv", "hr_key_conv") and conv.bias is not None:
            conv.bias.copy_(-gain * feature.mean((0, 2, 3)))
        if name == "hr_value_conv":
            nn.init.dirac_(conv.weight, groups=conv.groups)
            conv.weight.mul_(value)
