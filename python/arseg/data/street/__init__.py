"""The synthetic street: a seeded drive along a street in perspective, with exact labels for every frame.

>>> from arseg.data.street import StreetScene
>>> rgb, labels = StreetScene(seed=3).frame(0)
>>> rgb.shape, labels.shape
((360, 480, 3), (360, 480))

It is demo input, training video and test fixture in one. Textures stick to the surfaces of a street in three
dimensions, so that an encoder finds true motion in the frames.

Modules: `lanes` packed pixel arithmetic, `light` weather, `textures` tools for surfaces; `ground`, `houses`,
`roadside`, `sky`, `cars`, `figures`, `signs` and `furniture` the things themselves; `layout` what stands and moves
where; `render` painting; `scene` the camera and the frames.
"""

from __future__ import annotations

from arseg.data.camvid import CLASSES
from arseg.data.street.scene import StreetScene

__all__ = ["CLASSES", "StreetScene"]
