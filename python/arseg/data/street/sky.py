"""The sky with its clouds, and the skyline far away."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .lanes import Pixels, pack
from .light import Light
from .textures import noise


def make_sky(
    rng: np.random.Generator, light: Light, width: int, above: int, below: int, focal: float, season: str
) -> tuple[Pixels, np.ndarray]:
    """A panorama of sky, clouds and a distant skyline: packed ``[above + below, width]`` and bool "is skyline".

    One texel is one pixel of the frame; the horizon lies ``above`` texels from the top.
    """
    rows = above + below
    height = (above - np.arange(rows, dtype=np.float32)) / focal
    share = np.clip(height / 0.75, 0, 1)[:, None, None] ** 0.7
    colour = light.horizon.astype(np.float32) * (1 - share) + light.zenith.astype(np.float32) * share
    colour = np.repeat(colour, width, 1)
    squash = np.clip(height, 0.02, None)[:, None]
    big = noise(rng, rows, width, max(4.0, focal * 0.35), 5)
    stretched = noise(rng, max(8, rows * 3), width, max(4.0, focal * 0.3), 4)
    stretched = np.asarray(Image.fromarray(stretched).resize((width, rows), Image.Resampling.BILINEAR))
    field = np.where(squash > 0.25, big, 0.5 * big + 0.7 * stretched) / 1.2
    threshold = 1.2 - 2.4 * light.cloud_cover
    cover = np.clip((field - threshold) / 0.9, 0, 1)[..., None]
    cloud = light.cloud.astype(np.float32) * (0.97 - 0.1 * np.clip(big - 0.3, -0.5, 1.2))[..., None]
    colour = colour * (1 - 0.85 * cover) + cloud * 0.85 * cover
    if light.name in ("sunny", "late", "hazy"):
        sun_x = width / 2 + light.sun_side * focal * 0.42
        sun_y = above - focal * (0.62 if light.name != "late" else 0.3)
        grid_y, grid_x = np.mgrid[0:rows, 0:width].astype(np.float32)
        radius = np.hypot(grid_x - sun_x, grid_y - sun_y) / focal
        glow = np.exp(-radius * 5.0)[..., None] * 70 + np.exp(-((radius / 0.05) ** 2))[..., None] * 80
        colour = colour + glow * np.array([1.0, 0.93, 0.78], np.float32)
    ragged = noise(rng, 2, width, focal * 0.05, 4)[0] * 0.010 + noise(rng, 2, width, focal * 0.4, 2)[0] * 0.018
    top = np.clip(0.045 + ragged, 0.012, 0.14) * focal
    blocks = np.zeros(width, np.float32)
    cursor = 0
    while cursor < width:
        span = max(1, int(rng.uniform(0.03, 0.1) * focal))
        if rng.random() < 0.4:
            blocks[cursor : cursor + span] = rng.uniform(0.03, 0.1) * focal
        cursor += span
    level = (above - np.arange(rows, dtype=np.float32))[:, None] - 0.5
    green = np.asarray(
        {"summer": (92, 106, 74), "autumn": (124, 104, 72), "winter": (98, 90, 82), "spring": (112, 124, 84)}[season],
        np.float32,
    )
    haze = 0.45
    for heights, base, spread in ((blocks, np.array([138, 128, 120], np.float32), 6.0), (top, green, 16.0)):
        alpha = np.clip(heights[None] - level + 0.5, 0, 1)[..., None]
        texture = noise(rng, rows, width, max(2.0, focal * 0.012), 2)[..., None] * spread
        flat = (
            np.clip(base + texture, 0, 255) * light.tint.astype(np.float32) * (1 - haze)
            + light.horizon.astype(np.float32) * haze
        )
        colour = colour * (1 - alpha) + flat * alpha
    kind = np.zeros((rows, width), np.uint8)
    kind[blocks[None] > level] = 1
    kind[top[None] > level] = 2
    rgba = np.full((rows, width, 4), 255, np.uint8)
    rgba[..., :3] = np.clip(colour, 0, 255)
    return pack(rgba), kind
