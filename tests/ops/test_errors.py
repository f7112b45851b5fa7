"""Errors name the argument, what was expected and what came: the same words from the Python function, the
compiled kernel and the fake kernel."""

import re

import pytest
import torch
from helpers.op_samples import creff_parameters
from torch._subclasses.fake_tensor import FakeTensorMode

from arseg_ext import ops


def maps(*size, dtype=torch.float32):
    return torch.zeros(*size, dtype=dtype)


def mv(feature=(2, 3, 4, 5), dtype=torch.float32, motion=(2, 4, 5, 2), motion_dtype=torch.int16, **options):
    options = {"block": 16, "frame_size": [64, 80], **options}
    return "mv_warp", (maps(*feature, dtype=dtype), maps(*motion, dtype=motion_dtype)), options


def flow(feature=(2, 3, 4, 5), dtype=torch.float32, field=(2, 4, 5, 2), field_dtype=torch.float32, **options):
    return "flow_warp", (maps(*feature, dtype=dtype), maps(*field, dtype=field_dtype)), options


def attention(query=(2, 3, 4, 5), key=(2, 3, 4, 5), value=(2, 3, 4, 5), dtypes=(torch.float32,) * 3, **options):
    options = {"window": [7, 7], "outside": "zero", "scale": 1.0, **options}
    shapes = (query, key, value)
    return "local_attention", tuple(maps(*s, dtype=d) for s, d in zip(shapes, dtypes, strict=True)), options


F32, F64, I16, I64 = torch.float32, torch.float64, torch.int16, torch.int64
CASES = [
    (mv(feature=(3, 4, 5)), "mv_warp: feature must have 4 dimensions [N, C, H, W], got shape [3, 4, 5]"),
    (mv(dtype=I64), "mv_warp: feature must be float32, float64, float16 or bfloat16, got int64"),
    (mv(motion_dtype=F32), "mv_warp: motion must be int16, got float32"),
    (mv(motion=(2, 4, 5, 3)), "mv_warp: motion must have shape [N, Hb, Wb, 2], got [2, 4, 5, 3]"),
    (mv(motion=(2, 4, 5)), "mv_warp: motion must have shape [N, Hb, Wb, 2], got [2, 4, 5]"),
    (mv(motion=(1, 4, 5, 2)), "mv_warp: motion must have the batch size of feature, 2, got 1"),
    (mv(block=5), "mv_warp: block must be 4, 8 or 16, got 5"),
    (
        mv(frame_size=[0, 80]),
        "mv_warp: frame_size must be (height, width) in video pixels, both positive, got [0, 80]",
    ),
    (
        mv(frame_size=[65, 80]),
        "mv_warp: motion must have [5, 5] blocks of 16 pixels for frame_size [65, 80], or [5, 5] where the frame is "
        "padded to whole macroblocks of 16, got [4, 5]",
    ),
    (
        mv(frame_size=[16, 20], block=4, motion=(2, 4, 6, 2)),
        "mv_warp: motion must have [4, 5] blocks of 4 pixels for frame_size [16, 20], or [4, 8] where the frame is "
        "padded to whole macroblocks of 16, got [4, 6]",
    ),
    (
        mv(frame_size=[256, 320], block=16, motion=(2, 64, 80, 2)),
        "mv_warp: motion must have [16, 20] blocks of 16 pixels for frame_size [256, 320], or [16, 20] where the frame "
        "is padded to whole macroblocks of 16, got [64, 80]",
    ),
    (mv(grid="old"), "mv_warp: grid must be 'aligned' or 'legacy', got 'old'"),
    (flow(feature=(4, 5)), "flow_warp: feature must have 4 dimensions [N, C, H, W], got shape [4, 5]"),
    (flow(dtype=I16), "flow_warp: feature must be float32, float64, float16 or bfloat16, got int16"),
    (flow(field_dtype=I16), "flow_warp: flow must be float32, float64, float16 or bfloat16, got int16"),
    (flow(field=(2, 5, 4, 2)), "flow_warp: flow must have shape [2, 4, 5, 2], got [2, 5, 4, 2]"),
    (flow(grid=""), "flow_warp: grid must be 'aligned' or 'legacy', got ''"),
    (attention(query=(3, 4, 5)), "local_attention: query must have 4 dimensions [N, C, H, W], got shape [3, 4, 5]"),
    (
        attention(dtypes=(I64, I64, I64)),
        "local_attention: query must be float32, float64, float16 or bfloat16, got int64",
    ),
    (attention(dtypes=(F32, F64, F32)), "local_attention: key must have the dtype of query, float32, got float64"),
    (attention(dtypes=(F32, F32, F64)), "local_attention: value must have the dtype of query, float32, got float64"),
    (attention(key=(2, 3, 4, 6)), "local_attention: key must have shape [2, 3, 4, 5], got [2, 3, 4, 6]"),
    (attention(value=(2, 9, 5, 5)), "local_attention: value must have shape [2, 9, 4, 5], got [2, 9, 5, 5]"),
    (
        attention(value=(2, 9, 5)),
        "local_attention: value must have 4 dimensions [N, C, H, W], got shape [2, 9, 5]",
    ),
    (
        attention(window=[4, 7]),
        "local_attention: window must be odd and between 3 and 15, an int or (height, width), got [4, 7]",
    ),
    (
        attention(window=[7, 17]),
        "local_attention: window must be odd and between 3 and 15, an int or (height, width), got [7, 17]",
    ),
    (attention(outside="wrap"), "local_attention: outside must be 'zero' or 'masked', got 'wrap'"),
]


@pytest.mark.parametrize(("call", "sentence"), CASES, ids=[sentence[:60] for _, sentence in CASES])
def test_same_words_from_every_side(call, sentence):
    name, args, options = call
    with pytest.raises(ValueError) as python:
        getattr(ops, name)(*args, **options)
    assert str(python.value) == sentence
    direct = getattr(torch.ops.arseg, name)
    with pytest.raises(RuntimeError) as compiled:
        direct(*args, **options)
    assert str(compiled.value) == sentence
    with FakeTensorMode() as mode, pytest.raises(RuntimeError) as fake:
        direct(*(mode.from_tensor(tensor) for tensor in args), **options)
    assert str(fake.value) == sentence
    with FakeTensorMode() as mode, pytest.raises(ValueError) as traced:
        getattr(ops, name)(*(mode.from_tensor(tensor) for tensor in args), **options)
    assert str(traced.value) == sentence


def test_backward_operators_check_too():
    op = torch.ops.arseg
    q = maps(1, 2, 3, 4)
    options = {"window": [3, 3], "outside": "zero", "scale": 1.0}
    calls = [
        (
            lambda: op._local_attention_backward(q[:, :1], q, q, q, q[:, 0], **options),
            "_local_attention_backward: grad",
        ),
        (lambda: op._local_attention_backward(q, q, q, q, q, **options), "_local_attention_backward: logsumexp"),
        (
            lambda: op._flow_warp_backward_flow(q[:, :1], q, maps(1, 3, 4, 2), grid="aligned"),
            "_flow_warp_backward_flow: grad",
        ),
        (
            lambda: op._flow_warp_backward_feature(q, maps(1, 4, 3, 2), grid="aligned"),
            "_flow_warp_backward_feature: flow",
        ),
        (
            lambda: op._mv_warp_backward(q, maps(1, 1, 1, 2), block=16, frame_size=[9, 9], grid="aligned"),
            "_mv_warp_backward: motion",
        ),
    ]
    for call, start in calls:
        with pytest.raises(RuntimeError, match=f"^{start} must "):
            call()
        with FakeTensorMode(allow_non_fake_inputs=True), pytest.raises(RuntimeError, match=f"^{start} must "):
            call()


def creff(**changes):
    arguments = dict(
        zip(
            ("query_weight", "query_bias", "key_weight", "key_bias", "value_weight", "value_bias"),
            creff_parameters(3, torch.float32),
            strict=True,
        )
    )
    arguments |= {
        "reference": maps(2, 3, 4, 5),
        "low_res": maps(2, 3, 2, 3),
        "motion": maps(2, 4, 5, 2, dtype=I16),
        "block": 16,
        "frame_size": [64, 80],
        "window": [7, 7],
    }
    return arguments | changes


CREFF_CASES = [
    ({"reference": maps(3, 4, 5)}, "creff: reference must have 4 dimensions [N, C, H, W], got shape [3, 4, 5]"),
    ({"low_res": maps(2, 3, 2)}, "creff: low_res must have 4 dimensions [N, C, H, W], got shape [2, 3, 2]"),
    ({"low_res": maps(2, 3, 2, 3, dtype=F64)}, "creff: low_res must have the dtype of reference, float32, got float64"),
    (
        {"low_res": maps(2, 4, 2, 3)},
        "creff: low_res must have the batch size and channels of reference, [2, 3], got [2, 4]",
    ),
    ({"low_res": maps(2, 3, 0, 3)}, "creff: low_res must not be empty, got shape [2, 3, 0, 3]"),
    ({"key_weight": maps(3, 3, 3, 3)}, "creff: key_weight must have shape [3, 1, 3, 3], got [3, 3, 3, 3]"),
    ({"value_bias": maps(4)}, "creff: value_bias must have shape [3], got [4]"),
    ({"query_bias": maps(3, dtype=F64)}, "creff: query_bias must have the dtype of reference, float32, got float64"),
    ({"block": None}, "creff: an int16 motion field needs block and frame_size, got block None, frame_size [64, 80]"),
    (
        {"motion": maps(2, 4, 5, 2)},
        "creff: block and frame_size belong to an int16 motion field, got motion in float32",
    ),
    ({"motion": maps(2, 4, 5, 2, dtype=I64)}, "creff: motion must be int16, got int64"),
    (
        {"motion": maps(2, 4, 4, 2), "block": None, "frame_size": None},
        "creff: flow must have shape [2, 4, 5, 2], got [2, 4, 4, 2]",
    ),
    (
        {"window": [2, 2]},
        "creff: window must be odd and between 3 and 15, an int or (height, width), got [2, 2]",
    ),
    ({"outside": "nan"}, "creff: outside must be 'zero' or 'masked', got 'nan'"),
    ({"grid": "x"}, "creff: grid must be 'aligned' or 'legacy', got 'x'"),
]


@pytest.mark.parametrize(("changes", "sentence"), CREFF_CASES, ids=[sentence[:60] for _, sentence in CREFF_CASES])
def test_creff(changes, sentence):
    for function, error in ((ops.creff, ValueError), (torch.ops.arseg.creff, RuntimeError)):
        with pytest.raises(error) as real:
            function(**creff(**changes))
        assert str(real.value) == sentence
        with FakeTensorMode() as mode, pytest.raises(error) as fake:
            arguments = creff(**changes)
            function(**{k: mode.from_tensor(v) if isinstance(v, torch.Tensor) else v for k, v in arguments.items()})
        assert str(fake.value) == sentence


def test_under_autocast_too():
    query = maps(1, 2, 3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(ValueError, match="key must have shape"):
        ops.local_attention(query, query[..., :3].bfloat16(), query, window=3)


def test_devices_must_match():
    meta = torch.zeros(1, 2, 3, 4, device="meta")
    here = torch.zeros(1, 2, 3, 4)
    with pytest.raises(ValueError, match="local_attention: key must be on the device of query, cpu, got meta"):
        ops.local_attention(here, meta, here, window=3)
    with pytest.raises(ValueError, match="flow_warp: flow must be on the device of feature, cpu, got meta"):
        ops.flow_warp(here, torch.zeros(1, 3, 4, 2, device="meta"))


@pytest.mark.parametrize(
    ("logits", "size", "sentence"),
    [
        (maps(3, 4, 5), (2, 2), "resize_labels: logits must have 4 dimensions [N, K, H, W], got shape [3, 4, 5]"),
        (maps(1, 257, 2, 2), (2, 2), "resize_labels: logits must have 1 to 256 classes, got 257"),
        (maps(1, 3, 0, 2), (2, 2), "resize_labels: logits must not be empty, got shape [1, 3, 0, 2]"),
        (maps(1, 3, 2, 2), (2, -1), "resize_labels: size must be (height, width), got [2, -1]"),
    ],
)
def test_resize_labels(logits, size, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        ops.resize_labels(logits, size)
    with pytest.raises(RuntimeError, match=re.escape(sentence)):
        torch.ops.arseg.resize_labels(logits, size)
