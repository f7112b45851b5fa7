"""Operators made of others: torch.compile, export and autograd see the parts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg_ext import _checks, _forward_mode, _overlap

_libraries: list[torch.library.Library] = []  # a Library unregisters when it is deleted


def computing_dtype(first: Tensor) -> torch.dtype:
    """What an operator computes in and gives: autocast's dtype where that is on, else that of its first map.

    A first map in float64 is left alone, as by torch's own policy, and decides for the others.
    """
    if _checks.autocast_on(first) and first.dtype != torch.float64:
        return torch.get_autocast_dtype(first.device.type)
    return first.dtype


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor  # an integer one is refused by name


def _as_autocast_asks(function: Callable[..., Tensor], uncast: Sequence[int] = ()) -> Callable[..., Tensor]:
    """Under autocast: all tensors but those at `uncast` cast to one dtype, and no autocast within.

    Left to autocast, the parts would decide one by one: torch upsamples in float32, and attention gives bfloat16.
    """

    @functools.wraps(function)
    def run(first: Tensor, *others: Tensor, **options: Any) -> Tensor:
        if not _checks.autocast_on(first):
            return function(first, *others, **options)
        dtype = computing_dtype(first)
        tensors = [t if i in uncast else _cast(t, dtype) for i, t in enumerate((first, *others))]
        with torch.autocast(first.device.type, enabled=False):
            return function(*tensors, **options)

    return run


def local_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: Sequence[int],
    outside: str = "zero",
    scale: float = 1.0,
) -> Tensor:
    return torch.ops.arseg._local_attention(query, key, value, window=window, outside=outside, scale=scale)[0]


def upsample(input: Tensor, size: Sequence[int]) -> Tensor:
    """torch's own, bilinear with align_corners=True; an operator of ours for its gradient, which torch adds up by float
    atomics on CUDA, in another order each time."""
    return torch.ops.aten.upsample_bilinear2d(input, size, True)


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
            _checks.fail(
                f"{op}: block and frame_size belong to an int16 motion field, got motion in "
                f"{_checks.dtype_name(motion.dtype)}"
            )
        _checks.flow_warp(op, "reference", reference, motion, grid)
    else:
        if block is None or frame_size is None:
            _checks.fail(
                f"{op}: an int16 motion field needs block and frame_size, got block {block}, frame_size {frame_size}"
            )
        _checks.mv_warp(op, "reference", reference, motion, block, frame_size, grid)


def _in_one_pass(tensors: Sequence[Tensor]) -> bool:
    """Whether the fused kernel will do: there is one for the device, and nobody wants a derivative."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return not wanted and not _forward_mode.has_tangent(tensors) and tensors[0].device.type in ("cpu", "cuda")


def _fused_options(
    motion: Tensor,
    window: Sequence[int],
    block: int | None,
    frame_size: Sequence[int] | None,
    grid: str,
    outside: str,
) -> dict[str, Any]:
    dense = motion.is_floating_point()
    return {
        "window": window,
        "block": 0 if dense else block,
        "frame_size": [] if dense else frame_size,
        "grid": grid,
        "outside": outside,
    }


def creff(
    reference: Tensor,
    low_res: Tensor,
    motion: Tensor,
    query_weight: Tensor,
    query_bias: Tensor,
    key_weight: Tensor,
    key_bias: Tensor,
    value_weight: Tensor,
    value_bias: Tensor,
    *,
    window: Sequence[int] = (7, 7),
    block: int | None = None,
    frame_size: Sequence[int] | None = None,
    grid: str = "aligned",
    outside: str = "zero",
) -> Tensor:
    parameters = (query_weight, query_bias, key_weight, key_bias, value_weight, value_bias)
    check_creff(reference, low_res, motion, named(parameters), window, block, frame_size, grid, outside)
    if _in_one_pass((reference, low_res, motion, *parameters)):
        options = _fused_options(motion, window, block, frame_size, grid, outside)
        return torch.ops.arseg._creff(reference, low_res, motion, *parameters, **options)
    upsampled, attended_values = attended(
        reference,
        low_res,
        motion,
        parameters,
        window=window,
        block=block,
        frame_size=frame_size,
        grid=grid,
        outside=outside,
    )
    return upsampled + attended_values


def attended(
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
) -> tuple[Tensor, Tensor]:
    """The two terms of creff: the upsampled map, and what the attention takes from the warped one."""
    query_weight, query_bias, key_weight, key_bias, value_weight, value_bias = parameters
    ops = torch.ops.arseg
    if motion.is_floating_point():
        warped = ops.flow_warp(reference, motion, grid=grid)
    else:
        warped = ops.mv_warp(reference, motion, block=block, frame_size=frame_size, grid=grid)
    size = (reference.shape[2], reference.shape[3])
    upsampled = ops._upsample(low_res, size)
    channels = reference.shape[1]
    query = F.conv2d(upsampled, query_weight, query_bias, padding=1, groups=channels)
    key = F.conv2d(warped, key_weight, key_bias, padding=1, groups=channels)
    value = F.conv2d(warped, value_weight, value_bias, padding=1, groups=channels)
    return upsampled, ops.local_attention(query, key, value, window=window, outside=outside)


def creff_out(
    reference: Tensor, low_res: Tensor, motion: Tensor, parameters: Sequence[Tensor], out: Tensor, **options: Any
) -> Tensor:
    """creff into `out`, without gradients."""
    _checks.is_tensor("creff", out=out)
    check_creff(reference, low_res, motion, named(parameters), **options)
    dtype = computing_dtype(reference)
    reference, low_res, *rest = (_cast(tensor, dtype) for tensor in (reference, low_res, *parameters))
    _checks.same_device("creff", "out", out, "reference", reference)
    _checks.same_dtype("creff", "out", out, "reference", reference)
    _checks.shape("creff", "out", out, reference.shape)
    fused = _fused_options(motion, **options)
    if not torch.compiler.is_compiling():  # a refused call is to leave no trace on `out`
        _check_out(out, (reference, low_res, motion, *rest))
    # What is detached has the same version, and the operator takes nothing that requires a gradient.
    tensors = [tensor.detach() for tensor in (reference, low_res, motion, *rest, out)]
    torch.ops.arseg._creff_out(*tensors, **fused)
    return out


def _check_out(out: Tensor, inputs: Sequence[Tensor]) -> None:
    """What may not be written to, or not now."""
    if out.requires_grad and (out.is_leaf or torch.is_grad_enabled()):
        what = "it is a leaf that requires a gradient" if out.is_leaf else "it requires a gradient"
        _checks.fail(f"creff: out must be a map that autograd does not follow, but {what}; pass out.detach()")
    if not _in_one_pass(inputs) or _forward_mode.has_tangent([out]):
        _checks.fail(
            "creff: out is for inference on the CPU or a CUDA device; call it under torch.no_grad() or leave out away"
        )
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


def _creff_classified(
    op: str,
    reference: Tensor,
    low_res: Tensor,
    motion: Tensor,
    parameters: Sequence[Tensor],
    weight: Tensor,
    bias: Tensor,
    **options: Any,
) -> Tensor:
    check_classified(op, reference, low_res, motion, parameters, (weight, bias), options)
    labels = op == "creff_labels"
    if labels:  # they have no derivative, whatever their arguments want
        reference, low_res, motion, weight, bias = (t.detach() for t in (reference, low_res, motion, weight, bias))
        parameters = [parameter.detach() for parameter in parameters]
    weight = weight.flatten(1)
    if not _in_one_pass((reference, low_res, motion, *parameters, weight, bias)):
        fused = creff(reference, low_res, motion, *parameters, **options)
        logits = F.conv2d(fused, weight[:, :, None, None], bias)
        return logits.argmax(1).to(torch.uint8) if labels else logits
    # The classifier is linear: without its bias it may come before the sum over values and before the upsampling, where
    # it is cheaper.
    if reference.device.type == "cpu":
        low_res_logits = F.conv2d(low_res, weight[:, :, None, None])
    else:  # as a matrix product: cuDNN's convolutions of float32 are TF32 unless told otherwise
        low_res_logits = F.linear(low_res.permute(0, 2, 3, 1), weight).permute(0, 3, 1, 2)
    return torch.ops.arseg._creff_classified(
        reference,
        low_res,
        low_res_logits,
        motion,
        *parameters,
        weight,
        bias,
        **_fused_options(motion, **options),
        labels=labels,
    )


def _classified(op: str) -> Callable[..., Tensor]:
    def run(
        reference: Tensor,
        low_res: Tensor,
        motion: Tensor,
        query_weight: Tensor,
        query_bias: Tensor,
        key_weight: Tensor,
        key_bias: Tensor,
        value_weight: Tensor,
        value_bias: Tensor,
        classifier_weight: Tensor,
        classifier_bias: Tensor,
        *,
        window: Sequence[int] = (7, 7),
        block: int | None = None,
        frame_size: Sequence[int] | None = None,
        grid: str = "aligned",
        outside: str = "zero",
    ) -> Tensor:
        parameters = (query_weight, query_bias, key_weight, key_bias, value_weight, value_bias)
        options = {"window": window, "block": block, "frame_size": frame_size, "grid": grid, "outside": outside}
        return _creff_classified(
            op, reference, low_res, motion, parameters, classifier_weight, classifier_bias, **options
        )

    return run


MOTION = 2  # its place among the arguments; a dense flow keeps its dtype, as positions need more than half precision

_WRITE = (
    "(Tensor reference, Tensor low_res, Tensor motion, Tensor query_weight, Tensor query_bias, Tensor key_weight, "
    "Tensor key_bias, Tensor value_weight, Tensor value_bias, Tensor(a!) out, *, int[2] window, int block, "
    "SymInt[] frame_size, str grid, str outside) -> ()"
)


def register() -> None:
    library = torch.library.Library("arseg", "IMPL", "CompositeImplicitAutograd")
    library.impl("local_attention", _as_autocast_asks(local_attention))
    library.impl("creff", _as_autocast_asks(creff, uncast=(MOTION,)))
    for op in ("creff_logits", "creff_labels"):
        library.impl(op, _as_autocast_asks(_classified(op), uncast=(MOTION,)))
    explicit = torch.library.Library("arseg", "IMPL", "CompositeExplicitAutograd")
    explicit.impl("_upsample", upsample)
    _libraries.extend((library, explicit))
    # A custom operator tells autograd that it writes to `out`.
    torch.library.custom_op("arseg::_creff_out", _write_creff, mutates_args=("out",), schema=_WRITE)
