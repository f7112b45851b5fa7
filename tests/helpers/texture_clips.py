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


def moving_tiles(frames: int, height: int = 96, width: int = 128, step: int = 4) -> list[np.ndarray]:
    """Tiles of 4x4 pixels in random colours that slide to the left: all is lost at half the resolution."""
    rng = np.random.default_rng(0)
    tiles = rng.integers(40, 216, (height // 4, (width + frames * step) // 4 + 1, 3))
    wide = tiles.repeat(4, 0).repeat(4, 1).astype(np.uint8)
    return [np.ascontiguousarray(wide[:, t * step : t * step + width]) for t in range(frames)]


class TileNet(torch.nn.Module):
    """Five classes of tile colours, random but far apart; not one of our networks."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Conv2d(3, 8, 4, stride=4)
        self.head = torch.nn.Conv2d(8, 5, 1)
        with torch.no_grad():
            self.body.weight.mul_(3)
            self.head.weight.mul_(3)
            self.head.bias.zero_()

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.head(self.body(image))
        return {"out": torch.nn.functional.interpolate(logits, image.shape[-2:], mode="bilinear")}
