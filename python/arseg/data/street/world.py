"""What the seed decides: a street with its weather, its traffic and the drive along it."""

from __future__ import annotations

import numpy as np

from .camera import Course, Drive
from .ground import Ground, Profile, choose_surface
from .light import Light, choose_light
from .materials import Materials
from .segments import Street
from .traffic import Traffic


class World:
    """Everything about a scene that does not depend on the size of the frame."""

    def __init__(self, seed: int, speed: float | None) -> None:
        rng = np.random.default_rng([seed, 1])
        self.light: Light = choose_light(rng)
        self.season = str(rng.choice(["summer", "autumn", "winter", "spring"], p=[0.5, 0.2, 0.12, 0.18]))
        self.mirror = bool(rng.random() < 0.3)
        mean_speed = float(rng.uniform(5.0, 10.0)) if speed is None else float(speed)
        character = str(
            rng.choice(["terraces", "suburb", "high street", "town", "mixed"], p=[0.22, 0.2, 0.22, 0.16, 0.2])
        )
        parking = [0.0 if rng.random() < 0.66 else 2.1, 0.0 if rng.random() < 0.55 else 2.1]
        parked_share = float(rng.uniform(0.3, 0.75))
        pavements = (float(rng.uniform(2.2, 4.1)), float(rng.uniform(2.2, 4.1)))
        self.profile = Profile(float(rng.uniform(2.8, 3.4)), (parking[0], parking[1]), pavements)
        self.drive = Drive(rng, mean_speed, self.profile.lane)
        self.course = Course(rng)
        self.ground = Ground(seed, self.profile, choose_surface(rng), self.light)
        materials = Materials(seed, character, self.season, self.light)
        self.street = Street(seed, self.profile, materials, parked_share)
        self.traffic = Traffic(rng, seed, character, self.profile, self.drive, materials.models)
