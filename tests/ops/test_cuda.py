"""The operators on a CUDA device, held to the CPU operators (which the other tests hold to float64)."""

import dataclasses

import pytest
import torch
from helpers.op_samples import (
    OUTSIDES,
    TOLERANCE,
    Sample,
    channels_last,
    creff_parameters,
    error,
    randn,
    samples,
    vectors,
)
from torch import Tensor

from arseg_ext import build_config, ops

DEVICE = "cuda"
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
ALL = samples()
IDS = [f"{i}-{sample}" for i, sample in enumerate(ALL)]
# C, H, W: channels of whole vectors and not, two tiles and a rest, more channels than one chunk of 64.
MAPS = ((3, 5, 7), (8, 19, 35), (40, 9, 21), (64, 17, 33), (72, 8, 16), (128, 12, 20), (512, 6, 10))


@pytest.fixture(scope="module", autouse=True)
def built_with_cuda():
    if not build_config()["with_cuda"]:
        pytest.fail("a CUDA device is here, and the library was built without CUDA")


def moved(value, device=DEVICE):
    return value.detach().to(device).requires_grad_(value.requires_grad) if isinstance(value, Tensor) else value


def on_device(sample: Sample, device: str = DEVICE) -> Sample:
    return dataclasses.replace(
        sample,
        args=tuple(moved(value, device) for value in sample.args),
        kwargs={name: moved(value, device) for name, value in sample.kwargs.items()},
    )


def outputs(result) -> list[Tensor]:
    return list(result) if isinstance(result, tuple | list) else [] if result is None else [result]


def close(got: Tensor, expected: Tensor, tolerance: float) -> bool:
    assert got.dtype == expected.dtype and got.shape == expected.shape
    if not got.is_floating_point():
        return bool((got.cpu() == expected.cpu()).all())
    most = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    return error(got.cpu(), expected.cpu()) <= tolerance * most


@pytest.mark.xdist_group("opcheck")
@pytest.mark.parametrize("index", range(len(ALL)), ids=IDS)
def test_opcheck(index):
    sample = on_device(ALL[index])
    torch.library.opcheck(sample.overload, sample.args, sample.kwargs)


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_samples_match_the_cpu(dtype):
    for sample in samples(dtype, grad=False):
        mine, theirs = outputs(on_device(sample).call()), outputs(sample.call())
        for got, expected in zip(mine, theirs, strict=True):
            assert close(got, expected, 4 * TOLERANCE[dtype]), sample.op
            assert got.stride() == expected.stride(), sample.op


@pytest.mark.parametrize("channels, height, width", MAPS)
@pytest.mark.parametrize("window", [3, 5, 7, 9, 11, (3, 7)], ids=str)
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_attention_and_its_gradient(dtype, window, channels, height, width):
    for outside in OUTSIDES:
        maps = [channels_last(randn(2, channels, height, width, seed=i, dtype=dtype, scale=0.5)) for i in range(3)]
        grad = randn(2, channels, height, width, seed=7, dtype=dtype)
        found = []
        for device in ("cpu", DEVICE):
            leaves = [tensor.detach().to(device, copy=True).requires_grad_() for tensor in maps]
            out = ops.local_attention(*leaves, window=window, outside=outside, scale=0.3)
            out.backward(grad.to(device))
            found.append([out.detach(), *(leaf.grad for leaf in leaves)])
        for expected, got in zip(*found, strict=True):
            assert close(got, expected, 4 * TOLERANCE[dtype])


@pytest.mark.parametrize("channels, height, width", MAPS)
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_creff_and_its_labels(dtype, channels, height, width):
    maps = [randn(1, channels, height, width, dtype=dtype), randn(1, channels, (height + 1) // 2, width // 2, seed=3)]
    parameters = [tensor.to(dtype) for tensor in creff_parameters(channels, scale=0.2)]
    classifier = [randn(12, channels, seed=8, dtype=dtype, scale=0.3), randn(12, seed=9, dtype=dtype)]
    motion = vectors(1, height, width, 2)
    options = {"block": 8, "frame_size": (8 * height, 8 * width)}
    inputs = [maps[0], maps[1].to(dtype), motion, *parameters]
    with torch.no_grad():
        for window in (3, 7):
            expected = ops.creff(*inputs, window=window, **options)
            got = ops.creff(*map(moved, inputs), window=window, **options)
            assert close(got, expected, 8 * TOLERANCE[dtype])
            logits = ops.creff_logits(*inputs, *classifier, window=window, **options)
            on_gpu = [moved(tensor) for tensor in (*inputs, *classifier)]
            assert close(ops.creff_logits(*on_gpu, window=window, **options), logits, 16 * TOLERANCE[dtype])
            labels = ops.creff_labels(*on_gpu, window=window, **options).cpu()
            margin = logits.double().topk(2, 1).values.diff(dim=1)[:, 0].abs()
            sure = margin > 32 * TOLERANCE[dtype] * float(logits.abs().max())
            assert torch.equal(labels[sure], logits.argmax(1).to(torch.uint8)[sure])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_same_bits_twice(dtype):
    feature = randn(2, 64, 33, 47, dtype=dtype).to(DEVICE).requires_grad_()
    motion = vectors(2, 5, 6, 2, reach=200).to(DEVICE)
    query = randn(2, 64, 33, 47, seed=2, dtype=dtype).to(DEVICE)
    runs = []
    for _ in range(3):
        feature.grad = None
        warped = ops.mv_warp(feature, motion, block=8, frame_size=(40, 48))
        ops.local_attention(query, warped, warped, window=7).float().square().sum().backward()
        runs.append(feature.grad.clone())
    assert torch.equal(runs[0], runs[1]) and torch.equal(runs[1], runs[2])


def fusion_inputs(channels=64, height=40, width=56, dtype=torch.bfloat16, device=DEVICE):
    maps = [
        channels_last(randn(1, channels, height, width, dtype=dtype)),
        channels_last(randn(1, channels, height // 2, width // 2, seed=1, dtype=dtype)),
    ]
    parameters = [tensor.to(dtype) for tensor in creff_parameters(channels, scale=0.2)]
    motion = vectors(1, height // 8, width // 8, 2)
    return [tensor.to(device) for tensor in (*maps, motion, *parameters)]


OPTIONS = {"block": 8, "frame_size": (40, 56)}


def test_cuda_graph_replays_with_new_inputs():
    inputs, later = fusion_inputs(), fusion_inputs()
    later[0] = later[0] * 2
    with torch.no_grad():
        ops.creff(*inputs, **OPTIONS)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = ops.creff(*inputs, **OPTIONS)
        for given in (inputs, later, inputs):
            expected = ops.creff(*given, **OPTIONS)
            inputs[0].copy_(given[0].clone())
            graph.replay()
            torch.cuda.synchronize()
            assert torch.equal(out, expected)
            inputs[0].copy_(fusion_inputs()[0])


def test_cuda_graph_of_a_training_step():
    query, key, value = (randn(1, 64, 24, 40, seed=i, dtype=torch.float32).to(DEVICE) for i in range(3))
    query.requires_grad_()

    def step():
        (grad,) = torch.autograd.grad(ops.local_attention(query, key, value, window=7).square().sum(), query)
        return grad

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(captured, step())


def test_runs_on_the_callers_stream():
    """Work put on another stream before must be seen, and nothing may run on the default one."""
    inputs = fusion_inputs()
    with torch.no_grad():
        expected = ops.creff(*inputs, **OPTIONS)
        stream = torch.cuda.Stream()
        blank = torch.zeros_like(inputs[0])
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)
            blank.copy_(inputs[0])
            out = ops.creff(blank, *inputs[1:], **OPTIONS)
            assert not torch.cuda.current_stream().query()  # queued behind the sleep
        stream.synchronize()
    assert torch.equal(out, expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
def test_the_second_device():
    first, second = fusion_inputs(), fusion_inputs(device="cuda:1")
    with torch.no_grad(), torch.cuda.device(0):
        out = ops.creff(*second, **OPTIONS)
        assert out.device == torch.device("cuda:1")
        assert torch.equal(out.cpu(), ops.creff(*first, **OPTIONS).cpu())


def test_two_devices_in_one_call_are_refused():
    feature, motion = randn(1, 8, 8, 8, dtype=torch.float32), vectors(1, 1, 1, 2)
    with pytest.raises(ValueError, match="device"):
        ops.mv_warp(feature.to(DEVICE), motion, block=16, frame_size=(16, 16))
    with pytest.raises((RuntimeError, NotImplementedError, ValueError)):
        torch.ops.arseg.mv_warp(feature.to(DEVICE), motion, block=16, frame_size=[16, 16])


def test_autocast_casts_attention_and_leaves_warps():
    query = randn(1, 8, 9, 10, dtype=torch.float32).to(DEVICE)
    motion = vectors(1, 1, 1, 2).to(DEVICE)
    with torch.autocast("cuda", dtype=torch.float16):
        assert ops.local_attention(query, query, query, window=3).dtype == torch.float16
        assert ops.mv_warp(query, motion, block=16, frame_size=(16, 16)).dtype == torch.float32


def test_autocast_gives_one_dtype_with_gradients_and_without():
    reference_map, low_res, motion, *parameters = fusion_inputs(dtype=torch.float32)
    for wanted in (False, True):
        for parameter in parameters:
            parameter.requires_grad_(wanted)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            assert ops.creff(reference_map, low_res, motion, *parameters, **OPTIONS).dtype == torch.bfloat16


def test_out_is_followed_by_autograd_and_shares_no_memory():
    inputs = fusion_inputs(dtype=torch.float32)
    buffer = torch.zeros_like(inputs[0])
    weight = torch.ones_like(buffer, requires_grad=True)
    y = (buffer * weight).sum()
    ops.creff(*inputs, **OPTIONS, out=buffer)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
    for out in (inputs[0], buffer[:, :1].expand_as(buffer), weight):
        with pytest.raises(ValueError, match=r"^creff: out "):
            ops.creff(*inputs, **OPTIONS, out=out)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("align_corners", [False, True])
def test_labels_of_inf_and_nan(dtype, align_corners):
    for value in (float("nan"), float("inf"), float("-inf")):
        logits = randn(1, 12, 5, 7, dtype=dtype)
        logits[0, 1, 1, 2] = logits[0, 9, 1, 2] = logits[0, 2, 0, 0] = value
        expected = ops.resize_labels(logits, (16, 25), align_corners=align_corners)
        found = ops.resize_labels(logits.to(DEVICE), (16, 25), align_corners=align_corners)
        assert torch.equal(found.cpu(), expected)


def test_compile_without_graph_breaks():
    torch.compiler.reset()
    inputs = fusion_inputs(dtype=torch.float32)

    def run(*tensors):
        return ops.creff(*tensors, **OPTIONS) * 2

    with torch.no_grad():
        compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
        assert error(compiled(*inputs), run(*inputs)) < 1e-5


def test_maps_of_more_than_two_to_the_31_elements():
    channels, height, width = 64, 6000, 6000
    if torch.cuda.mem_get_info()[0] < 24 << 30:
        pytest.skip("needs 24 GB of GPU memory")
    feature = torch.zeros(1, channels, height, width, dtype=torch.bfloat16, device=DEVICE)
    feature = feature.contiguous(memory_format=torch.channels_last)
    corner = randn(1, channels, 16, 16, dtype=torch.bfloat16).to(DEVICE)
    feature[:, :, -16:, -16:] = corner
    motion = torch.zeros(1, height // 16, width // 16, 2, dtype=torch.int16, device=DEVICE)
    with torch.no_grad():
        warped = ops.mv_warp(feature, motion, block=16, frame_size=(height, width))
        assert torch.equal(warped[:, :, -16:, -16:], corner)
        out = ops.local_attention(feature, feature, feature, window=3)
        small = ops.local_attention(corner, corner, corner, window=3)
        assert error(out[:, :, -14:, -14:], small[:, :, 2:, 2:]) < 2e-2
