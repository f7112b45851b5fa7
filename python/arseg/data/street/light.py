"""Time of day and weather: the colours that light, sky and haze give to a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .lanes import Floats

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """The light of one scene. Colours are 0..255, gains multiply reflected colours."""

    name: str
    tint: Floats
    zenith: Floats
    horizon: Floats
    cloud: Floats
    cloud_cover: float
    haze_distance: float
    sun_side: float
    shadow: float
    shadow_reach: tuple[float, float]
    contrast: float

    def shade(self, rgb: Floats | Colour, gain: float = 1.0) -> Floats:
        """The colour ``rgb`` as this light shows it."""
        return np.clip(np.asarray(rgb, np.float64) * self.tint * gain, 0, 255)

    def side_gain(self, side: int) -> float:
        """Brightness of a wall on the given side of the street (-1 left, +1 right)."""
        return 1.0 - 0.5 * self.contrast * (1.0 + self.sun_side * side)


def choose_light(rng: np.random.Generator) -> Light:
    """Draw a weather: overcast, sunny, hazy, late afternoon or dusk."""
    name = str(rng.choice(["overcast", "sunny", "hazy", "late", "dusk"], p=[0.3, 0.3, 0.13, 0.15, 0.12]))
    sun_side = float(rng.uniform(0.3, 1.0) * rng.choice([-1, 1]))
    jitter = rng.uniform(0.93, 1.07, 3)
    gain = float(rng.uniform(0.88, 1.1))
    if name == "overcast":
        parts = ((0.94, 0.95, 0.96), (196, 202, 208), (222, 224, 226), (232, 232, 234), 0.85, 0.18, 0.12)
        haze, reach = rng.uniform(220, 420), 0.15
    elif name == "sunny":
        parts = ((1.16, 1.12, 1.03), (96, 142, 204), (196, 214, 230), (248, 246, 242), 0.4, 0.52, 0.34)
        haze, reach = rng.uniform(350, 800), float(rng.uniform(0.5, 1.1))
    elif name == "hazy":
        parts = ((0.98, 0.97, 0.93), (188, 196, 202), (226, 224, 216), (236, 234, 228), 0.6, 0.25, 0.14)
        haze, reach = rng.uniform(110, 200), 0.3
    elif name == "late":
        parts = ((1.1, 0.97, 0.82), (110, 140, 184), (236, 212, 178), (250, 226, 196), 0.5, 0.48, 0.42)
        haze, reach = rng.uniform(260, 600), float(rng.uniform(1.0, 1.8))
    else:
        parts = ((0.68, 0.66, 0.72), (92, 106, 140), (206, 172, 154), (150, 142, 156), 0.6, 0.12, 0.12)
        haze, reach = rng.uniform(220, 420), 0.2
    tint, zenith, horizon, cloud, cover, shadow, contrast = parts
    return Light(
        name=name,
        tint=np.asarray(tint) * gain * (0.5 + 0.5 * jitter),
        zenith=np.asarray(zenith) * jitter,
        horizon=np.asarray(horizon) * (0.5 + 0.5 * jitter),
        cloud=np.asarray(cloud, np.float64),
        cloud_cover=float(np.clip(cover + rng.uniform(-0.2, 0.2), 0.1, 0.95)),
        haze_distance=float(haze),
        sun_side=sun_side,
        shadow=float(shadow * rng.uniform(0.85, 1.1)),
        shadow_reach=(-sun_side * reach, float(rng.uniform(-0.6, 0.6)) * reach),
        contrast=float(contrast),
    )
