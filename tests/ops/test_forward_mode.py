"""Forward-mode derivatives: right or refused in a sentence, never zero."""

import pytest
import torch
from helpers.op_samples import GRIDS, OUTSIDES, creff_parameters, error, randn, vectors
from torch.autograd import forward_ad, gradcheck

import arseg_ext
from arseg_ext import ops

FIELD = {"block": 16, "frame_size": (40, 56)}
RAW = {"block": 16, "frame_size": [40, 56], "grid": "aligned"}
WINDOW = {"window": [3, 5], "outside": "zero", "scale": 0.7}


def operators():
    """By name: a function of floating tensors, and these."""
    feature, flow = randn(1, 3, 5, 7), randn(1, 5, 7, 2, scale=1.5)
    query, key, value = (randn(1, 3, 5, 7, seed=seed) for seed in (1, 2, 3))
    low, motion = randn(1, 3, 3, 4, seed=4), vectors(1, 3, 4, 2)
    parameters = creff_parameters(3)
    classifier = randn(4, 3, seed=5), randn(4, seed=6)
    raw = torch.ops.arseg
    module = arseg_ext.CReFF(3, window=3).double()
    return {
        "mv_warp": (lambda x: ops.mv_warp(x, motion, **FIELD), (feature,)),
        "flow_warp": (ops.flow_warp, (feature, flow)),
        "flow_warp legacy": (lambda x, f: ops.flow_warp(x, f, grid="legacy"), (feature, flow)),
        "local_attention": (lambda q, k, v: ops.local_attention(q, k, v, window=(3, 5)), (query, key, value)),
        "local_attention masked": (
            lambda q, k, v: ops.local_attention(q, k, v, window=3, outside="masked", scale=0.3),
            (query, key, value),
        ),
        "creff": (lambda r, x, *p: ops.creff(r, x, motion, *p, window=3, **FIELD), (feature, low, *parameters)),
        "creff dense": (lambda r, x, f, *p: ops.creff(r, x, f, *p, window=3), (feature, low, flow, *parameters)),
        "creff_logits": (
            lambda r, x, *p: ops.creff_logits(r, x, motion, *p, window=3, **FIELD),
            (feature, low, *parameters, *classifier),
        ),
        "raw mv_warp": (lambda x: raw.mv_warp(x, motion, **RAW), (feature,)),
        "raw flow_warp": (lambda x, f: raw.flow_warp(x, f), (feature, flow)),
        "raw local_attention": (lambda *x: raw.local_attention(*x, window=[3, 3]), (query, key, value)),
        "raw _local_attention": (lambda *x: raw._local_attention(*x, **WINDOW)[0], (query, key, value)),
        "raw creff": (lambda r, x, *p: raw.creff(r, x, motion, *p, **FIELD), (feature, low, *parameters)),
        "raw creff dense": (
            lambda *x: raw.creff(*x, window=[3, 3], outside="masked", grid="legacy"),
            (feature, low, flow, *parameters),
        ),
        "raw creff_logits": (
            lambda r, x, *p: raw.creff_logits(r, x, motion, *p, **FIELD),
            (feature, low, *parameters, *classifier),
        ),
        "MVWarp": (lambda x: arseg_ext.MVWarp(16)(x, motion, frame_size=(40, 56)), (feature,)),
        "LocalAttention": (arseg_ext.LocalAttention(3), (query, key, value)),
        "CReFF": (lambda r, x: module(r, x, motion, **FIELD).detach(), (feature, low)),
        "raw _mv_warp_backward": (lambda g: raw._mv_warp_backward(g, motion, **RAW), (feature,)),
        "raw _flow_warp_backward_feature": (
            lambda g: raw._flow_warp_backward_feature(g, flow, grid="legacy"),
            (feature,),
        ),
        "raw _flow_warp_backward_flow": (
            lambda g: raw._flow_warp_backward_flow(g, query, flow, grid="aligned"),
            (feature,),
        ),
        "raw _local_attention_backward": (
            lambda g: raw._local_attention_backward(
                g, query, key, value, raw._local_attention(query, key, value, **WINDOW)[1], **WINDOW
            )[2],
            (feature,),
        ),
    }


ALL = operators()
EACH = pytest.mark.parametrize("name", ALL)


def slopes(name):
    """Of the operator along random tangents, by central differences."""
    function, inputs = ALL[name]
    tangents = [randn(*x.shape, seed=20 + i) for i, x in enumerate(inputs)]
    step = 1e-6
    with torch.no_grad():
        ahead = function(*(x + step * t for x, t in zip(inputs, tangents, strict=True)))
        behind = function(*(x - step * t for x, t in zip(inputs, tangents, strict=True)))
    return function, inputs, tangents, (ahead - behind) / (2 * step)


@EACH
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad])
def test_dual_numbers(name, mode):
    function, inputs, tangents, expected = slopes(name)
    with mode(), forward_ad.dual_level():
        out = function(*(forward_ad.make_dual(x, t) for x, t in zip(inputs, tangents, strict=True)))
        value, found = forward_ad.unpack_dual(out)
        if name == "CReFF":  # detached: its own parameters want gradients
            assert found is None
        else:
            assert error(found, expected) < 1e-6 * max(1.0, float(expected.abs().max()))
        assert error(value, function(*inputs)) < 1e-9


@EACH
def test_jvp(name):
    function, inputs, tangents, expected = slopes(name)
    if name == "CReFF":
        pytest.skip("detached")
    value, found = torch.func.jvp(function, inputs, tuple(tangents))
    assert error(found, expected) < 1e-6 * max(1.0, float(expected.abs().max()))
    assert error(value, function(*inputs)) < 1e-9


@EACH
def test_each_argument_alone(name):
    function, inputs, tangents, _ = slopes(name)
    if name == "CReFF":
        pytest.skip("detached")
    for i, (x, tangent) in enumerate(zip(inputs, tangents, strict=True)):
        alone = lambda y, i=i: function(*inputs[:i], y, *inputs[i + 1 :])  # noqa: E731
        with torch.no_grad():
            expected = (alone(x + 1e-6 * tangent) - alone(x - 1e-6 * tangent)) / 2e-6
        found = torch.func.jvp(alone, (x,), (tangent,))[1]
        assert error(found, expected) < 1e-6 * max(1.0, float(expected.abs().max())), i


@pytest.mark.parametrize("grid", GRIDS)
def test_gradcheck_warps(grid):
    feature, flow = randn(1, 2, 3, 4).requires_grad_(), randn(1, 3, 4, 2, scale=1.5).requires_grad_()
    checks = {"check_forward_ad": True, "check_batched_forward_grad": True, "check_undefined_grad": False}
    assert gradcheck(lambda f, d: ops.flow_warp(f, d, grid=grid), (feature, flow), **checks)
    motion = vectors(1, 3, 4, 2)
    assert gradcheck(lambda f: ops.mv_warp(f, motion, grid=grid, **FIELD), (feature,), **checks)


@pytest.mark.slow
@pytest.mark.parametrize("outside", OUTSIDES)
def test_gradcheck_attention(outside):
    inputs = [randn(1, 2, 3, 4, seed=seed).requires_grad_() for seed in (1, 2, 3)]
    options = {"window": 3, "outside": outside, "scale": 0.6}
    assert gradcheck(lambda *x: ops.local_attention(*x, **options), inputs, check_forward_ad=True)


def test_gradcheck_creff():
    inputs = [x.requires_grad_() for x in (randn(1, 2, 4, 5), randn(1, 2, 2, 3, seed=5), *creff_parameters(2))]
    motion = vectors(1, 3, 4, 2)
    assert gradcheck(
        lambda r, x, *p: ops.creff(r, x, motion, *p, window=3, **FIELD), inputs, check_forward_ad=True, fast_mode=True
    )


@pytest.mark.parametrize("name", ["mv_warp", "flow_warp", "local_attention", "raw creff dense", "creff_logits"])
def test_jacobians_in_both_modes(name):
    function, inputs = ALL[name]
    forward = torch.func.jacfwd(function)(*inputs)
    reverse = torch.autograd.functional.jacobian(function, inputs)[0]
    assert error(forward, reverse) < 1e-9 and reverse.any()


@pytest.mark.parametrize("name", ["mv_warp", "local_attention", "creff", "raw creff dense", "raw local_attention"])
def test_under_vmap(name):
    """vmap hides the tangents, until it runs each of the batch."""
    function, inputs, tangents, expected = slopes(name)
    stacked = tuple(x[None] for x in inputs)
    found = torch.func.jvp(torch.func.vmap(function), stacked, tuple(t[None] for t in tangents))[1]
    assert error(found[0], expected) < 1e-6 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("name", ["flow_warp", "local_attention", "creff", "raw creff dense"])
def test_forward_over_reverse(name):
    """Products of the Hessian: the gradient of a dual number is one."""
    function, inputs = ALL[name]
    x, tangent = inputs[0], randn(*inputs[0].shape, seed=30)

    def gradient(x):
        out = function(x, *inputs[1:]).square().sum()
        return torch.autograd.grad(out, x)[0]

    leaf = lambda x: x.detach().requires_grad_()  # noqa: E731
    expected = (gradient(leaf(x + 1e-5 * tangent)) - gradient(leaf(x - 1e-5 * tangent))) / 2e-5
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(leaf(x), tangent)
        found = forward_ad.unpack_dual(gradient(dual)).tangent
    assert error(found, expected) < 1e-5 * max(1.0, float(expected.abs().max()))


def test_hessians_are_right_or_refused():
    def loss(x):
        return ops.local_attention(x, x, x, window=3).square().sum()

    x = randn(1, 2, 3, 3)
    tangents = torch.eye(x.numel(), dtype=x.dtype).view(-1, *x.shape)
    step = 1e-5
    expected = []
    for tangent in tangents:
        ends = [(x + sign * step * tangent).requires_grad_() for sign in (1, -1)]
        ahead, behind = (torch.autograd.grad(loss(end), end)[0] for end in ends)
        expected.append((ahead - behind) / (2 * step))
    expected = torch.stack(expected, -1).view(*x.shape, *x.shape)
    assert error(torch.func.jacfwd(torch.func.jacfwd(loss))(x), expected) < 1e-5
    assert error(torch.func.jacrev(torch.func.jacfwd(loss))(x), expected) < 1e-5
    leaf = x.clone().requires_grad_()
    assert torch.equal(torch.func.grad(loss)(x), torch.autograd.grad(loss(leaf), leaf)[0])
    with pytest.raises(NotImplementedError, match=r"^local_attention: forward-mode derivatives of the backward"):
        torch.func.hessian(loss)(x)
    with pytest.raises(RuntimeError, match=r"^local_attention: double backward is not supported"):
        torch.func.jacrev(torch.func.grad(loss))(x)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("flow_warp", lambda op, q, g, f: op._flow_warp_backward_feature(g, f, grid="aligned")),
        ("flow_warp", lambda op, q, g, f: op._flow_warp_backward_flow(g, q, f, grid="aligned")),
        ("local_attention", lambda op, q, g, f: op._local_attention_backward(g, q, g, g, g[:, 0], **WINDOW)),
    ],
)
def test_a_backward_s_own_derivatives_are_refused(name, call):
    query, grad, flow = randn(1, 3, 5, 7), randn(1, 3, 5, 7, seed=1), randn(1, 5, 7, 2)
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(x, torch.ones_like(x)) for x in (query, flow)]
        with pytest.raises(NotImplementedError, match=f"^{name}: forward-mode derivatives of the backward are"):
            call(torch.ops.arseg, duals[0], grad, duals[1])


def test_half_types_and_modules():
    module = arseg_ext.CReFF(3, window=3)
    maps = [randn(1, 3, 5, 7, dtype=torch.float32), randn(1, 3, 3, 4, dtype=torch.float32)]
    tangents = [randn(*x.shape, seed=9, dtype=torch.float32) for x in maps]
    motion = vectors(1, 3, 4, 2)
    module.double()
    exact = torch.func.jvp(
        lambda *x: module(*x, motion, **FIELD),
        tuple(x.double() for x in maps),
        tuple(t.double() for t in tangents),
    )[1]
    for dtype, bound in ((torch.float32, 1e-4), (torch.bfloat16, 0.2)):
        module.to(dtype)
        found = torch.func.jvp(
            lambda *x: module(*x, motion, **FIELD),
            tuple(x.to(dtype) for x in maps),
            tuple(t.to(dtype) for t in tangents),
        )[1]
        assert found.dtype == dtype and error(found, exact) < bound * max(1.0, float(exact.abs().max()))


def test_labels_and_out_have_none():
    feature, low, flow, *parameters = ALL["raw creff dense"][1]
    classifier = randn(4, 3), randn(4)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(feature, torch.ones_like(feature))
        labels = ops.creff_labels(dual, low, flow, *parameters, *classifier, window=3)
        assert torch.equal(labels, ops.creff_labels(feature, low, flow, *parameters, *classifier, window=3))
        assert torch.equal(ops.resize_labels(dual, (7, 9)), ops.resize_labels(feature, (7, 9)))
        with pytest.raises(ValueError, match="creff: out is for inference"):
            ops.creff(dual, low, flow, *parameters, window=3, out=torch.zeros_like(feature))


@pytest.mark.parametrize("index", [0, 1, 2, 5])
def test_the_fused_operators_have_gradients(index):
    for name in ("raw creff dense", "raw creff_logits"):
        function, inputs = ALL[name]
        inputs = [x.clone().requires_grad_(i == index) for i, x in enumerate(inputs)]
        (found,) = torch.autograd.grad(function(*inputs).square().sum(), inputs[index])
        tangent = randn(*inputs[index].shape, seed=40)
        inputs = [x.detach() for x in inputs]
        ends = [
            function(*(x + sign * 1e-6 * tangent if i == index else x for i, x in enumerate(inputs))).square().sum()
            for sign in (1, -1)
        ]
        assert float((found * tangent).sum()) == pytest.approx(float(ends[0] - ends[1]) / 2e-6, rel=1e-5)


def test_compiled_code_is_what_it_was():
    torch.compiler.reset()
    function, inputs = ALL["creff"]
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(*inputs), function(*inputs))
