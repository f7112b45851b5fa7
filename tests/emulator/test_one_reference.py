"""One reference for a batch of frames, by stride: read where it lies, on the CPU and (emulated) on CUDA."""

from __future__ import annotations

import pytest
import torch
from helpers.op_samples import channels_last, creff_parameters, randn, vectors
from torch.profiler import ProfilerActivity, profile

import arseg_ext

arseg_ext.load()

FIELD = {"block": 8, "frame_size": [40, 56]}
FRAMES = 3


@pytest.fixture(params=["cpu", "emulated"])
def operators(request):
    return torch.ops.arseg if request.param == "cpu" else request.getfixturevalue("library")


def shared(channels: int, layout, dtype, place: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """One image for all frames, by stride and in full: the one at `place` of a batch of images."""
    image = layout(randn(3, channels, 5, 7, dtype=dtype))[place : place + 1]
    return image.expand(FRAMES, -1, -1, -1), layout(image.repeat(FRAMES, 1, 1, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("place", [0, 2], ids=["first", "last"])
@pytest.mark.parametrize("channels", [3, 8])
def test_the_same_as_a_copy_for_each(operators, channels, place, layout, dtype):
    one, copies = shared(channels, layout, dtype, place)
    motion, flow = vectors(FRAMES, 5, 7, 2), randn(FRAMES, 5, 7, 2, dtype=torch.float32, scale=2.0)
    low, parameters = randn(FRAMES, channels, 3, 4, dtype=dtype), creff_parameters(channels, dtype)
    classifier = randn(4, channels, dtype=dtype), randn(4, dtype=dtype)
    grad = randn(FRAMES, channels, 5, 7, dtype=dtype, seed=1)
    calls = {
        "mv_warp": lambda x: operators.mv_warp(x, motion, **FIELD),
        "flow_warp": lambda x: operators.flow_warp(x, flow),
        "gradient of the flow": lambda x: operators._flow_warp_backward_flow(grad, x, flow, grid="aligned"),
        "gradient, one for all": lambda x: operators._mv_warp_backward(x, motion, **FIELD, grid="aligned"),
        "creff": lambda x: operators.creff(x, low, motion, *parameters, window=[3, 3], **FIELD),
        "creff_logits": lambda x: operators.creff_logits(x, low, flow, *parameters, *classifier, window=[3, 3]),
        "creff_labels": lambda x: operators.creff_labels(x, low, motion, *parameters, *classifier, **FIELD),
    }
    for name, call in calls.items():
        got, right = call(one), call(copies)
        assert torch.equal(got, right) and got.stride() == right.stride(), name


@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("size", [(3, 4), (5, 7)], ids=["half", "whole"])
def test_maps_that_are_a_part_of_others(operators, size, layout):
    """Of a batch of low-resolution maps, and of the weights of several classifiers, the last."""
    low, reference = layout(randn(4, 8, *size, dtype=torch.float32))[1:], randn(3, 8, 5, 7, dtype=torch.float32)
    classifiers, flow = randn(8, 8, dtype=torch.float32), randn(3, 5, 7, 2, dtype=torch.float32)
    parameters, bias = creff_parameters(8, torch.float32), randn(4, dtype=torch.float32)

    def labels(low, weights):
        return operators.creff_labels(reference, low, flow, *parameters, weights, bias)

    assert torch.equal(labels(low, classifiers[4:]), labels(low.clone(), classifiers[4:].clone()))


@pytest.mark.parametrize("op", ["mv_warp", "creff"])
def test_no_copy_for_each(op):
    """What a call on the CPU allocates: its result, and one image in the kernels' layout at most."""
    image = torch.randn(1, 8, 32, 32)
    frames, motion = 64, torch.zeros(64, 4, 4, 2, dtype=torch.int16)
    field = {"block": 8, "frame_size": [32, 32]}
    low, parameters = channels_last(torch.randn(frames, 8, 16, 16)), creff_parameters(8, torch.float32)
    one = image.expand(frames, -1, -1, -1)
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        if op == "mv_warp":
            result = torch.ops.arseg.mv_warp(one, motion, **field)
        else:
            result = torch.ops.arseg.creff(one, low, motion, *parameters, window=[3, 3], **field)
    allocated = sum(event.self_cpu_memory_usage for event in seen.key_averages() if event.self_cpu_memory_usage > 0)
    assert result.nbytes <= allocated <= result.nbytes + 2 * image.nbytes
