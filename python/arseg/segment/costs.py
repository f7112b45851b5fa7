"""What frames cost a network, counted or measured, in the unit that a budget is given in."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from fractions import Fraction
from statistics import median

import numpy as np

from arseg.export.exported import ExportedNet
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.executor import Executor
from arseg.preprocess import input_size

from .engine import Engine
from .modes import TWO_SIDED, Way
from .policies.amounts import Costs, Unit

ROUNDS = 3
"""Measurements of each way, after one that warms up."""


def costs_of(
    engine: Engine,
    size: tuple[int, int],
    ways: Collection[Way],
    unit: Unit,
    *,
    keyframes: Collection[Way] | None = None,
) -> Costs:
    """Of frames of `size` = (height, width) as decoded. Reading, drawing and writing are not in it.

    Milliseconds are measured, on black frames; the rest is counted, where warping costs nothing. `keyframes`: the ways
    for which these are made, see `Engine.keyframes`; None: `ways`.
    """
    keyframes = ways if keyframes is None else keyframes
    if unit == "ms":
        return _measured(engine, size, ways, keyframes)
    counted = _counted(engine.net, *input_size(size, engine.height))
    whole = counted["hr"] if unit == "hr" else 1.0
    key = counted["keyframe"] if "ar" in keyframes else counted["hr"]
    between = {"ar": counted["ar"], "lr": counted["lr"], "hr": counted["hr"], "ensemble": counted["low"]}
    return Costs(key / whole, {way: between.get(way, 0.0) / whole for way in ways})


def _counted(net: Executor, height: int, width: int) -> Mapping[str, float]:
    if isinstance(net, ExportedNet):
        return net.gmacs((height, width))
    assert isinstance(net, ARSegNet)
    from arseg.networks.compute import gmacs, shapes_alone  # its counter imports much

    try:
        return gmacs(shapes_alone(net), height, width)
    except Exception:
        return gmacs(net, height, width)  # a network of others that needs values, or looks into its layers


def _measured(engine: Engine, size: tuple[int, int], ways: Collection[Way], needed_by: Collection[Way]) -> Costs:
    from arseg.video import BlockField, VideoFrame
    from arseg.video.motion import CELL

    black = np.zeros((*size, 3), np.uint8)
    rows, columns = -(-size[0] // CELL), -(-size[1] // CELL)
    field = BlockField(np.zeros((rows, columns, 2), np.int16), np.ones((rows, columns), bool), CELL)
    key = VideoFrame(0, black, "I", True, 0, None, 0, Fraction(1), 0.0)
    frame = VideoFrame(1, black, "P", False, 1, field, 1, Fraction(1), 1.0)
    _, keyframes = engine.keyframes([key])
    before = keyframes[0]

    def made(way: Way) -> Callable[[], object]:
        if way in TWO_SIDED:
            weight = before.key_logits.new_tensor(0.1) if way == "ensemble" else None
            return lambda: engine.between([frame], [field.vectors], before, before, 2, weight)()
        if way in ("hr", "lr"):
            return lambda: engine.each([frame], way)()
        return lambda: engine.after([frame], before, way)()

    return Costs(_timed(lambda: engine.keyframes([key], needed_by)[0]()), {way: _timed(made(way)) for way in ways})


def _timed(work: Callable[[], object]) -> float:
    """Milliseconds: the median of some, once it is warm."""
    times = []
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1e3)
    return median(times[1:])
