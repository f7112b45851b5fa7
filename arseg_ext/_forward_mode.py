"""Forward-mode derivatives: torch.func.jvp and jacfwd, and dual numbers.

register_autograd, which knows of backwards alone, would give an output without a tangent, which stands for zero. So the
kernels that it registers are wrapped: a call with a tangent goes to the operator in plain PyTorch, or, where it is
linear, to the operator again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

# Of an operator's name, arguments and options: the same operator, made of torch's own.
Plain = Callable[..., Any]


def has_tangent(tensors: Iterable[Any]) -> bool:
    return any(isinstance(tensor, Tensor) and forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors)


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


class ForwardModeLibrary(torch.library.Library):
    """A library whose kernels for the Autograd key give way to `plain` where an argument has a tangent.

    Args:
        plain: by the operator's name.
        differentiable: names of the operators that have no backward either and give way for a gradient, too.
    """

    def __init__(self, namespace: str, plain: dict[str, Plain], differentiable: frozenset[str]) -> None:
        super().__init__(namespace, "IMPL")
        self._plain = plain
        self._differentiable = differentiable

    def impl(self, op_name: Any, fn: Any, dispatch_key: str = "", **options: Any) -> Any:
        if dispatch_key == "Autograd":
            fn = self._giving_way(str(op_name), fn)
        return super().impl(op_name, fn, dispatch_key, **options)

    def _giving_way(self, op_name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        plain, differentiable = self._plain[op_name], op_name in self._differentiable

        def kernel(keyset: Any, *args: Any, **options: Any) -> Any:
            wanted = has_tangent(args)
            if differentiable and not wanted and torch.is_grad_enabled():
                wanted = any(isinstance(arg, Tensor) and arg.requires_grad for arg in args)
            if wanted:
                return plain(*args, **options)
            try:
                return fn(keyset, *args, **options)
            except RuntimeError as error:
                if "functorch transforms" not in str(error):
                    raise
                raise NotImplementedError(
                    f"{op_name.lstrip('_')}: torch.func.grad, vjp and jacrev (so hessian, too) are not supported; use "
                    "torch.autograd.grad, or torch.func.jvp and jacfwd"
                ) from error

        return kernel
