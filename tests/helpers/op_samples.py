"""Inputs for every operator, small and of every kind that a caller may bring."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

GRIDS = ("aligned", "legacy")
OUTSIDES = ("zero", "masked")
WINDOWS = (3, 5, 7, 15, (3, 7))
# Error allowed against float64, relative to values of about 1: half types are rounded once, at the end.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
DTYPES = tuple(TOLERANCE)
# (N, C, H, W): one pixel, one row, one column, primes, more than one strip of 64 pixels, no image at all.
SIZES = ((1, 1, 1, 1), (1, 3, 1, 9), (2, 2, 8, 1), (2, 5, 7, 11), (1, 4, 3, 67), (1, 6, 4, 130), (0, 3, 4, 5))


def randn(*size: int, seed: int = 0, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(size))
    return (torch.randn(size, generator=generator, dtype=torch.float64) * scale).to(dtype)


def vectors(*size: int, seed: int = 0, reach: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(size))
    return torch.randint(-reach, reach + 1, size, generator=generator, dtype=torch.int16)


def strided(tensor: Tensor) -> Tensor:
    """The same values with a step in every dimension."""
    wide = torch.full([2 * size + 1 for size in tensor.shape], float("nan") if tensor.is_floating_point() else 77)
    wide = wide.to(tensor.dtype)
    view = wide[tuple(slice(1, None, 2) for _ in tensor.shape)]
    view.copy_(tensor)
    return view.detach()


def transposed(tensor: Tensor) -> Tensor:
    """The same values with the last two dimensions stored the other way round."""
    return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)


def channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


def error(got: Tensor, expected: Tensor) -> float:
    assert got.shape == expected.shape
    if got.numel() == 0:
        return 0.0
    return float((got.detach().double() - expected.detach().double()).abs().max())


@dataclass
class Sample:
    """One call of an operator in torch.ops.arseg."""

    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def overload(self) -> Any:
        return getattr(torch.ops.arseg, self.op).default

    def call(self) -> Any:
        return self.overload(*self.args, **self.kwargs)

    def __str__(self) -> str:
        return self.op


def creff_parameters(channels: int, dtype: torch.dtype = torch.float64, scale: float = 0.4) -> list[Tensor]:
    parameters = []
    for seed in range(3):
        parameters += [randn(channels, 1, 3, 3, seed=seed, dtype=dtype, scale=scale)]
        parameters += [randn(channels, seed=seed + 9, dtype=dtype, scale=scale)]
    return parameters


def samples(dtype: torch.dtype = torch.float32, *, grad: bool = True) -> list[Sample]:
    """Every operator, public and internal. The backward operators get no inputs that need a gradient."""

    def leaf(tensor: Tensor) -> Tensor:
        return tensor.requires_grad_(grad)

    feature = randn(2, 3, 5, 7, dtype=dtype)
    motion = vectors(2, 3, 4, 2)
    field = {"block": 16, "frame_size": [40, 56]}
    flow = randn(2, 5, 7, 2, dtype=dtype, scale=2.0)
    query, key = randn(2, 3, 5, 7, seed=1, dtype=dtype), randn(2, 3, 5, 7, seed=2, dtype=dtype)
    value = randn(2, 4, 5, 7, seed=3, dtype=dtype)
    window = {"window": [3, 5], "outside": "zero", "scale": 0.5}
    out, logsumexp = torch.ops.arseg._local_attention(query, key, value, **window)
    low = randn(2, 3, 3, 4, seed=4, dtype=dtype)
    parameters = creff_parameters(3, dtype)
    classifier = (randn(6, 3, seed=8, dtype=dtype), randn(6, seed=9, dtype=dtype))
    fused = {"window": [3, 5], **field, "grid": "aligned", "outside": "zero"}
    low_logits = randn(2, 6, 3, 4, seed=10, dtype=dtype)
    copies = [tensor.clone() for tensor in (feature, flow, query, key, value)]
    return [
        Sample("mv_warp", (leaf(feature.clone()), motion), {**field, "grid": "aligned"}),
        Sample("mv_warp", (leaf(channels_last(feature).clone()), motion), {**field, "grid": "legacy"}),
        Sample("_mv_warp_backward", (copies[0], motion), {**field, "grid": "aligned"}),
        Sample("flow_warp", (leaf(feature.clone()), leaf(flow.clone())), {"grid": "aligned"}),
        Sample("flow_warp", (leaf(feature.clone()), flow.clone()), {"grid": "legacy"}),
        Sample("_flow_warp_backward_feature", (copies[0], copies[1]), {"grid": "aligned"}),
        Sample("_flow_warp_backward_flow", (copies[0], copies[0], copies[1]), {"grid": "legacy"}),
        Sample("local_attention", tuple(leaf(t.clone()) for t in (query, key, value)), {"window": [3, 5]}),
        Sample("_local_attention", tuple(leaf(t.clone()) for t in (query, key, value)), window),
        Sample("_local_attention_backward", (out.clone(), *copies[2:], logsumexp), window),
        Sample(
            "creff",
            (leaf(feature.clone()), leaf(low.clone()), motion, *(leaf(t.clone()) for t in parameters)),
            {"window": [3, 3], **field},
        ),
        Sample(
            "creff",
            (leaf(feature.clone()), leaf(low.clone()), flow.clone(), *(leaf(t.clone()) for t in parameters)),
            {"window": [3, 3], "grid": "legacy", "outside": "masked"},
        ),
        Sample("creff_logits", (leaf(feature.clone()), low, motion, *parameters, *classifier), field),
        Sample("creff_labels", (feature, low, flow, *parameters, *classifier), {"window": [3, 3]}),
        Sample("resize_labels", (low_logits, [7, 9]), {"align_corners": True}),
        Sample("_upsample", (leaf(low.clone()), [5, 7])),
        Sample("_upsample", (leaf(channels_last(low).clone()), [5, 7])),
        Sample("_upsample_backward", (copies[0], [3, 4])),
        Sample("_upsample_backward", (channels_last(copies[0]), [3, 4])),
        Sample("_queries", (leaf(low.clone()), *(leaf(t.clone()) for t in parameters[:2]), [5, 7])),
        Sample("_queries", (leaf(channels_last(low).clone()), *parameters[:2], [5, 7])),
        Sample("_queries_backward", (copies[2], copies[3], copies[0], parameters[0])),
        Sample("_queries_backward", (copies[2], copies[3], channels_last(copies[0]), parameters[0])),
        Sample("_keys_values", (leaf(feature.clone()), *(leaf(t.clone()) for t in parameters[2:]))),
        Sample("_keys_values_backward", (*copies[2:4], copies[0], *parameters[2::2]), {"wants_warped": True}),
        Sample("_keys_values_backward", (*copies[2:4], copies[0], *parameters[2::2]), {"wants_warped": False}),
        Sample("_creff_out", (feature, low, motion, *parameters, feature.clone()), fused),
        Sample("_creff_into", (feature, low, motion, *parameters), {**fused, "out": feature.clone()}),
    ]
