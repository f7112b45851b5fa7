"""Derivatives: every backward is an operator of its own, and has none itself; forward mode is plain PyTorch's.

An operator's kernel for autograd's key (`_follow`) chooses one of three ways: nothing wants a derivative, and the
compiled kernel does it; an argument has a tangent, and plain PyTorch does it; or a gradient is wanted, and the operator
becomes a node of the graph, or is made of operators that do (`_composite`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from arseg_ext import _composite, _convolutions, _devices, _forward_mode, oracle
from arseg_ext._torch_private import (
    AFTER_AUTOGRAD,
    SingleLevelFunction,
    below_autograd,
    derivatives_of_outer_levels,
    in_transform,
    single_level,
)

_libraries: list[torch.library.Library] = []  # a Library unregisters when it is deleted
Kernel = Callable[..., Any]


class Node(SingleLevelFunction):
    """A call of an operator in autograd's graph. Subclasses have `op`, `save` and `backward`."""

    op: Any

    @classmethod
    def call(cls, keyset: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if not in_transform():
            return cls.apply(keyset, options, *args)
        with single_level():
            return cls.apply(keyset, options, *args)

    @classmethod
    def run(cls, keyset: Any, options: dict[str, Any], *args: Any) -> Any:
        """The operator, by its kernels after autograd's; in a transform these are the levels around this one."""
        with derivatives_of_outer_levels() if in_transform() else contextlib.nullcontext(), below_autograd():
            return cls.op.redispatch(keyset & AFTER_AUTOGRAD, *args, **options)

    @staticmethod
    def _compiled_autograd_key(ctx: Any) -> tuple[int]:
        return (ctx._autograd_function_id,)


def _node(name: str, backward: Callable[..., tuple[Any, ...]], save: Callable[..., None]) -> type[Node]:
    """The class of an operator's nodes.

    Args:
        backward: of (ctx, *gradients): a gradient, or None, for each positional argument.
        save: of (ctx, arguments, output).
    """
    op = getattr(torch.ops.arseg, name).default
    defaults = {each.name: each.default_value for each in op._schema.arguments if each.has_default_value()}

    class OperatorNode(Node):
        @staticmethod
        def forward(keyset: Any, options: dict[str, Any], *args: Any) -> Any:
            return OperatorNode.run(keyset, options, *args)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            _, options, *args = inputs
            ctx.options = {**defaults, **options}  # the dispatcher leaves out what is as by default
            save(ctx, args, output)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
            return (None, None, *backward(ctx, *grads))

    OperatorNode.op = op
    OperatorNode.__name__ = OperatorNode.__qualname__ = f"{name.lstrip('_')}_node"
    return OperatorNode


def _needs(ctx: Any, place: int) -> bool:
    """Whether a positional argument needs a gradient; two of our own come first."""
    return ctx.needs_input_grad[place + 2]


def _save_motion(ctx: Any, args: list[Any], output: Any) -> None:
    ctx.save_for_backward(args[1])


def _mv_warp_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return torch.ops.arseg._mv_warp_backward(grad, *ctx.saved_tensors, **ctx.options), None


def _save_flow(ctx: Any, args: list[Any], output: Any) -> None:
    feature, flow = args
    # The feature is needed for the gradient of the flow alone.
    ctx.save_for_backward(flow, *([feature] if _needs(ctx, 1) else []))


def _flow_warp_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    flow, *rest = ctx.saved_tensors
    ops = torch.ops.arseg
    grad_feature = ops._flow_warp_backward_feature(grad, flow, **ctx.options) if _needs(ctx, 0) else None
    grad_flow = ops._flow_warp_backward_flow(grad, rest[0], flow, **ctx.options) if _needs(ctx, 1) else None
    return grad_feature, grad_flow


def _without_tf32(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "allow_tf32"}


def _save_attention(ctx: Any, args: list[Any], output: Any) -> None:
    logsumexp = output[1]
    ctx.mark_non_differentiable(logsumexp)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*args, logsumexp)


def _attention_backward(ctx: Any, grad: Tensor | None, _: Any) -> tuple[Any, ...]:
    if grad is None:
        return None, None, None
    options = _without_tf32(ctx.options)  # gradients are exact
    return tuple(torch.ops.arseg._local_attention_backward(grad, *ctx.saved_tensors, **options))


# Linear, so that each of the two is the other's gradient.
def _save_size(ctx: Any, args: list[Any], output: Any) -> None:
    ctx.size = args[0].shape[2:]


def _upsample_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return torch.ops.arseg._upsample_backward(grad, ctx.size), None


def _upsample_backward_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return torch.ops.arseg._upsample(grad, ctx.size), None


def _save_queries(ctx: Any, args: list[Any], output: Any) -> None:
    ctx.size = args[0].shape[2:]
    ctx.set_materialize_grads(False)  # zeros are to be of the maps' kind, such as DTensor
    ctx.save_for_backward(output[0], args[1])


def _or_zeros(grads: tuple[Tensor | None, Tensor | None], like: Tensor) -> list[Tensor]:
    return [torch.zeros_like(like) if grad is None else grad for grad in grads]


def _queries_backward(ctx: Any, grad_upsampled: Tensor | None, grad_query: Tensor | None) -> tuple[Any, ...]:
    ops = torch.ops.arseg
    upsampled, weight = ctx.saved_tensors
    grad, *of_weights = ops._queries_backward(*_or_zeros((grad_upsampled, grad_query), upsampled), upsampled, weight)
    return ops._upsample_backward(grad, ctx.size) if _needs(ctx, 0) else None, *of_weights, None


def _save_keys_values(ctx: Any, args: list[Any], output: Any) -> None:
    warped, key_weight, _, value_weight, _ = args
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(warped, key_weight, value_weight)


def _keys_values_backward(ctx: Any, grad_key: Tensor | None, grad_value: Tensor | None) -> tuple[Any, ...]:
    wanted = _needs(ctx, 0)
    warped, *weights = ctx.saved_tensors
    grads = _or_zeros((grad_key, grad_value), warped)
    grad, *of_weights = torch.ops.arseg._keys_values_backward(*grads, warped, *weights, wants_warped=wanted)
    return grad if wanted else None, *of_weights


def _no_double_backward(name: str) -> Callable[..., Any]:
    def backward(ctx: Any, *grads: Any) -> NoReturn:
        raise RuntimeError(f"{name}: double backward is not supported")

    return backward


def _save_nothing(ctx: Any, args: list[Any], output: Any) -> None:
    pass


FIRST: dict[str, tuple[Callable[..., tuple[Any, ...]], Callable[..., None]]] = {
    "mv_warp": (_mv_warp_backward, _save_motion),
    "flow_warp": (_flow_warp_backward, _save_flow),
    "_local_attention": (_attention_backward, _save_attention),
    "_upsample": (_upsample_backward, _save_size),
    "_upsample_backward": (_upsample_backward_backward, _save_size),
    "_queries": (_queries_backward, _save_queries),
    "_keys_values": (_keys_values_backward, _save_keys_values),
}
# Backward operators, and the name in their messages.
SECOND = {
    "_mv_warp_backward": "mv_warp",
    "_flow_warp_backward_feature": "flow_warp",
    "_flow_warp_backward_flow": "flow_warp",
    "_local_attention_backward": "local_attention",
    "_queries_backward": "creff",
    "_keys_values_backward": "creff",
}
COMPOSED: dict[str, Kernel] = {
    "local_attention": _composite.local_attention,
    "creff": _composite.creff,
    "creff_logits": _composite.creff_logits,
}
# What labels have no derivative of: kernels of autograd's key are passed over.
WITHOUT = ("creff_labels", "resize_labels")


def _plain_local_attention(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    tensors = (query, key, value)
    wide = torch.promote_types(query.dtype, torch.float32)
    out = oracle.local_attention(*(tensor.to(wide) for tensor in tensors), **_without_tf32(options)).to(query.dtype)
    logsumexp = torch.ops.arseg._local_attention(*(tensor.detach() for tensor in tensors), **options)[1]
    return out, logsumexp


def _plain() -> dict[str, _forward_mode.Plain]:
    ops = torch.ops.arseg
    linear = {"mv_warp": "mv_warp", "_upsample": "creff", "_upsample_backward": "creff", **SECOND}
    return {
        **{op: _forward_mode.linear(name, getattr(ops, op)) for op, name in linear.items()},
        "flow_warp": oracle.flow_warp,
        "_local_attention": _plain_local_attention,
        **_convolutions.KERNELS,
        **COMPOSED,
    }


def _kernel(op: Any, plain: Kernel, follow: Kernel) -> Kernel:
    """The kernel for autograd's key; `follow` is of (keyset, arguments, options)."""

    def kernel(keyset: Any, *args: Any, **options: Any) -> Any:
        if _forward_mode.has_tangent(args):
            return plain(*args, **options)
        if torch.is_grad_enabled() and any(isinstance(arg, Tensor) and arg.requires_grad for arg in args):
            return follow(keyset, args, options)
        with below_autograd():
            return op.redispatch(keyset & AFTER_AUTOGRAD, *args, **options)

    return kernel


def _on_any_device(name: str, follow: Kernel) -> Kernel:
    """Where a device has no kernels of ours, the graph is plain PyTorch's."""
    if name not in _devices.PLAIN:
        return follow

    def run(keyset: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if _devices.has_kernels(args[0].device):
            return follow(keyset, args, options)
        return _devices.run_plain(name, *args, **options)

    return run


def register() -> None:
    library = torch.library.Library("arseg", "IMPL")
    _libraries.append(library)
    plain = _plain()
    follow: dict[str, Kernel] = {
        **{op: _node(op, backward, save).call for op, (backward, save) in FIRST.items()},
        **{op: _node(op, _no_double_backward(name), _save_nothing).call for op, name in SECOND.items()},
        **{
            op: lambda keyset, args, options, composed=composed: composed(*args, **options)
            for op, composed in COMPOSED.items()
        },
    }
    for name, way in follow.items():
        kernel = _kernel(getattr(torch.ops.arseg, name).default, plain[name], _on_any_device(name, way))
        library.impl(name, kernel, "Autograd", with_keyset=True)
    for name in WITHOUT:
        library.impl(name, torch.library.fallthrough_kernel, "Autograd")
