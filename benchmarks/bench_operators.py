"""Times of the operators: `make bench`, or pytest benchmarks --benchmark-only -o python_files='bench_*.py'.

Maps are channels_last; compare_cpu.py compares with torch.compile. Shapes: the default network's map at 480x360
(64x90x120), and the paper's BiSeNet18 map at 960x720 (256x90x120).
"""

from __future__ import annotations

import pytest
import torch

from arseg_ext import nn, ops, oracle

SHAPES = {"64x90x120": (64, 90, 120), "256x90x120": (256, 90, 120)}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@pytest.fixture(params=SHAPES, ids=str)
def shape(request):
    return SHAPES[request.param]


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request):
    return DTYPES[request.param]


def randn(*size, dtype):
    return torch.randn(*size, dtype=dtype).contiguous(memory_format=torch.channels_last)


def field(shape, frame):
    generator = torch.Generator().manual_seed(0)
    size = (1, -(-frame[0] // 4), -(-frame[1] // 4), 2)
    return torch.randint(-64, 65, size, dtype=torch.int16, generator=generator)


@pytest.mark.benchmark(group="mv_warp")
def test_mv_warp(benchmark, shape, dtype):
    feature = randn(1, *shape, dtype=dtype)
    frame = (shape[1] * 4, shape[2] * 4)
    motion = field(shape, frame)
    benchmark(ops.mv_warp, feature, motion, block=4, frame_size=frame)


@pytest.mark.benchmark(group="copy of the map")
def test_copy(benchmark, shape, dtype):
    feature = randn(1, *shape, dtype=dtype)
    benchmark(torch.clone, feature)


@pytest.mark.benchmark(group="local_attention, window 7")
@pytest.mark.parametrize("function", [ops.local_attention, oracle.local_attention], ids=["ours", "reference"])
def test_local_attention(benchmark, shape, dtype, function):
    query, key, value = (randn(1, *shape, dtype=dtype) for _ in range(3))
    benchmark(function, query, key, value, window=7)


@pytest.mark.benchmark(group="local_attention, window 7, forward and backward")
def test_local_attention_backward(benchmark, shape, dtype):
    query, key, value = (randn(1, *shape, dtype=dtype).requires_grad_() for _ in range(3))
    benchmark(lambda: ops.local_attention(query, key, value, window=7).sum().backward())


@pytest.mark.benchmark(group="creff, window 7")
@torch.no_grad()
def test_creff(benchmark, shape, dtype):
    fusion = nn.CReFF(shape[0]).to(dtype)
    frame = (shape[1] * 4, shape[2] * 4)
    feature = randn(1, *shape, dtype=dtype)
    low = randn(1, shape[0], shape[1] // 2, shape[2] // 2, dtype=dtype)
    benchmark(fusion, feature, low, field(shape, frame), block=4, frame_size=frame)
