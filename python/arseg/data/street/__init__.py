"""The synthetic street: a seeded drive along a street in perspective, with exact labels for every frame.

>>> from arseg.data.street import StreetScene
>>> rgb, labels = StreetScene(seed=3).frame(0)
>>> rgb.shape, labels.shape
((360, 480, 3), (360, 480))

It is demo input, training video and test fixture in one. Textures stick to the surfaces of a street in three
dimensions, so that an encoder finds true motion in the frames.

Modules: `lanes` packed pixel arithmetic, `light` weather, `textures` tools for surfaces; `ground`, `houses`,
`roadside`, `sky`, `cars`, `figures` and `signs` make the things themselves. `world` is what follows from the seed:
`camera` the drive, `materials` what to build from, `standing` and `segments` what stands where, `traffic` who moves.
`plan`, `plan_standing` and `plan_moving` collect what a frame shows; `canvas`, `backdrop`, `surfaces`, `bodies`,
`furniture` and `shadows` paint it; `scene` gives the frames.
"""

from __future__ import annotations

from .scene import StreetScene

__all__ = ["StreetScene"]
