"""Arguments of the wrong type: a sentence that names operator and argument, from every function and module."""

import numpy as np
import pytest
import torch
from helpers.op_samples import creff_parameters, vectors
from torch.nn.utils import prune

import arseg_ext
from arseg_ext import ops

MAP = torch.zeros(1, 3, 4, 5)
LOW = torch.zeros(1, 3, 2, 3)
MOTION = vectors(1, 4, 5, 2)
FLOW = torch.zeros(1, 4, 5, 2)
PARAMETERS = dict(
    zip(
        ("query_weight", "query_bias", "key_weight", "key_bias", "value_weight", "value_bias"),
        creff_parameters(3, torch.float32),
        strict=True,
    )
)
FIELD = {"block": 8, "frame_size": (32, 40)}
FUSED = {"reference": MAP, "low_res": LOW, "motion": MOTION, **PARAMETERS, **FIELD, "window": 3}
HEAD = {"classifier_weight": torch.zeros(6, 3), "classifier_bias": torch.zeros(6)}
GOOD = {
    "mv_warp": {"feature": MAP, "motion": MOTION, **FIELD, "grid": "aligned"},
    "flow_warp": {"feature": MAP, "flow": FLOW, "grid": "aligned"},
    "local_attention": {"query": MAP, "key": MAP, "value": MAP, "window": 3, "outside": "zero", "scale": 1.0},
    "creff": {**FUSED, "grid": "aligned", "outside": "zero"},
    "creff_logits": {**FUSED, **HEAD, "grid": "aligned", "outside": "zero"},
    "creff_labels": {**FUSED, **HEAD, "grid": "aligned", "outside": "zero"},
    "resize_labels": {"logits": MAP, "size": (8, 10), "align_corners": False},
}
TENSOR = (MAP.numpy(), [[1.0]], None, "map", 3.0, MAP.to_sparse())
WRONG = {
    "block": (4.0, "4", True, [4], torch.tensor(4), np.float32(4), 5, -4, 0),
    "frame_size": (8, 32.0, "32", (32.0, 40.0), (32,), (32, 40, 1), (True, 40), np.array([32, 40]), (-32, 40), {}),
    "window": ("77", 7.0, "7", None, (3.0, 3), (3, 3, 3), (), True, np.array([3, 3]), -3, 4, 17, {3: 3}),
    "outside": (None, 0, "Zero", b"zero", ["zero"], np.array(["zero", "x"])),
    "grid": (None, 0, "align", b"aligned", ["legacy"]),
    "scale": (None, "1", True, torch.tensor(1.0), [1.0], 1j),
    "size": (8, None, "88", (8.0, 10), (8,), (8, -1), (True, 8), np.array([8, 8])),
    "align_corners": (None, 1, "yes"),
}
OPTIONAL = ("block", "frame_size")


def cases():
    for op, arguments in GOOD.items():
        for name in arguments:
            wrong = TENSOR if isinstance(arguments[name], torch.Tensor) else WRONG[name]
            if name in OPTIONAL and op == "mv_warp":
                wrong = (*wrong, None)
            for value in wrong:
                yield pytest.param(op, name, value, id=f"{op}-{name}-{type(value).__name__}-{str(value)[:12]}")


@pytest.mark.parametrize(("op", "name", "value"), list(cases()))
def test_each_argument(op, name, value):
    arguments = GOOD[op] | {name: value}
    with pytest.raises((TypeError, ValueError)) as raised:
        getattr(ops, op)(**arguments)
    message = str(raised.value)
    assert message.startswith(f"{op}: {name} must ") and ", got " in message


@pytest.mark.parametrize("op", GOOD)
def test_the_good_ones_and_their_likes(op):
    expected = getattr(ops, op)(**GOOD[op])
    likes = {"block": np.int64(8), "frame_size": torch.Size((32, 40)), "window": (np.int32(3), 3), "scale": 1}
    likes["size"] = [np.int64(8), 10]
    arguments = GOOD[op] | {name: value for name, value in likes.items() if name in GOOD[op]}
    assert torch.equal(getattr(ops, op)(**arguments), expected)


@pytest.mark.parametrize("op", ["mv_warp", "creff", "creff_logits", "creff_labels"])
def test_a_field_of_another_block_is_refused(op):
    """A field at blocks of 4 has more than enough vectors for blocks of 8 or 16: it must not be taken for one."""
    arguments = GOOD[op] | {"motion": vectors(1, 8, 10, 2), "block": 4}
    getattr(ops, op)(**arguments)
    for block in (8, 16):
        with pytest.raises(ValueError, match=rf"^{op}: motion must have \[.*\] blocks of {block} pixels"):
            getattr(ops, op)(**arguments | {"block": block})
    padded = GOOD[op] | {"motion": vectors(1, 8, 12, 2), "block": 4}  # 40 pixels to 48
    getattr(ops, op)(**padded)
    for rows, columns in ((8, 11), (9, 10), (7, 10), (8, 13), (12, 12)):
        with pytest.raises(ValueError, match=f"^{op}: motion must have"):
            getattr(ops, op)(**padded | {"motion": vectors(1, rows, columns, 2)})


FUSED_RAW = {**FUSED, "window": [3, 3], "frame_size": [32, 40], "grid": "aligned", "outside": "zero"}
RAW_CASES = [
    ({"low_res": LOW[:, :2]}, "low_res must have the batch size and channels of reference, [1, 3], got [1, 2]"),
    ({"query_weight": torch.zeros(3, 3, 3, 3)}, "query_weight must have shape [3, 1, 3, 3], got [3, 3, 3, 3]"),
    ({"key_weight": torch.zeros(3, 1, 5, 5)}, "key_weight must have shape [3, 1, 3, 3], got [3, 1, 5, 5]"),
    ({"value_bias": torch.zeros(4)}, "value_bias must have shape [3], got [4]"),
    (
        {"value_weight": torch.zeros(3, 1, 3, 3).double()},
        "value_weight must have the dtype of reference, ",
    ),
    ({"query_bias": torch.zeros(3).half()}, "query_bias must have the dtype of reference, float32, got float16"),
    ({"motion": vectors(1, 5, 5, 2)}, "motion must have [4, 5] blocks of 8 pixels for frame_size [32, 40], or "),
    ({"window": [3, 4]}, "window must be odd and between 3 and 15, an int or (height, width), got [3, 4]"),
]


@pytest.mark.parametrize(("change", "sentence"), RAW_CASES, ids=[sentence[:40] for _, sentence in RAW_CASES])
def test_the_fused_operators_name_their_arguments(change, sentence):
    arguments = FUSED_RAW | change
    raw = torch.ops.arseg
    classified = arguments | {"classifier_weight": torch.zeros(6, 3), "classifier_bias": torch.zeros(6)}
    calls = {
        "creff": [
            lambda: raw.creff(**arguments),
            lambda: raw._creff_into(**arguments, out=MAP.clone()),
            lambda: raw._creff_out(**arguments, out=MAP.clone()),
        ],
        "creff_logits": [lambda: raw.creff_logits(**classified)],
        "creff_labels": [lambda: raw.creff_labels(**classified)],
    }
    for op, each in calls.items():
        for call in each:
            with pytest.raises(RuntimeError) as raised:
                call()
            assert str(raised.value).startswith(f"{op}: {sentence}")


def head(**changes):
    return torch.nn.Conv2d(**{"in_channels": 3, "out_channels": 6, "kernel_size": 1} | changes)


@pytest.mark.parametrize("method", ["logits", "labels"])
def test_classifiers(method):
    fusion = arseg_ext.CReFF(3, window=3).eval()
    call = lambda classifier: getattr(fusion, method)(MAP + 1, LOW, MOTION, classifier, **FIELD)  # noqa: E731
    plain = head()
    without = head(bias=False)
    without.weight = plain.weight
    with torch.no_grad():
        plain.bias.zero_()
        assert torch.equal(call(without), call(plain))
    wrong = [
        head(kernel_size=3),
        head(kernel_size=3, padding=1),
        head(padding=1),
        head(stride=2),
        head(groups=3),
        head(in_channels=4),
        torch.nn.Linear(3, 6),
        torch.nn.Conv1d(3, 6, 1),
        None,
        plain.weight,
    ]
    for classifier in wrong:
        with pytest.raises((TypeError, ValueError), match=f"^creff_{method}: classifier must be a 1x1 nn.Conv2d of 3 "):
            call(classifier)
    call(head(padding="same"))


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("MVWarp", {}),
        ("MVWarp", {"block": None}),
        ("MVWarp", {"block": 4.0}),
        ("MVWarp", {"block": 5}),
        ("MVWarp", {"block": 4, "grid": "new"}),
        ("LocalAttention", {"window": "77"}),
        ("LocalAttention", {"window": 2}),
        ("LocalAttention", {"outside": None}),
        ("LocalAttention", {"scale": "1"}),
        ("CReFF", {"channels": "64"}),
        ("CReFF", {"channels": 0}),
        ("CReFF", {"channels": 3.0}),
        ("CReFF", {"channels": 3, "window": 3.0}),
        ("CReFF", {"channels": 3, "grid": 1}),
        ("CReFF", {"channels": 3, "outside": "all"}),
    ],
)
def test_modules_refuse_when_they_are_made(module, arguments):
    name = [*arguments, "block"][-1] if not arguments else list(arguments)[-1]
    with pytest.raises((TypeError, ValueError), match=f"{module}.*{name}"):
        getattr(arseg_ext, module)(**arguments)


def test_modules_whose_parameters_are_not_the_whole_of_them_are_refused():
    """A fused operator takes the parameters alone: what a hook or another geometry would do would be left out."""
    where = {"block": 4, "frame_size": (16, 24)}
    maps = torch.randn(1, 8, 4, 6), torch.randn(1, 8, 2, 3), torch.zeros(1, 4, 6, 2, dtype=torch.int16)

    def fusion():
        return arseg_ext.CReFF(8)

    pruned, hooked, moved = fusion(), fusion(), fusion()
    prune.l1_unstructured(pruned.lr_query_conv, "weight", 0.5)
    hooked.hr_key_conv.register_forward_hook(lambda module, inputs, output: output * 2)
    moved.hr_value_conv = torch.nn.Conv2d(8, 8, 3, padding=0, groups=8)
    for module, name in ((pruned, "lr_query_conv"), (hooked, "hr_key_conv"), (moved, "hr_value_conv")):
        with pytest.raises(ValueError, match=f"creff: {name} must "):
            module(*maps, **where)
    prune.remove(pruned.lr_query_conv, "weight")
    assert pruned(*maps, **where).shape == (1, 8, 4, 6)
    head = torch.nn.Conv2d(8, 3, 1)
    head.register_forward_hook(lambda module, inputs, output: output * 2)
    with pytest.raises(ValueError, match="creff_logits: classifier must have no hooks"):
        fusion().logits(*maps, head, **where)


def test_nested_tensors_are_refused():
    nested = torch.nested.nested_tensor([torch.randn(3, 4, 5), torch.randn(3, 6, 5)])
    with pytest.raises(TypeError, match="local_attention: query must be a dense tensor, got a nested one"):
        arseg_ext.local_attention(nested, nested, nested, window=3)
