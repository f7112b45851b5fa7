"""Operations and bytes that a call cannot do without: what its speed is given in, and held to.

Operations: two for a multiply-accumulate, over every key of the window, inside the map or not. Bytes: each input read
once and each result written once. A version that does more is slower for it; nothing it does besides is counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from arseg_ext.profiler import problems

if TYPE_CHECKING:
    from arseg_ext.profiler.problems import Problem

# Bilinear sampling of a value takes four multiply-accumulates. Upsampling twice as large shares two of its along an
# axis.
WARP, RESIZE = 8.0, 4.4
CONVOLUTION = 2 * 9


def flops(problem: Problem, direction: str = "forward") -> float:
    """Of one call. A backward counts what the gradients of `problem.wanted` need, logits again included."""
    _check(problem, direction)
    if direction == "training":
        return flops(problem, "forward") + flops(problem, "backward")
    batch, channels, height, width = problem.shape
    if problem.op == "resize_labels":
        return WARP * channels * math.prod(problem.result_shape)
    per_pixel = _forward(problem) if direction == "forward" else _backward(problem)
    return per_pixel * batch * height * width


def _forward(problem: Problem) -> float:
    channels, keys = problem.shape[1], math.prod(problem.window)
    if problem.op in ("mv_warp", "flow_warp"):
        return WARP * channels
    if problem.op == "local_attention":
        return 2.0 * keys * (channels + (problem.value_channels or channels))
    around = channels * (3 * CONVOLUTION + WARP + RESIZE)
    if problem.op == "creff":
        return 4.0 * keys * channels + around
    # Values are projected to classes before they are summed.
    return 2.0 * keys * (channels + problem.classes) + 2.0 * channels * problem.classes + around


def _attention_backward(keys: int, channels: int, values: int, wanted: Iterable[str]) -> float:
    """Logits again; dP where query or key want a gradient; then a product for each gradient."""
    found = set(wanted)
    if not found:
        return 0.0
    logits = channels + (values if found & {"query", "key"} else 0)
    return 2.0 * keys * (logits + channels * len(found & {"query", "key"}) + values * len(found & {"value"}))


def _backward(problem: Problem) -> float:
    channels, keys, wanted = problem.shape[1], math.prod(problem.window), set(problem.wanted)
    if problem.op in ("mv_warp", "flow_warp"):
        return WARP * channels * len(wanted)
    if problem.op == "local_attention":
        return _attention_backward(keys, channels, problem.value_channels or channels, wanted)
    feeds = {"query": {"low_res"}, "key": {"reference"}, "value": {"reference"}}
    if problem.op == "creff" and problem.motion == "flow":
        feeds = {**feeds, "key": {"reference", "motion"}, "value": {"reference", "motion"}}
    reached, convolutions = set(), 0
    for name, maps in feeds.items():
        on_maps, own = bool(wanted & maps), wanted & {f"{name}_weight", f"{name}_bias"}
        if on_maps or own:
            reached.add(name)
        convolutions += on_maps + (f"{name}_weight" in wanted)
    total = _attention_backward(keys, channels, channels, reached) + CONVOLUTION * channels * convolutions
    total += WARP * channels * ("reference" in wanted) + RESIZE * channels * ("low_res" in wanted)
    if problem.op == "creff_logits":  # grad of the fused map, and of the classifier
        total += 2.0 * channels * problem.classes * (1 + ("classifier_weight" in wanted))
    return total


def bytes_read(problem: Problem, direction: str = "forward") -> int:
    """Each input once; in a backward also the result's gradient, and attention's saved logsumexp."""
    _check(problem, direction)
    if direction == "training":
        return bytes_read(problem, "forward") + bytes_read(problem, "backward")
    if direction == "forward":
        return _bytes(problem, problem.operator.tensors)
    names = set(problem.operator.tensors)
    if problem.op == "mv_warp" or (problem.op == "flow_warp" and "flow" not in problem.wanted):
        names.discard("feature")  # linear in it
    saved = 4 * problem.shape[0] * math.prod(problem.shape[2:]) if problem.op == "local_attention" else 0
    return _bytes(problem, names) + _result_bytes(problem) + saved


def bytes_written(problem: Problem, direction: str = "forward") -> int:
    """Each result once: in a backward the gradients of `problem.wanted`."""
    _check(problem, direction)
    if direction == "training":
        return bytes_written(problem, "forward") + bytes_written(problem, "backward")
    return _result_bytes(problem) if direction == "forward" else _bytes(problem, problem.wanted)


def _bytes(problem: Problem, names: Iterable[str]) -> int:
    shapes, dtypes = problem.shapes, problem.dtypes
    return sum(math.prod(shapes[name]) * problems.ITEMSIZE[dtypes[name]] for name in names)


def _result_bytes(problem: Problem) -> int:
    return math.prod(problem.result_shape) * problems.ITEMSIZE[problem.result_dtype]


def _check(problem: Problem, direction: str) -> None:
    if direction not in problems.DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(problems.DIRECTIONS)}, got {direction!r}")
    if direction != "forward" and not problem.wanted:
        raise ValueError(f"{problem.name}: no argument wants a gradient, so that there is no backward")
