"""The CUDA kernel of the gradient of bilinear upsampling, run on the CPU, against torch's in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers.op_samples import TOLERANCE, channels_last, error, randn, strided
from torch._prims_common import suggest_memory_format

SIZES = (
    (2, 3, (4, 5), (8, 10)),
    (1, 8, (3, 7), (11, 20)),
    (2, 16, (3, 4), (7, 9)),
    (1, 2, (1, 1), (6, 40)),
    (2, 1, (3, 1), (1, 9)),
    (1, 4, (9, 8), (4, 3)),
    (0, 3, (2, 2), (4, 4)),
)


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_gradient(emulated, dtype):
    for n, c, small, large in SIZES:
        grad = randn(n, c, *large, dtype=dtype)
        leaf = torch.zeros(n, c, *small, dtype=torch.float64, requires_grad=True)
        F.interpolate(leaf, large, mode="bilinear", align_corners=True).backward(grad.double())
        most = max(1.0, float(leaf.grad.abs().max())) if leaf.numel() else 1.0
        for layout in (torch.Tensor.contiguous, channels_last, strided):
            got = emulated._upsample_backward(layout(grad), small)
            assert error(got, leaf.grad) <= TOLERANCE[dtype] * most and got.dtype == dtype
            assert got.is_contiguous(memory_format=suggest_memory_format(layout(grad)))
