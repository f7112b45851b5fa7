"""creff and its kin made of other operators, for gradients, and written into a map of the caller's (`out`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg_ext import _checks, _convolutions, _devices, _forward_mode, _overlap
from arseg_ext._autocast import cast, computing_dtype
from arseg_ext._layouts import in_layout_of
from arseg_ext._torch_private import in_transform

_libraries: list[torch.library.Library] = []  # a Library unregisters when it is deleted


def local_attention(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    return torch.ops.arseg._local_attention(query, key, value, **{"outside": "zero", "scale": 1.0, **options})[0]


def upsample(input: Tensor, size: Sequence[int]) -> Tensor:
    """torch's own, bilinear with align_corners=True; an operator of ours for its gradient, which torch adds up by float
    atomics on CUDA, in another order each time."""
    return in_layout_of(torch.ops.aten.upsample_bilinear2d(input, size, True), input)


DEFAULTS: dict[str, Any] = {
    "window": (7, 7),
    "block": None,
    "frame_size": None,
    "grid": "aligned",
    "outside": "zero",
}


def _fused(
    reference: Tensor,
    low_res: Tensor,
    motion: Tensor,
    parameters: Sequence[Tensor],
    *,
    window: Sequence[int],
    block: int | None,
    frame_size: Sequence[int] | None,
    grid: str,
    outside: str,
    allow_tf32: bool = False,
) -> Tensor:
    query_weight, query_bias, key_weight, key_bias, value_weight, value_bias = parameters
    ops = torch.ops.arseg
    if motion.is_floating_point():
        warped = ops.flow_warp(reference, motion, grid=grid)
    else:
        warped = ops.mv_warp(reference, motion, block=block, frame_size=frame_size, grid=grid)
    upsampled, query = ops._queries(low_res, query_weight, query_bias, (reference.shape[2], reference.shape[3]))
    key, value = ops._keys_values(warped, key_weight, key_bias, value_weight, value_bias)
    tf32 = {"allow_tf32": True} if allow_tf32 else {}
    return upsampled + ops.local_attention(query, key, value, window=window, outside=outside, **tf32)


def creff(reference: Tensor, low_res: Tensor, motion: Tensor, *parameters: Tensor, **options: Any) -> Tensor:
    options = {**DEFAULTS, **options}  # the dispatcher leaves out what is as by default
    check_creff(reference, low_res, motion, named(parameters), **options)
    return _fused(reference, low_res, motion, parameters, **options)


def creff_logits(reference: Tensor, low_res: Tensor, motion: Tensor, *others: Tensor, **options: Any) -> Tensor:
    *parameters, weight, bias = others
    options = {**DEFAULTS, **options}
    check_classified("creff_logits", reference, low_res, motion, parameters, (weight, bias), options)
    fused = _fused(reference, low_res, motion, parameters, **options)
    return F.conv2d(fused, weight.reshape(*weight.shape[:2], 1, 1), bias)


def check_creff(
    reference: Tensor,
    low_res: Tensor,
    motion: Tensor,
    convolutions: Sequence[tuple[str, Tensor, Tensor]],
    window: Sequence[int],
    block: int | None,
    frame_size: Sequence[int] | None,
    grid: str,
    outside: str,
    allow_tf32: bool = False,
    op: str = "creff",
) -> None:
    """Checks of creff beyond those of its parts."""
    _checks.is_tensor(op, reference=reference, low_res=low_res, motion=motion)
    for kind, weight, bias in convolutions:
        _checks.is_tensor(op, **{f"{kind}_weight": weight, f"{kind}_bias": bias})
    _checks.feature_map(op, "reference", reference)
    _checks.feature_map(op, "low_res", low_res)
    _checks.same_device(op, "low_res", low_res, "reference", reference)
    _checks.castable_dtype(op, "low_res", low_res, "reference", reference)
    if low_res.shape[0] != reference.shape[0] or low_res.shape[1] != reference.shape[1]:
        expected, got = _checks.list_text(reference.shape[:2]), _checks.list_text(low_res.shape[:2])
        _checks.refuse("batch_and_channels", op=op, name="low_res", other="reference", expected=expected, got=got)
    if 0 in reference.shape[1:]:
        _checks.refuse("not_empty", op=op, name="reference", got=_checks.list_text(reference.shape))
    if low_res.shape[2] == 0 or low_res.shape[3] == 0:
        _checks.refuse("not_empty", op=op, name="low_res", got=_checks.list_text(low_res.shape))
    for name, tensor, shape in (
        entry
        for kind, weight, bias in convolutions
        for entry in (
            (f"{kind}_weight", weight, (reference.shape[1], 1, 3, 3)),
            (f"{kind}_bias", bias, reference.shape[1:2]),
        )
    ):
        _checks.same_device(op, name, tensor, "reference", reference)
        _checks.shape(op, name, tensor, shape)
        _checks.castable_dtype(op, name, tensor, "reference", reference)
    _checks.window_sides(op, window)
    _checks.outside_name(op, outside)
    if motion.is_floating_point():
        if block is not None or frame_size is not None:
            _checks.refuse("field_options", op=op, got=_checks.dtype_name(motion.dtype))
        _checks.flow_warp(op, "reference", reference, motion, grid)
    else:
        if block is None or frame_size is None:
            sides = "None" if frame_size is None else _checks.list_text(frame_size)
            _checks.refuse("no_field_options", op=op, block=str(block), frame_size=sides)
        _checks.mv_warp(op, "reference", reference, motion, block, frame_size, grid)


def _for_inference(tensors: Sequence[Tensor]) -> bool:
    """Whether nobody wants a derivative, and the device has a fused kernel."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return not wanted and not _forward_mode.has_tangent(tensors) and _devices.has_kernels(tensors[0].device)


def creff_out(
    reference: Tensor, low_res: Tensor, motion: Tensor, parameters: Sequence[Tensor], out: Tensor, **options: Any
) -> Tensor:
    """creff into `out`, without gradients."""
    _checks.is_tensor("creff", out=out)
    if in_transform() and not torch.compiler.is_compiling():
        _checks.fail("creff: out must be left away in transforms of torch.func, such as vmap, got one")
    check_creff(reference, low_res, motion, named(parameters), **options)
    dtype = computing_dtype(reference)
    reference, low_res, *rest = (cast(tensor, dtype) for tensor in (reference, low_res, *parameters))
    _checks.same_device("creff", "out", out, "reference", reference)
    _checks.same_dtype("creff", "out", out, "reference", reference)
    _checks.shape("creff", "out", out, reference.shape)
    if not torch.compiler.is_compiling():  # a refused call is to leave no trace on `out`
        _check_out(out, (reference, low_res, motion, *rest))
    # What is detached has the same version, and the operator takes nothing that requires a gradient.
    tensors = [tensor.detach() for tensor in (reference, low_res, motion, *rest, out)]
    torch.ops.arseg._creff_out(*tensors, **options)
    return out


def _check_out(out: Tensor, inputs: Sequence[Tensor]) -> None:
    """What may not be written to, or not now."""
    if out.requires_grad and (out.is_leaf or torch.is_grad_enabled()):
        what = "it is a leaf that requires a gradient" if out.is_leaf else "it requires a gradient"
        _checks.fail(f"creff: out must be a map that autograd does not follow, but {what}; pass out.detach()")
    if not _for_inference(inputs) or _forward_mode.has_tangent([out]):
        _checks.fail(
            "creff: out is for inference on the CPU or a CUDA device; call it under torch.no_grad() or leave out away"
        )
    if out.is_neg():
        _checks.fail("creff: out must not be a view that torch negates when it is read; pass out.resolve_neg()")
    if out.is_inference() and not torch.is_inference_mode_enabled():
        _checks.fail(
            "creff: out is an inference tensor, which may be written under torch.inference_mode() alone; "
            "pass out.clone()"
        )
    if _overlap.shares_with_itself(out):
        _checks.fail(
            f"creff: out must have memory of its own for every element, got strides {_checks.list_text(out.stride())} "
            f"for shape {_checks.list_text(out.shape)}, as after expand(); pass out.contiguous()"
        )
    name = _overlap.sharing(out, zip(INPUTS, inputs, strict=True))
    if name is not None:
        _checks.fail(f"creff: out must not share memory with {name}, which is read while out is written")


def _write_creff(
    reference: Tensor,
    low_res: Tensor,
    motion: Tensor,
    query_weight: Tensor,
    query_bias: Tensor,
    key_weight: Tensor,
    key_bias: Tensor,
    value_weight: Tensor,
    value_bias: Tensor,
    out: Tensor,
    **options: Any,
) -> None:
    inputs = (
        reference,
        low_res,
        motion,
        query_weight,
        query_bias,
        key_weight,
        key_bias,
        value_weight,
        value_bias,
    )
    # Here gradients are off, whatever they were where the operator was called.
    if any(tensor.requires_grad for tensor in (*inputs, out)):
        _checks.fail("creff: out is for inference, got tensors that require a gradient; detach them or leave out away")
    _check_out(out, inputs)
    torch.ops.arseg._creff_into(*inputs, **options, out=out)


INPUTS = (
    "reference",
    "low_res",
    "motion",
    "query_weight",
    "query_bias",
    "key_weight",
    "key_bias",
    "value_weight",
    "value_bias",
)


def named(parameters: Sequence[Tensor]) -> list[tuple[str, Tensor, Tensor]]:
    return [(name, parameters[2 * i], parameters[2 * i + 1]) for i, name in enumerate(("query", "key", "value"))]


def check_classified(
    op: str,
    reference: Tensor,
    low_res: Tensor,
    motion: Tensor,
    parameters: Sequence[Tensor],
    classifier: Sequence[Tensor],
    options: dict[str, Any],
) -> None:
    check_creff(reference, low_res, motion, named(parameters), **options, op=op)
    weight, bias = classifier
    _checks.is_tensor(op, classifier_weight=weight, classifier_bias=bias)
    _checks.classifier(op, reference, weight, bias, most=256 if op == "creff_labels" else None)


_WRITE = (
    "(Tensor reference, Tensor low_res, Tensor motion, Tensor query_weight, Tensor query_bias, Tensor key_weight, "
    "Tensor key_bias, Tensor value_weight, Tensor value_bias, Tensor(a!) out, *, int[2] window, int? block, "
    "SymInt[]? frame_size, str grid, str outside, bool allow_tf32=False) -> ()"
)


def register() -> None:
    library = torch.library.Library("arseg", "IMPL", "CompositeExplicitAutograd")
    library.impl("_upsample", upsample)
    for name, kernel in _convolutions.KERNELS.items():
        library.impl(name, kernel)
    _libraries.append(library)
    # A custom operator tells autograd that it writes to `out`.
    torch.library.custom_op("arseg::_creff_out", _write_creff, mutates_args=("out",), schema=_WRITE)
