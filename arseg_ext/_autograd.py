"""Gradients: every backward is an operator of its own, and has none itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor


def _mv_warp_setup(ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Any) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.options = dict(keyword_only_inputs)


def _mv_warp_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (motion,) = ctx.saved_tensors
    return torch.ops.arseg._mv_warp_backward(grad, motion, **ctx.options), None


def _flow_warp_setup(ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Any) -> None:
    feature, flow = inputs
    # The feature is needed for the gradient of the flow alone.
    ctx.save_for_backward(flow, *([feature] if ctx.needs_input_grad[1] else []))
    ctx.options = dict(keyword_only_inputs)


def _flow_warp_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    flow, *rest = ctx.saved_tensors
    ops = torch.ops.arseg
    grad_feature = ops._flow_warp_backward_feature(grad, flow, **ctx.options) if ctx.needs_input_grad[0] else None
    grad_flow = ops._flow_warp_backward_flow(grad, rest[0], flow, **ctx.options) if ctx.needs_input_grad[1] else None
    return grad_feature, grad_flow


def _attention_setup(ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Any) -> None:
    logsumexp = output[1]
    ctx.mark_non_differentiable(logsumexp)
    ctx.save_for_backward(*inputs, logsumexp)
    ctx.options = dict(keyword_only_inputs)


def _attention_backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    return tuple(torch.ops.arseg._local_attention_backward(grad, *ctx.saved_tensors, **ctx.options))


def _no_double_backward(name: str) -> Callable[..., Any]:
    def backward(ctx: Any, *grads: Any) -> NoReturn:
        raise RuntimeError(f"{name}: double backward is not supported")

    return backward


def _nothing_to_save(ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Any) -> None:
    pass


FIRST: dict[str, tuple[Callable[..., Any], Callable[..., None]]] = {
    "mv_warp": (_mv_warp_backward, _mv_warp_setup),
    "flow_warp": (_flow_warp_backward, _flow_warp_setup),
    "_local_attention": (_attention_backward, _attention_setup),
}
SECOND = {
    "_mv_warp_backward": "mv_warp",
    "_flow_warp_backward_feature": "flow_warp",
    "_flow_warp_backward_flow": "flow_warp",
    "_local_attention_backward": "local_attention",
}


def register() -> None:
    for op, (backward, setup_context) in FIRST.items():
        torch.library.register_autograd(f"arseg::{op}", backward, setup_context=setup_context)
    for op, name in SECOND.items():
        torch.library.register_autograd(f"arseg::{op}", _no_double_backward(name), setup_context=_nothing_to_save)
