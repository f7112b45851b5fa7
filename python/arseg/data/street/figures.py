"""People and cyclists: jointed figures of limbs, in metres (along their way, sideways, up)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """Build and clothes of a person."""

    height: float
    width: float
    skin: Colour
    hair: Colour
    top: Colour
    legs: Colour
    shoes: Colour
    bag: Colour | None
    stride: float
    phase: float
    skirt: bool
    helmet: bool


def make_look(rng: np.random.Generator) -> Look:
    """Draw a person."""

    def cloth() -> Colour:
        base = [
            (44, 46, 54),
            (70, 72, 80),
            (118, 110, 98),
            (150, 40, 44),
            (50, 74, 122),
            (176, 172, 160),
            (74, 92, 60),
            (30, 30, 34),
            (190, 150, 60),
            (206, 206, 204),
        ]
        red, green, blue = np.clip(np.array(base[int(rng.integers(len(base)))]) + rng.normal(0, 10, 3), 14, 230)
        return float(red), float(green), float(blue)

    skin = [(206, 164, 138), (190, 146, 118), (140, 98, 74), (98, 68, 52)][int(rng.integers(4))]
    hair = [(44, 34, 28), (88, 62, 40), (150, 118, 74), (110, 108, 106), (26, 24, 24)][int(rng.integers(5))]
    trousers = [(40, 44, 58), (56, 60, 74), (34, 34, 36), (92, 84, 70), (70, 82, 110)][int(rng.integers(5))]
    return Look(
        height=float(rng.uniform(1.55, 1.86) if rng.random() < 0.88 else rng.uniform(1.05, 1.4)),
        width=float(rng.uniform(0.9, 1.2)),
        skin=skin,
        hair=hair,
        top=cloth(),
        legs=trousers,
        shoes=(34, 30, 28),
        bag=cloth() if rng.random() < 0.4 else None,
        stride=float(rng.uniform(0.85, 1.1)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        skirt=bool(rng.random() < 0.15),
        helmet=bool(rng.random() < 0.6),
    )


@dataclass
class Limb:
    """A thick line between points in 3D (metres), drawn with the given widths."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    width0: float
    width1: float
    colour: Colour


@dataclass
class Ball:
    """An upright ellipse facing the camera."""

    centre: tuple[float, float, float]
    radius: float
    stretch: float
    colour: Colour


@dataclass
class Ring:
    """A bicycle wheel in the plane of travel."""

    centre: tuple[float, float, float]
    radius: float
    width: float
    colour: Colour


Part = Limb | Ball | Ring


def _tone(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def walker(look: Look, phase: float, moving: bool = True, simple: bool = False) -> list[Part]:
    """The parts of a walking person at a phase of the step; forward is +along, parts in order far side first.

    ``simple``: a few parts only, for people far away.
    """
    h = look.height
    hip, shoulder, head = 0.52 * h, 0.815 * h, 0.925 * h
    swing = (0.46 if moving else 0.04) * look.stride
    bob = 0.012 * h * np.cos(2 * phase) if moving else 0.0
    thigh, shin, upper, fore = 0.26 * h, 0.26 * h, 0.17 * h, 0.16 * h
    parts: list[Part] = []
    if simple:
        for sign in (-1, 1):
            reach = 0.9 * (thigh + shin) * np.sin(swing * np.sin(phase + (np.pi if sign > 0 else 0.0)))
            foot = (reach, sign * 0.05 * h, 0.03)
            parts.append(Limb((0, sign * 0.045 * h, hip), foot, 0.1 * h, 0.06 * h, _tone(look.legs, 0.9)))
        parts.append(Limb((0, 0, hip), (0, 0, shoulder), 0.22 * h, 0.28 * h * look.width, look.top))
        parts.append(Ball((0, 0, head), 0.06 * h, 1.25, look.skin))
        parts.append(Ball((-0.01, 0, head + 0.03 * h), 0.06 * h, 0.9, look.hair))
        return parts
    for sign in (-1, 1):
        angle = swing * np.sin(phase + (np.pi if sign > 0 else 0.0))
        bend = max(0.0, 0.9 * swing * np.cos(phase + (np.pi if sign > 0 else 0.0))) if moving else 0.0
        side = 0.055 * h * look.width
        knee = (thigh * np.sin(angle), sign * side, hip + bob - thigh * np.cos(angle))
        lower = angle - bend
        foot = (knee[0] + shin * np.sin(lower), sign * side, max(0.03, knee[2] - shin * np.cos(lower)))
        gain = 0.8 if sign < 0 else 1.0
        parts.append(
            Limb((0, sign * side * 0.8, hip + bob), knee, 0.1 * h * look.width, 0.075 * h, _tone(look.legs, gain))
        )
        parts.append(Limb(knee, foot, 0.072 * h, 0.05 * h, _tone(look.legs, gain * 0.96)))
        parts.append(
            Limb(foot, (foot[0] + 0.09 * h, foot[1], max(0.02, foot[2] - 0.02)), 0.045 * h, 0.04 * h, look.shoes)
        )

    def arm(sign: int) -> None:
        angle = -0.8 * swing * np.sin(phase + (np.pi if sign > 0 else 0.0))
        side = 0.125 * h * look.width
        elbow = (upper * np.sin(angle), sign * side * 1.08, shoulder + bob - 0.02 - upper * np.cos(angle))
        hand = (elbow[0] + fore * np.sin(angle + 0.35), sign * side * 1.1, elbow[2] - fore * np.cos(angle + 0.35))
        gain = 0.78 if sign < 0 else 0.95
        parts.append(
            Limb((0, sign * side, shoulder + bob - 0.015 * h), elbow, 0.062 * h, 0.052 * h, _tone(look.top, gain))
        )
        parts.append(Limb(elbow, hand, 0.05 * h, 0.036 * h, _tone(look.top, gain * 0.95)))
        parts.append(Ball(hand, 0.024 * h, 1.2, look.skin))

    arm(-1)
    if look.skirt:
        parts.append(
            Limb((0, 0, hip + 0.06 * h), (0, 0, 0.3 * h), 0.16 * h * look.width, 0.24 * h, _tone(look.legs, 0.9))
        )
    parts.append(
        Limb(
            (0, 0, hip + bob - 0.02 * h),
            (0, 0, shoulder + bob),
            0.185 * h * look.width,
            0.215 * h * look.width,
            look.top,
        )
    )
    parts.append(
        Limb((-0.01, 0, shoulder + bob), (0.005 * h, 0, head + bob - 0.03 * h), 0.075 * h, 0.07 * h, look.skin)
    )
    if look.bag is not None:
        parts.append(
            Limb(
                (-0.09 * h, 0, shoulder + bob - 0.04 * h), (-0.09 * h, 0, hip + 0.04 * h), 0.16 * h, 0.17 * h, look.bag
            )
        )
    parts.append(Ball((0.012 * h, 0, head + bob), 0.058 * h, 1.25, look.skin))
    parts.append(Ball((-0.014 * h, 0, head + bob + 0.024 * h), 0.06 * h, 1.0, look.hair))
    arm(1)
    return parts


def rider(look: Look, frame: Colour, phase: float, simple: bool = False) -> list[Part]:
    """The parts of a person on a bicycle; ``phase`` turns the pedals; ``simple``: a few parts, for far away."""
    rear, front, radius = -0.52, 0.54, 0.34
    parts: list[Part] = [
        Ring((rear, 0, radius), radius, 0.045, (30, 30, 32)),
        Ring((front, 0, radius), radius, 0.045, (30, 30, 32)),
    ]
    if simple:
        lift = 0.12 * float(np.sin(phase))
        for sign in (-1, 1):
            foot = (0.0, sign * 0.1, 0.28 + sign * lift)
            parts.append(Limb((-0.18, sign * 0.08, 0.98), foot, 0.17, 0.1, _tone(look.legs, 0.9)))
        parts.append(Limb((rear, 0, radius), (front, 0, 0.9), 0.07, 0.07, frame))
        parts.append(Limb((-0.19, 0, 0.98), (0.16, 0, 1.42), 0.32, 0.4, look.top))
        parts.append(Ball((0.24, 0, 1.63), 0.11, 1.25, look.skin))
        parts.append(Ball((0.22, 0, 1.7), 0.12, 0.75, frame if look.helmet else look.hair))
        return parts
    saddle, head, crank = (-0.2, 0.0, 0.93), (0.4, 0.0, 0.86), (-0.05, 0.0, 0.3)
    legs: dict[int, list[Part]] = {}
    for sign in (-1, 1):
        angle = phase + (np.pi if sign > 0 else 0.0)
        pedal = (crank[0] + 0.17 * np.cos(angle), sign * 0.11, crank[2] + 0.17 * np.sin(angle))
        hip = (-0.18, sign * 0.09, 0.98)
        dx, dz = pedal[0] - hip[0], pedal[2] + 0.06 - hip[2]
        reach = min(0.86, float(np.hypot(dx, dz)))
        lift = float(np.sqrt(max(0.0, 0.44**2 - (reach / 2) ** 2)))
        norm = float(np.hypot(dx, dz)) + 1e-6
        knee = (hip[0] + dx / 2 - dz / norm * lift, sign * 0.11, hip[2] + dz / 2 + dx / norm * lift)
        gain = 0.8 if sign < 0 else 1.0
        legs[sign] = [
            Limb(hip, knee, 0.17, 0.12, _tone(look.legs, gain)),
            Limb(knee, (pedal[0], pedal[1], pedal[2] + 0.05), 0.11, 0.08, _tone(look.legs, gain * 0.95)),
            Limb(
                (pedal[0] - 0.08, pedal[1], pedal[2] + 0.03),
                (pedal[0] + 0.12, pedal[1], pedal[2] + 0.02),
                0.08,
                0.07,
                look.shoes,
            ),
        ]
    parts += legs[-1]
    for a, b in (
        ((rear, 0, radius), crank),
        (crank, head),
        ((-0.17, 0.0, 0.8), head),
        (crank, saddle),
        ((rear, 0, radius), (-0.17, 0.0, 0.8)),
        ((front, 0, radius), (0.42, 0.0, 1.0)),
    ):
        parts.append(Limb(a, b, 0.045, 0.045, frame))
    parts.append(Limb((-0.3, 0, 0.95), (-0.08, 0, 0.95), 0.12, 0.08, (28, 28, 30)))
    parts.append(Limb((0.46, -0.27, 1.02), (0.46, 0.27, 1.02), 0.04, 0.04, (34, 34, 36)))
    parts.append(Limb((-0.56, 0, 0.62), (-0.56, 0, 0.7), 0.07, 0.07, (190, 30, 30)))
    shoulder = (0.16, 0.0, 1.42)
    for sign in (-1,):
        parts.append(Limb((0.16, sign * 0.19, 1.4), (0.44, sign * 0.24, 1.06), 0.1, 0.07, _tone(look.top, 0.8)))
    parts.append(Limb((-0.19, 0, 0.98), shoulder, 0.3 * look.width, 0.36 * look.width, look.top))
    if look.bag is not None:
        parts.append(Limb((-0.2, 0, 1.12), (-0.02, 0, 1.42), 0.26, 0.26, look.bag))
    parts += legs[1]
    parts.append(Limb((0.16, 0.19, 1.4), (0.44, 0.24, 1.06), 0.1, 0.07, _tone(look.top, 0.95)))
    parts.append(Ball((0.24, 0, 1.63), 0.1, 1.25, look.skin))
    if look.helmet:
        parts.append(Ball((0.22, 0, 1.7), 0.125, 0.72, frame))
    else:
        parts.append(Ball((0.21, 0, 1.67), 0.105, 1.0, look.hair))
    return parts
