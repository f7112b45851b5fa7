"""Derivatives: every backward is an operator of its own, and has none itself; forward mode is plain PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg_ext import _composite, _forward_mode, oracle

_libraries: list[torch.library.Library] = []  # a Library unregisters when it is deleted


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


# Linear, so that each of the two is the other's gradient.
def _upsample_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.size = inputs[0].shape[2:]


def _upsample_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return torch.ops.arseg._upsample_backward(grad, ctx.size), None


def _upsample_backward_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return torch.ops.arseg._upsample(grad, ctx.size), None


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
    "_upsample": (_upsample_backward, _upsample_setup),
    "_upsample_backward": (_upsample_backward_backward, _upsample_setup),
}
SECOND = {
    "_mv_warp_backward": "mv_warp",
    "_flow_warp_backward_feature": "flow_warp",
    "_flow_warp_backward_flow": "flow_warp",
    "_local_attention_backward": "local_attention",
}


# In one pass, for inference: with a derivative they are made of their parts.
FUSED = frozenset({"_creff", "_creff_classified"})


def _plain_local_attention(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    tensors = (query, key, value)
    wide = torch.promote_types(query.dtype, torch.float32)
    out = oracle.local_attention(*(tensor.to(wide) for tensor in tensors), **options).to(query.dtype)
    logsumexp = torch.ops.arseg._local_attention(*(tensor.detach() for tensor in tensors), **options)[1]
    return out, logsumexp


def _field(block: int, frame_size: list[int], **options: Any) -> dict[str, Any]:
    """Options of creff from those of _creff."""
    return {**options, "block": block or None, "frame_size": frame_size if block else None}


def _plain_creff(*tensors: Tensor, **options: Any) -> Tensor:
    return torch.ops.arseg.creff(*tensors, **_field(**options))


def _plain_creff_classified(
    reference: Tensor, low_res: Tensor, low_res_logits: Tensor, motion: Tensor, *others: Tensor, **options: Any
) -> Tensor:
    labels = options.pop("labels")
    *parameters, classifier, bias = others
    if labels:
        tensors = (reference, low_res, low_res_logits, motion, *others)
        return torch.ops.arseg._creff_classified(*(tensor.detach() for tensor in tensors), **options, labels=True)
    attended = _composite.attended(reference, low_res, motion, parameters, **_field(**options))[1]
    upsampled = torch.ops.arseg._upsample(low_res_logits, attended.shape[2:])
    return upsampled + F.conv2d(attended, classifier[:, :, None, None], bias)


def _plain() -> dict[str, _forward_mode.Plain]:
    linear = {"mv_warp": "mv_warp", "_upsample": "creff", "_upsample_backward": "creff", **SECOND}
    return {
        **{op: _forward_mode.linear(name, getattr(torch.ops.arseg, op)) for op, name in linear.items()},
        "flow_warp": oracle.flow_warp,
        "_local_attention": _plain_local_attention,
        "_creff": _plain_creff,
        "_creff_classified": _plain_creff_classified,
    }


def register() -> None:
    library = _forward_mode.ForwardModeLibrary("arseg", _plain(), FUSED)
    _libraries.append(library)
    for op, (backward, setup_context) in FIRST.items():
        torch.library.register_autograd(f"arseg::{op}", backward, setup_context=setup_context, lib=library)
    for op, name in (*SECOND.items(), *((op, "creff") for op in FUSED)):
        backward = _no_double_backward(name)
        torch.library.register_autograd(f"arseg::{op}", backward, setup_context=_nothing_to_save, lib=library)
