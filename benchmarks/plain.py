"""The operators in plain PyTorch, in a form that torch.compile makes much of: what the benchmarks compare with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(feature: Tensor, flow: Tensor) -> Tensor:
    """grid_sample at (x + fx, y + fy); flow [N, H, W, 2] in pixels, float32 (a half grid would be pixels off)."""
    (height, width), device = feature.shape[2:], feature.device
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    grid = torch.stack((2 * (x + flow[..., 0]) / (width - 1) - 1, 2 * (y + flow[..., 1]) / (height - 1) - 1), -1)
    return F.grid_sample(feature.float(), grid, align_corners=True).to(feature.dtype)


def local_attention(query: Tensor, key: Tensor, value: Tensor, window: int = 7) -> Tensor:
    """A shift for each key of the window."""
    radius, (height, width) = window // 2, query.shape[2:]
    key, value = (F.pad(x, (radius, radius, radius, radius)) for x in (key, value))
    shifts = [(slice(dy, dy + height), slice(dx, dx + width)) for dy in range(window) for dx in range(window)]
    logits = torch.stack([(query * key[..., dy, dx]).sum(1, keepdim=True) for dy, dx in shifts])
    weights = logits.softmax(0)
    out = weights[0] * value[..., shifts[0][0], shifts[0][1]]
    for i, (dy, dx) in enumerate(shifts[1:], 1):
        out = out + weights[i] * value[..., dy, dx]
    return out


def creff(reference: Tensor, low_res: Tensor, flow: Tensor, *parameters: Tensor) -> Tensor:
    channels = reference.shape[1]
    warped = warp(reference, flow)
    upsampled = F.interpolate(low_res, reference.shape[2:], mode="bilinear", align_corners=True)
    query, key, value = (
        F.conv2d(x, parameters[2 * i], parameters[2 * i + 1], padding=1, groups=channels)
        for i, x in enumerate((upsampled, warped, warped))
    )
    return upsampled + local_attention(query, key, value)
