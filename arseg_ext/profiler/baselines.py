"""Versions of a problem: our operator, and other ways to compute the same.

Every version takes the inputs of one problem and gives the same result but for rounding. `versions` has them by name;
each is made when it is wanted, since some prepare much. What is not installed or cannot do a problem raises
`Unavailable` with the reason.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from arseg_ext import oracle
from arseg_ext.profiler import plain
from arseg_ext.profiler.problems import FUSIONS, Inputs, Problem

BASELINES = {
    "eager": "plain PyTorch, a shift for each key of the window",
    "compiled": "the same by torch.compile",
    "chain": "similarity, softmax, weighting on contiguous maps, as the original AR-Seg has them, in plain PyTorch",
    "flex": "torch's flex_attention, compiled; pixels in the order of tiles before the time begins",
    "natten": "na2d of the package natten (its windows keep inside the map: compared away from the border)",
    "localAttention": "the chain by the package localAttention; CUDA and float32",
    "head": "creff of ours, then classifier and argmax by PyTorch",
    "out": "creff of ours into a map that is there already",
    "copy": "a copy of the feature: what a warp cannot beat",
}
"""By name, in the order of tables: what they are."""

DEFAULT = ("eager", "compiled", "flex", "natten", "localAttention")


class Unavailable(Exception):
    """A version that this machine or problem cannot have, with the reason."""


@dataclass(frozen=True)
class Version:
    """A function, its arguments in order, and how to compare what it gives."""

    function: Callable[..., Tensor]
    arguments: dict[str, Tensor]
    # As a map: the result (None), or the gradient of the argument of this name.
    restore: Callable[[Tensor, str | None], Tensor] = lambda result, name: result
    # A gradient of the result, given as a map, as the function's result has it.
    gradient: Callable[[Tensor], Tensor] = lambda map_: map_
    border: tuple[int, int] = (0, 0)  # pixels at the edges of which the semantics differ
    same: bool = True  # False: another result, for its time alone


Versions = dict[str, Callable[[], Version]]


def versions(problem: Problem, inputs: Inputs) -> Versions:
    """Ours first."""
    maker = _MAKERS.get(problem.op, _fusions)
    return {"ours": lambda: ours(problem, inputs), **maker(problem, inputs)}


def ours(problem: Problem, inputs: Inputs) -> Version:
    names, options = list(inputs.tensors), inputs.options

    def function(*tensors: Tensor) -> Tensor:
        return problem.call(Inputs(dict(zip(names, tensors, strict=True)), options))

    return Version(function, inputs.tensors)


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=False)  # a graph a shape, so that nothing is slower for being dynamic


def forget_compiled() -> None:
    """Between problems: what was compiled is of no use to the next, and torch would stop at 8 shapes."""
    if _compiled.cache_info().currsize:
        torch.compiler.reset()
        _compiled.cache_clear()


def _contiguous(arguments: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: each.detach().contiguous() for name, each in arguments.items()}


def _plain_versions(
    function: Callable[..., Tensor], chain: Callable[..., Tensor], arguments: dict[str, Tensor]
) -> Versions:
    return {
        "eager": lambda: Version(function, arguments),
        "compiled": lambda: Version(_compiled(function), arguments),
        "chain": lambda: Version(chain, _contiguous(arguments)),
    }


def flow_of(inputs: Inputs, size: tuple[int, int]) -> Tensor:
    """The motion of the inputs as dense flow in float32: made before the time begins, which favours the baselines."""
    if "flow" in inputs.tensors:
        return inputs.tensors["flow"]
    motion = inputs.tensors["motion"]
    if motion.is_floating_point():
        return motion
    field = oracle.block_flow(motion, size, block=inputs.options["block"], frame_size=inputs.options["frame_size"])
    double = any(each.dtype == torch.float64 for each in inputs.tensors.values())
    return field if double else field.float()


def _warps(problem: Problem, inputs: Inputs) -> Versions:
    feature = inputs.tensors["feature"]
    arguments = {"feature": feature, "flow": flow_of(inputs, problem.shape[2:])}

    def function(feature: Tensor, flow: Tensor) -> Tensor:
        return plain.warp(feature, flow, problem.grid)

    copied = torch.empty_like(feature)
    return {
        **_plain_versions(function, function, arguments),
        "copy": lambda: Version(lambda each: copied.copy_(each), {"feature": feature}, same=False),
    }


def _resizing(problem: Problem, inputs: Inputs) -> Versions:
    function = plain.labelled(plain.resized(problem.options["size"], problem.align_corners))
    return _plain_versions(function, function, inputs.tensors)


def _attentions(problem: Problem, inputs: Inputs) -> Versions:
    options = (problem.window, problem.outside, problem.scale)
    return {
        **_plain_versions(plain.attention(*options), plain.chain_attention(*options), inputs.tensors),
        "flex": lambda: _flex(problem, inputs),
        "natten": lambda: _natten(problem, inputs),
        "localAttention": lambda: Version(_package_attention(problem, inputs), _contiguous(inputs.tensors)),
    }


def _fusions(problem: Problem, inputs: Inputs) -> Versions:
    names = ["reference", "low_res", "motion", *list(inputs.tensors)[3:]]
    arguments = {**{name: inputs.tensors[name] for name in names}, "motion": flow_of(inputs, problem.shape[2:])}

    def of(attend: plain.Attention) -> Callable[..., Tensor]:
        fused = plain.fusion(attend, problem.grid)
        if problem.op == "creff":
            return fused
        logits = plain.classified(fused)
        return logits if problem.op == "creff_logits" else plain.labelled(logits)

    options = (problem.window, problem.outside)
    found = _plain_versions(of(plain.attention(*options)), of(plain.chain_attention(*options)), arguments)
    found["localAttention"] = lambda: Version(of(_package_attention(problem, inputs)), _contiguous(arguments))
    if problem.op == "creff_labels":
        found["head"] = lambda: _head(problem, inputs)
    if problem.op == "creff":
        found["out"] = lambda: _out(problem, inputs)
    return found


def _head(problem: Problem, inputs: Inputs) -> Version:
    fused = _creff(list(inputs.tensors)[:-2], inputs.options)
    return Version(plain.labelled(plain.classified(fused)), inputs.tensors)


def _out(problem: Problem, inputs: Inputs) -> Version:
    options = {**inputs.options, "out": torch.empty_like(inputs.tensors["reference"])}
    return Version(_creff(list(inputs.tensors), options), inputs.tensors)


def _creff(names: list[str], options: dict[str, Any]) -> Callable[..., Tensor]:
    from arseg_ext import ops

    def function(*tensors: Tensor) -> Tensor:
        arguments: dict[str, Any] = dict(zip(names, tensors, strict=True))
        return ops.creff(**arguments, **options)

    return function


def _flex(problem: Problem, inputs: Inputs) -> Version:
    from arseg_ext.profiler import flex

    query, key, value = inputs.tensors.values()
    tiles = flex.Tiles(*problem.shape[2:], problem.window, problem.outside)
    given = {"query": tiles.queries(query), "key": tiles.keys(key), "value": tiles.keys(value)}
    if query.device.type == "cpu" and query.dtype == torch.float64:
        raise Unavailable("flex_attention on the CPU takes no float64")
    mask, run = tiles.mask(query.device), _compiled(flex.attention(problem.scale))
    return Version(
        lambda query, key, value: run(query, key, value, mask),
        given,
        lambda result, name: tiles.restore(result, name in ("key", "value")),
        gradient=tiles.queries,
    )


def _natten(problem: Problem, inputs: Inputs) -> Version:
    try:
        from natten import na2d
    except ImportError:
        raise Unavailable("natten is not installed") from None
    if any(size < side for size, side in zip(problem.shape[2:], problem.window, strict=True)):
        raise Unavailable("natten takes no window larger than the map")
    # [N, H, W, heads, C]: a view of what is channels_last.
    given = {name: each.detach().permute(0, 2, 3, 1).contiguous().unsqueeze(3) for name, each in inputs.tensors.items()}
    return Version(
        lambda query, key, value: na2d(query, key, value, kernel_size=problem.window, scale=problem.scale),
        given,
        lambda result, name: result[:, :, :, 0].permute(0, 3, 1, 2),
        gradient=lambda map_: map_.permute(0, 2, 3, 1).unsqueeze(3),
        border=tuple(2 * (side // 2) for side in problem.window),  # type: ignore[arg-type]
    )


def local_attention_package() -> Any:
    """The module localAttention, or None."""
    try:
        import localAttention
    except ImportError:
        return None
    return localAttention


def _package_attention(problem: Problem, inputs: Inputs) -> plain.Attention:
    package = local_attention_package()
    if package is None:
        raise Unavailable("localAttention is not installed")
    first = next(iter(inputs.tensors.values()))
    if first.device.type != "cuda" or first.dtype != torch.float32:
        raise Unavailable("localAttention takes float32 maps on CUDA alone")
    if problem.outside != "zero" or problem.scale != 1:
        raise Unavailable("localAttention keeps keys outside the map, unscaled")
    return package_attention(package, problem.window)


def package_attention(package: Any, window: tuple[int, int]) -> plain.Attention:
    """Of a module with the functions of localAttention."""

    class Similarity(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, query: Tensor, key: Tensor) -> Tensor:
            ctx.save_for_backward(query, key)
            return package.similar_forward(query, key, *window)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            query, key = ctx.saved_tensors
            grad, backward = grads[0].contiguous(), package.similar_backward
            return backward(key, grad, *window, True), backward(query, grad, *window, False)

    class Weighting(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: Tensor, weights: Tensor) -> Tensor:
            ctx.save_for_backward(value, weights)
            return package.weighting_forward(value, weights, *window)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            value, weights = ctx.saved_tensors
            grad = grads[0].contiguous()
            to_value = package.weighting_backward_ori(weights, grad, *window)
            return to_value, package.weighting_backward_weight(value, grad, *window)

    def function(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        weights = Similarity.apply(query.contiguous(), key.contiguous()).softmax(-1)
        return Weighting.apply(value.contiguous(), weights)

    return function


_MAKERS: dict[str, Callable[[Problem, Inputs], Versions]] = {
    "mv_warp": _warps,
    "flow_warp": _warps,
    "local_attention": _attentions,
    "resize_labels": _resizing,
}
assert set(FUSIONS).isdisjoint(_MAKERS)
