"""Forward-mode derivatives: torch.func.jvp and jacfwd, and dual numbers.

An autograd.Function would give an output without a tangent, which stands for zero. So a call with a tangent goes to the
operator in plain PyTorch, or, where it is linear, to the operator again (`_autograd`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.autograd import forward_ad

from arseg_ext._torch_private import in_forward_mode

# Of an operator's arguments and options: the same operator, made of torch's own.
Plain = Callable[..., Any]


def has_tangent(tensors: Iterable[Any]) -> bool:
    return in_forward_mode() and any(
        isinstance(tensor, Tensor) and forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors
    )


def linear(name: str, operator: Callable[..., Any]) -> Plain:
    """For an operator that is linear in its first argument: the tangent goes the way of the value."""

    def run(first: Tensor, *others: Any, **options: Any) -> Any:
        if has_tangent(others):
            raise NotImplementedError(
                f"{name}: forward-mode derivatives of the backward are supported for the incoming gradient alone"
            )
        primal, tangent = forward_ad.unpack_dual(first)
        values, slopes = operator(primal, *others, **options), operator(tangent, *others, **options)
        if isinstance(values, Tensor):
            return forward_ad.make_dual(values, slopes)
        return tuple(forward_ad.make_dual(value, slope) for value, slope in zip(values, slopes, strict=True))

    return run
