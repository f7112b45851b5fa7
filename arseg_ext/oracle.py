"""The operators in plain PyTorch: slow, obvious, differentiable. The tests compare everything with these.

Arguments and results are those of `arseg_ext.ops`, unchecked. Arithmetic is in the dtype of the arguments; for
an oracle pass float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg_ext import _forward_mode


def _positions_dtype(device: torch.device) -> torch.dtype:
    """What positions are computed in: float64, but on Apple's GPUs, which have none."""
    return torch.float32 if device.type == "mps" else torch.float64


def block_flow(motion: Tensor, size: Sequence[int], *, block: int, frame_size: Sequence[int]) -> Tensor:
    """A block field [N, Hb, Wb, 2] in quarter video pixels as dense flow [N, H, W, 2] in feature pixels, float64."""

    def blocks(pixels: int, frame: int, count: int) -> Tensor:
        index = (2 * torch.arange(pixels) + 1) * frame // (2 * pixels * block)
        return index.clamp(max=count - 1).to(motion.device)

    (height, width), (frame_height, frame_width) = size, frame_size
    rows = blocks(height, frame_height, motion.shape[1])
    columns = blocks(width, frame_width, motion.shape[2])
    dtype = _positions_dtype(motion.device)
    per_quarter = torch.tensor([width / (4 * frame_width), height / (4 * frame_height)], dtype=dtype)
    return motion[:, rows][:, :, columns].to(dtype) * per_quarter.to(motion.device)


def flow_warp(feature: Tensor, flow: Tensor, *, grid: str = "aligned") -> Tensor:
    batch, channels, height, width = feature.shape
    follows_flow = flow.requires_grad or _forward_mode.has_tangent([flow])
    flow = flow.to(_positions_dtype(flow.device))
    x = torch.arange(width, device=flow.device) + flow[..., 0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[..., 1]
    if grid == "legacy":
        x = x * width / max(width - 1, 1) - 0.5
        y = y * height / max(height - 1, 1) - 0.5
    inside = (x > -1) & (x < width) & (y > -1) & (y < height)  # False for NaN
    x = torch.where(inside, x, 0.0)
    y = torch.where(inside, y, 0.0)
    left, top = x.detach().floor(), y.detach().floor()
    dtype = torch.promote_types(feature.dtype, torch.float32)
    flat = feature.flatten(2).to(dtype)
    out = torch.zeros(batch, channels, height * width, dtype=dtype, device=feature.device)
    for row, row_weight in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, column_weight in ((left, 1 - (x - left)), (left + 1, x - left)):
            weight = row_weight * column_weight
            valid = inside & (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = torch.where(valid, row * width + column, 0.0).long().flatten(1)
            values = flat.gather(2, index[:, None].expand(-1, channels, -1))
            # A tap of weight 0 is left out (it may be NaN), unless its value is needed for the flow's derivative.
            used = valid if follows_flow else valid & (weight != 0)
            values = torch.where(used.flatten(1)[:, None], values, 0.0)
            out = out + values * weight.flatten(1)[:, None].to(dtype)
    return out.reshape(feature.shape).to(feature.dtype)


def mv_warp(feature: Tensor, motion: Tensor, *, block: int, frame_size: Sequence[int], grid: str = "aligned") -> Tensor:
    flow = block_flow(motion, feature.shape[2:], block=block, frame_size=frame_size)
    return flow_warp(feature, flow, grid=grid)


def local_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: int | Sequence[int],
    outside: str = "zero",
    scale: float = 1.0,
) -> Tensor:
    height, width = query.shape[2:]
    rows, columns = (window, window) if isinstance(window, int) else window
    border = (columns // 2, columns // 2, rows // 2, rows // 2)
    key, value = F.pad(key, border), F.pad(value, border)
    inside = F.pad(torch.ones(height, width, dtype=torch.bool, device=query.device), border)
    logits, places = [], []
    for dy in range(rows):
        for dx in range(columns):
            here = (slice(dy, dy + height), slice(dx, dx + width))
            logit = scale * (query * key[..., here[0], here[1]]).sum(1)
            logits.append(torch.where(inside[here], logit, 0.0 if outside == "zero" else float("-inf")))
            places.append(here)
    out = torch.zeros_like(value[..., :height, :width])
    for weight, (y, x) in zip(torch.stack(logits).softmax(0), places, strict=True):
        out = out + weight[:, None] * value[..., y, x]
    return out


def creff(
    reference: Tensor,
    low_res: Tensor,
    motion: Tensor,
    query_weight: Tensor,
    query_bias: Tensor,
    key_weight: Tensor,
    key_bias: Tensor,
    value_weight: Tensor,
    value_bias: Tensor,
    *,
    window: int | Sequence[int] = 7,
    block: int | None = None,
    frame_size: Sequence[int] | None = None,
    grid: str = "aligned",
    outside: str = "zero",
) -> Tensor:
    if motion.is_floating_point():
        warped = flow_warp(reference, motion, grid=grid)
    else:
        assert block is not None and frame_size is not None
        warped = mv_warp(reference, motion, block=block, frame_size=frame_size, grid=grid)
    channels = reference.shape[1]
    upsampled = F.interpolate(low_res, size=reference.shape[2:], mode="bilinear", align_corners=True)
    query = F.conv2d(upsampled, query_weight, query_bias, padding=1, groups=channels)
    key = F.conv2d(warped, key_weight, key_bias, padding=1, groups=channels)
    value = F.conv2d(warped, value_weight, value_bias, padding=1, groups=channels)
    return upsampled + local_attention(query, key, value, window=window, outside=outside)
