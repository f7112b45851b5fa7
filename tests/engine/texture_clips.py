"""Frames to encode in tests."""

from __future__ import annotations

import numpy as np
import torch


def moving_texture(frames: int, height: int = 64, width: int = 96, step: int = 3) -> list[np.ndarray]:
    """A blurred random texture that slides to the left."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((1, 3, height // 8, (width + frames * step) // 8 + 1)).astype(np.float32))
    size = (height, width + frames * step)
    wide = torch.nn.functional.interpolate(coarse, size, mode="bicubic", align_corners=False).clamp(0, 1)
    pixels = (wide[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    return [np.ascontiguousarray(pixels[:, t * step : t * step + width]) for t in range(frames)]
