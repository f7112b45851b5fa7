"""The operators in plain PyTorch, in forms that eager and torch.compile make much of: what ours are compared with.

Two forms. One shift for each key of the window, as a PyTorch user would write it; and the chain of the original
AR-Seg, one kernel after another on contiguous maps, with every logit of every pixel written and read (there similarity
and weighting are of the package localAttention).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def warp(feature: Tensor, flow: Tensor, grid: str = "aligned") -> Tensor:
    """grid_sample at (x + fx, y + fy); flow [N, H, W, 2] in pixels, float32 (a half grid would be pixels off)."""
    (height, width), device = feature.shape[2:], feature.device
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    x, y = x + flow[..., 0], y + flow[..., 1]
    places = torch.stack((2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1), -1)
    map_ = feature.to(places.dtype)
    return F.grid_sample(map_, places, align_corners=grid == "aligned").to(feature.dtype)


def _border(window: tuple[int, int]) -> list[int]:
    return [window[1] // 2, window[1] // 2, window[0] // 2, window[0] // 2]


def _shifts(size: tuple[int, int], window: tuple[int, int]) -> list[tuple[slice, slice]]:
    rows, columns = range(window[0]), range(window[1])
    return [(slice(dy, dy + size[0]), slice(dx, dx + size[1])) for dy in rows for dx in columns]


def _outside(query: Tensor, window: tuple[int, int]) -> Tensor:
    """[keys, 1, 1, H, W], 0 inside the map and -inf outside: added to logits."""
    height, width = query.shape[2:]
    mask = F.pad(query.new_zeros(1, 1, height, width), _border(window), value=float("-inf"))
    return torch.stack([mask[..., y, x] for y, x in _shifts((height, width), window)])


def attention(window: tuple[int, int], outside: str = "zero", scale: float = 1.0) -> Attention:
    """A shift for each key of the window."""

    def function(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        shifts = _shifts((query.shape[2], query.shape[3]), window)
        key, value = F.pad(key, _border(window)), F.pad(value, _border(window))
        logits = torch.stack([(query * key[..., y, x]).sum(1, keepdim=True) for y, x in shifts])
        if scale != 1:
            logits = logits * scale
        if outside == "masked":
            logits = logits + _outside(query, window)
        weights = logits.softmax(0)
        out = weights[0] * value[..., shifts[0][0], shifts[0][1]]
        for i, (y, x) in enumerate(shifts[1:], 1):
            out = out + weights[i] * value[..., y, x]
        return out

    return function


def chain_attention(window: tuple[int, int], outside: str = "zero", scale: float = 1.0) -> Attention:
    """Similarity [N, H, W, keys], softmax, weighting."""

    def similarity(query: Tensor, key: Tensor) -> Tensor:
        key = F.pad(key, _border(window))
        shifts = _shifts((query.shape[2], query.shape[3]), window)
        return torch.stack([(query * key[..., y, x]).sum(1) for y, x in shifts], -1)

    def weighting(value: Tensor, weights: Tensor) -> Tensor:
        padded, out = F.pad(value, _border(window)), torch.zeros_like(value)
        for i, (y, x) in enumerate(_shifts((value.shape[2], value.shape[3]), window)):
            part = padded[..., y, x] * weights[:, None, :, :, i]
            out = out + part if i else part
        return out

    def function(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        logits = similarity(query, key) * scale
        if outside == "masked":
            logits = logits + _outside(query, window)[:, 0, 0].permute(1, 2, 0)
        return weighting(value, logits.softmax(-1))

    return function


def fusion(attend: Attention, grid: str = "aligned") -> Callable[..., Tensor]:
    """Cross-resolution fusion: reference, low_res, flow, then weights and biases of query, key and value."""

    def function(reference: Tensor, low_res: Tensor, flow: Tensor, *parameters: Tensor) -> Tensor:
        warped = warp(reference, flow, grid)
        upsampled = F.interpolate(low_res, reference.shape[2:], mode="bilinear", align_corners=True)
        query, key, value = (
            F.conv2d(x, parameters[2 * i], parameters[2 * i + 1], padding=1, groups=reference.shape[1])
            for i, x in enumerate((upsampled, warped, warped))
        )
        return upsampled + attend(query, key, value)

    return function


def classified(fused: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A fusion, and a 1x1 classifier, whose weight and bias are the last arguments."""

    def function(*arguments: Tensor) -> Tensor:
        *rest, weight, bias = arguments
        return F.conv2d(fused(*rest), weight.reshape(*weight.shape[:2], 1, 1), bias)

    return function


def labelled(logits: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The class of the largest logit, one byte a pixel."""

    def function(*arguments: Tensor) -> Tensor:
        return logits(*arguments).argmax(1).to(torch.uint8)

    return function


def resized(size: tuple[int, int], align_corners: bool) -> Callable[[Tensor], Tensor]:
    def function(logits: Tensor) -> Tensor:
        return F.interpolate(logits, size, mode="bilinear", align_corners=align_corners)

    return function
