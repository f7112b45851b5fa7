"""What the street is built from: its houses, fences, trees and cars, and how often they come."""

from __future__ import annotations

import numpy as np

from .cars import CAR_KINDS, CarModel
from .houses import House, make_house
from .light import Colour, Light
from .roadside import make_fence, make_tree


class Materials:
    """The models and shares that the ``character`` of a street calls for."""

    def __init__(self, seed: int, character: str, season: str, light: Light) -> None:
        rng = np.random.default_rng([seed, 2])
        mixes = {
            "terraces": ["terrace"] * 6 + ["render"] * 3 + ["shops"] * 2 + ["stone"],
            "suburb": ["terrace"] * 4 + ["render"] * 6 + ["flats"],
            "high street": ["shops"] * 7 + ["terrace"] + ["render"] + ["stone"] * 2 + ["office"],
            "town": ["stone"] * 4 + ["office"] * 2 + ["flats"] * 2 + ["shops"] * 2 + ["terrace"] * 2,
            "mixed": ["terrace"] * 3 + ["render"] * 3 + ["shops"] * 3 + ["flats", "office", "stone"],
        }
        self.houses: dict[int, list[House]] = {-1: [], 1: []}
        for index, style in enumerate(mixes[character]):
            house = make_house(rng, style, light)
            self.houses[-1 if index % 2 else 1].append(house)
        self.fences = [
            make_fence(rng, str(style), light)
            for style in rng.choice(["iron", "wood", "picket", "wall", "wood", "iron"], 3, replace=False)
        ]
        self.rail = make_fence(rng, "rail", light)
        self.hedge = make_fence(rng, "hedge", light)
        evergreen = ["summer" if season == "winter" and index == 0 else season for index in range(5)]
        self.tree_sprites = [make_tree(rng, light, season) for season in evergreen]
        self.models = {kind: CarModel(kind) for kind in CAR_KINDS}
        green = float(rng.uniform(0, 1))
        self.lamp_colour: Colour = [(74, 78, 80), (40, 54, 48), (120, 122, 122), (36, 36, 40)][int(rng.integers(4))]
        self.lamp_height = float(rng.uniform(5.5, 8.5))
        self.tree_share = {"terraces": 0.1, "suburb": 0.4, "high street": 0.1, "town": 0.2, "mixed": 0.25}[
            character
        ] + 0.2 * green
        self.setbacks = {
            side: float(0.0 if character == "high street" or rng.random() < 0.25 else rng.uniform(1.2, 3.4))
            for side in (-1, 1)
        }
        self.park_share = {"terraces": 0.12, "suburb": 0.22, "high street": 0.06, "town": 0.16, "mixed": 0.18}[
            character
        ]
        self.gap_share = 0.25 if character == "suburb" else 0.06
