"""The things that stand along the street."""

from __future__ import annotations

from dataclasses import dataclass, field

from .cars import Car
from .figures import Look
from .houses import House
from .light import Colour
from .signs import Shape
from .textures import Sprite, WallTexture


@dataclass(frozen=True)
class Building:
    """A house front from ``start`` to ``stop`` at ``across``; ``gable``: its near end wall shows."""

    start: float
    stop: float
    across: float
    house: House
    gable: bool


@dataclass(frozen=True)
class Barrier:
    """A fence or hedge along the street; ``kerbside``: between pavement and road."""

    start: float
    stop: float
    across: float
    texture: WallTexture
    hedge: bool
    kerbside: bool


@dataclass(frozen=True)
class Tree:
    """A tree; ``size`` scales its sprite."""

    along: float
    across: float
    sprite: Sprite
    size: float
    flip: bool


@dataclass(frozen=True)
class Post:
    """A pole: lamp, telegraph, beacon, bollard, or the pole of a sign."""

    along: float
    across: float
    kind: str
    height: float
    colour: Colour


@dataclass(frozen=True)
class Sign:
    """A board on a pole, or traffic lights."""

    along: float
    across: float
    height: float
    shapes: tuple[Shape, ...]
    back: bool
    half_width: float


@dataclass(frozen=True)
class Parked:
    """A car at the kerb."""

    along: float
    across: float
    car: Car
    direction: int


@dataclass(frozen=True)
class Standing:
    """A person who waits or looks around."""

    along: float
    across: float
    look: Look


@dataclass
class Segment:
    """All that stands on one tile of street."""

    tile: int = 0
    buildings: list[Building] = field(default_factory=list)
    barriers: list[Barrier] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    signs: list[Sign] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    standing: list[Standing] = field(default_factory=list)
