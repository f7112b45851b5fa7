"""Operators made of others: torch.compile, export and autograd see the parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg_ext import _checks

_libraries: list[torch.library.Library] = []  # a Library unregisters when it is deleted


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
    _checks.feature_map(op, "reference", reference)
    _checks.feature_map(op, "low_res", low_res)
    _checks.same_device(op, "low_res", low_res, "reference", reference)
    mixed = _checks.autocast_on(reference)
    if not mixed:
        _checks.same_dtype(op, "low_res", low_res, "reference", reference)
    if low_res.shape[0] != reference.shape[0] or low_res.shape[1] != reference.shape[1]:
        _checks.fail(
            f"{op}: low_res must have the batch size and channels of reference, "
            f"{_checks.list_text(reference.shape[:2])}, got {_checks.list_text(low_res.shape[:2])}"
        )
    if low_res.shape[2] == 0 or low_res.shape[3] == 0:
        _checks.fail(f"{op}: low_res must not be empty, got shape {_checks.list_text(low_res.shape)}")
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
        if not mixed:
            _checks.same_dtype(op, name, tensor, "reference", reference)
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
    """Whether the fused kernel will do: there is one for the device, and nobody wants a gradient."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return not wanted and tensors[0].device.type in ("cpu", "cuda")


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


def _computing(reference: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors in the dtype that autocast, or the reference, asks for."""
    dtype = reference.dtype
    if _checks.autocast_on(reference) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(reference.device.type)
    return [tensor.to(dtype) for tensor in tensors]


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
        reference, low_res, *rest = _computing(reference, (reference, low_res, *parameters))
        return torch.ops.arseg._creff(reference, low_res, motion, *rest, **options)
    ops = torch.ops.arseg
    if motion.is_floating_point():
        warped = ops.flow_warp(reference, motion, grid=grid)
    else:
        warped = ops.mv_warp(reference, motion, block=block, frame_size=frame_size, grid=grid)
    size = (reference.shape[2], reference.shape[3])
    upsampled = F.interpolate(low_res, size=size, mode="bilinear", align_corners=True)
    channels = reference.shape[1]
    query = F.conv2d(upsampled, query_weight, query_bias, padding=1, groups=channels)
    key = F.conv2d(warped, key_weight, key_bias, padding=1, groups=channels)
    value = F.conv2d(warped, value_weight, value_bias, padding=1, groups=channels)
    return upsampled + ops.local_attention(query, key, value, window=window, outside=outside)


def creff_out(
    reference: Tensor, low_res: Tensor, motion: Tensor, parameters: Sequence[Tensor], out: Tensor, **o: Any
) -> Tensor:
    """creff into `out`, without gradients."""
    check_creff(reference, low_res, motion, named(parameters), **o)
    _checks.same_device("creff", "out", out, "reference", reference)
    reference, low_res, *rest = _computing(reference, (reference, low_res, *parameters))
    _checks.same_dtype("creff", "out", out, "reference", reference)
    _checks.shape("creff", "out", out, reference.shape)
    if not _in_one_pass((reference, low_res, motion, *parameters)):
        _checks.fail(
            "creff: out is for inference on the CPU or a CUDA device; call it under torch.no_grad() or leave out away"
        )
    torch.ops.arseg._creff_out(reference, low_res, motion, *rest, **_fused_options(motion, **o), out=out)
    return out


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
    weight = weight.flatten(1)
    if not _in_one_pass((reference, low_res, motion, *parameters, weight, bias)):
        fused = creff(reference, low_res, motion, *parameters, **options)
        logits = F.conv2d(fused, weight[:, :, None, None].to(fused.dtype), bias.to(fused.dtype))
        return logits.argmax(1).to(torch.uint8) if labels else logits
    reference, low_res, weight, bias, *rest = _computing(reference, (reference, low_res, weight, bias, *parameters))
    # The classifier is linear and the weights of the attention add up to 1: it may come before the sum over values
    # and before the upsampling, where it is cheaper.
    if reference.device.type == "cpu":
        low_res_logits = F.conv2d(low_res, weight[:, :, None, None], bias)
    else:  # as a matrix product: cuDNN's convolutions of float32 are TF32 unless told otherwise
        low_res_logits = F.linear(low_res.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
    return torch.ops.arseg._creff_classified(
        reference, low_res, low_res_logits, motion, *rest, weight, **_fused_options(motion, **options), labels=labels
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


def register() -> None:
    library = torch.library.Library("arseg", "IMPL", "CompositeImplicitAutograd")
    library.impl("local_attention", local_attention)
    library.impl("creff", creff)
    for op in ("creff_logits", "creff_labels"):
        library.impl(op, _classified(op))
    _libraries.append(library)
