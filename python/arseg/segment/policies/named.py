"""The policies that have names."""

from __future__ import annotations

from .amounts import Amount
from .base import POLICIES
from .live import LiveEnsemble
from .spaced import Spaced


@POLICIES.register("bidirectional")
def bidirectional(budget: Amount | None, slowest: Amount | None) -> Spaced:
    """Both keyframes around a frame, warped; of a live stream the last one alone."""
    return Spaced(budget, slowest)


@POLICIES.register("warp")
def warp(budget: Amount | None, slowest: Amount | None) -> Spaced:
    """The last keyframe, warped."""
    return Spaced(budget, slowest, ahead="warp")


@POLICIES.register("ar")
def ar(budget: Amount | None, slowest: Amount | None) -> Spaced:
    """The published method, with keyframes at the distance that the budget pays for."""
    return Spaced(budget, slowest, ahead="ar", at_once="ar")


@POLICIES.register("ensemble")
def ensemble(budget: Amount | None, slowest: Amount | None) -> Spaced:
    """Both keyframes, warped, and each frame's own result at low resolution, by what that proves to be worth."""
    if slowest is not None:
        return LiveEnsemble(budget, slowest)
    return Spaced(budget, slowest, ahead="ensemble", at_once="ar")
