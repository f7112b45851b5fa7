"""vmap of every operator: the vmapped dimension becomes part of N, so that one call does all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

# Arguments that belong to all images of a batch. Where they are vmapped themselves, the operator is called for each.
SHARED = frozenset(f"{part}_{kind}" for part in ("query", "key", "value") for kind in ("weight", "bias"))
SHARED |= {"classifier_weight", "classifier_bias"}

FOLDED = (
    "mv_warp",
    "_mv_warp_backward",
    "flow_warp",
    "_flow_warp_backward_feature",
    "_flow_warp_backward_flow",
    "local_attention",
    "_local_attention",
    "_local_attention_backward",
    "creff",
    "creff_logits",
    "creff_labels",
    "resize_labels",
    "_upsample",
    "_upsample_backward",
    "_queries",
    "_keys_values",
)
# Gradients of weights are sums over N: each element has its own.
EACH = ("_queries_backward", "_keys_values_backward")
REFUSED = ("_creff_out", "_creff_into")

_libraries: list[torch.library.Library] = []  # a Library unregisters when it is deleted


def _fold(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """[size * N, ...] of a map that has `size` at `dim`, or of one map for all of them."""
    whole = tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
    return whole.flatten(0, 1)


def _unfold(result: Tensor, size: int, batch: int) -> Tensor:
    return result.reshape(size, batch, *result.shape[1:])


def _element(args: Sequence[Any], dims: Sequence[int | None], index: int) -> list[Any]:
    # What is no tensor has dimensions too: a list of sizes a None for each.
    pairs = zip(args, dims, strict=False)
    return [arg.select(dim, index) if isinstance(arg, Tensor) and dim is not None else arg for arg, dim in pairs]


def _stack(results: list[Any]) -> Any:
    if not results:
        raise ValueError("vmap: expected at least one element to go over, got 0, where each is a call of its own")
    if isinstance(results[0], Tensor):
        return torch.stack(results)
    return tuple(torch.stack(each) for each in zip(*results, strict=True))


def _folding(op: Callable[..., Any], names: Sequence[str], *, each: bool) -> Callable[..., Any]:
    """The rule of one operator, whose positional arguments have these names. each: it is called for every element."""

    def call(args: Sequence[Any], dims: Sequence[int | None], size: int, kwargs: dict[str, Any]) -> Any:
        first = args[0] if dims[0] is None else args[0].movedim(dims[0], 0)
        batch = first.shape[dims[0] is not None]
        folded = [
            _fold(arg, dim, size) if isinstance(arg, Tensor) and name not in SHARED else arg
            for name, arg, dim in zip(names, args, dims, strict=False)
        ]
        results = op(*folded, **kwargs)
        if isinstance(results, Tensor):
            return _unfold(results, size, batch)
        return tuple(_unfold(result, size, batch) for result in results)

    def rule(info: Any, in_dims: Sequence[int | None], *args: Any, **kwargs: Any) -> Any:
        size = info.batch_size
        shared = [dim is not None and name in SHARED for name, dim in zip(names, in_dims, strict=False)]
        if not any(shared) and not each:
            results = call(args, in_dims, size, kwargs)
        else:
            results = _stack([op(*_element(args, in_dims, i), **kwargs) for i in range(size)])
        return results, 0 if isinstance(results, Tensor) else (0,) * len(results)

    return rule


def _refuse(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("creff: out cannot be vmapped; call it without out inside torch.vmap")


def register() -> None:
    library = torch.library.Library("arseg", "FRAGMENT")
    _libraries.append(library)
    for name in (*FOLDED, *EACH):
        op = getattr(torch.ops.arseg, name).default
        names = [argument.name for argument in op._schema.arguments if not argument.kwarg_only]
        torch.library.register_vmap(f"arseg::{name}", _folding(op, names, each=name in EACH), lib=library)
    for name in REFUSED:
        library.impl(name, _refuse, "FuncTorchBatched")  # register_vmap takes no keyword that is a tensor
