"""One rule for autocast: the dtype of the result, with gradients and without, whatever the arguments have."""

import itertools

import pytest
import torch
from helpers.op_samples import creff_parameters, error, randn, vectors

import arseg_ext
from arseg_ext import ops, oracle

FIELD = {"block": 16, "frame_size": (40, 56)}
F64, F32, F16, BF16 = torch.float64, torch.float32, torch.float16, torch.bfloat16
# Dtypes of the first map, of the other maps and of the parameters; that of the result under autocast.
MIXES = [
    (F32, F32, F32, "autocast"),
    (F32, BF16, F32, "autocast"),
    (BF16, F32, F32, "autocast"),
    (F16, BF16, F64, "autocast"),
    (F32, F64, F32, "autocast"),
    (BF16, BF16, BF16, "autocast"),
    (F64, F64, F64, F64),
    (F64, F32, BF16, F64),
]


def calls(first, others, parameters):
    """Each operator with arguments of these dtypes, and its leaves."""
    reference_map, low = randn(1, 3, 5, 7, dtype=first), randn(1, 3, 3, 4, dtype=others)
    key, value = (randn(1, 3, 5, 7, seed=seed, dtype=others) for seed in (1, 2))
    weights = creff_parameters(3, parameters)
    classifier = [randn(4, 3, seed=3, dtype=parameters), randn(4, seed=4, dtype=parameters)]
    motion, flow = vectors(1, 3, 4, 2), randn(1, 5, 7, 2, dtype=F32)
    fused = (reference_map, low, motion, *weights)
    return {
        "local_attention": (lambda: ops.local_attention(reference_map, key, value, window=3), (key, value)),
        "creff": (lambda: ops.creff(*fused, window=3, **FIELD), weights),
        "creff dense": (lambda: ops.creff(reference_map, low, flow, *weights, window=3), (flow,)),
        "creff_logits": (lambda: ops.creff_logits(*fused, *classifier, window=3, **FIELD), classifier),
        "creff_labels": (lambda: ops.creff_labels(*fused, *classifier, window=3, **FIELD), (*weights, *classifier)),
        "mv_warp": (lambda: ops.mv_warp(reference_map, motion, **FIELD), (reference_map,)),
        "flow_warp": (lambda: ops.flow_warp(reference_map, flow), (flow,)),
    }


def expected_dtype(name, first, rule, cast):
    if name == "creff_labels":
        return torch.uint8
    if name in ("mv_warp", "flow_warp"):
        return first
    return cast if rule == "autocast" else rule


@pytest.mark.parametrize("cast", [BF16, F16], ids=str)
@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: "-".join(str(x).removeprefix("torch.") for x in mix))
def test_the_table(mix, cast):
    *dtypes, rule = mix
    for name in calls(*dtypes):
        call, leaves = calls(*dtypes)[name]
        with torch.autocast("cpu", dtype=cast):
            plain = call()
        for leaf in leaves:
            leaf.requires_grad_()
        with torch.autocast("cpu", dtype=cast):
            wanted = call()
            with torch.no_grad():
                unwanted = call()
        assert {plain.dtype, wanted.dtype, unwanted.dtype} == {expected_dtype(name, dtypes[0], rule, cast)}, name
        assert torch.equal(plain, unwanted)
        if name == "creff_labels":
            assert torch.equal(plain, wanted) and not wanted.requires_grad
        else:
            assert error(wanted, plain) <= 0.1 * max(1.0, float(plain.detach().abs().max())), name
            wanted.float().sum().backward()
            assert all(leaf.grad.dtype == leaf.dtype for leaf in leaves)


def test_the_operators_and_the_functions_agree():
    *fused, motion = randn(1, 3, 5, 7, dtype=F32), randn(1, 3, 3, 4, dtype=BF16), vectors(1, 3, 4, 2)
    weights = creff_parameters(3, F32)
    classifier = [randn(4, 3, dtype=F32), randn(4, dtype=F32)]
    options = {"window": [3, 3], "block": 16, "frame_size": [40, 56]}
    with torch.autocast("cpu", dtype=BF16):
        for name, more in (("creff", []), ("creff_logits", classifier), ("creff_labels", classifier)):
            arguments = (*fused, motion, *weights, *more)
            raw = getattr(torch.ops.arseg, name)(*arguments, **options)
            assert torch.equal(raw, getattr(ops, name)(*arguments, **options))


def test_without_autocast_dtypes_must_agree():
    for name, (call, _) in calls(F32, BF16, F32).items():
        if name not in ("mv_warp", "flow_warp"):
            with pytest.raises(ValueError, match="must have the dtype of"):
                call()


def test_integers_are_not_cast_away():
    whole = torch.zeros(1, 3, 5, 7, dtype=torch.int64)
    real = randn(1, 3, 5, 7, dtype=F32)
    with torch.autocast("cpu", dtype=BF16):
        for arguments in itertools.permutations((whole, real, real)):
            for call in (ops.local_attention, torch.ops.arseg.local_attention):
                with pytest.raises((ValueError, RuntimeError), match=r"^local_attention: .* got int64"):
                    call(*arguments, window=[3, 3])


@pytest.mark.parametrize("wanted", [False, True])
def test_the_values_are_those_of_the_cast_arguments(wanted):
    maps = [randn(1, 3, 5, 7, dtype=F32), randn(1, 3, 3, 4, dtype=F32)]
    weights, motion = creff_parameters(3, F32), vectors(1, 3, 4, 2)
    cast = [x.to(BF16) for x in (*maps, *weights)]
    expected = oracle.creff(*(x.double() for x in cast[:2]), motion, *(x.double() for x in cast[2:]), **FIELD)
    for weight in weights:
        weight.requires_grad_(wanted)
    with torch.autocast("cpu", dtype=BF16):
        assert error(ops.creff(*maps, motion, *weights, **FIELD), expected) < 0.05


def test_training_a_module_under_autocast():
    fusion = arseg_ext.CReFF(3, window=3)
    with torch.autocast("cpu", dtype=BF16):
        out = fusion(randn(1, 3, 5, 7, dtype=F32), randn(1, 3, 3, 4, dtype=F32), vectors(1, 3, 4, 2), **FIELD)
    assert out.dtype == BF16
    out.float().square().sum().backward()
    assert all(parameter.grad.dtype == F32 and parameter.grad.any() for parameter in fusion.parameters())


def fused_operators(call):
    """Names of the operators of ours that a call runs."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        call()
    return {event.key.removeprefix("arseg::") for event in profile.key_averages() if event.key.startswith("arseg::")}


@pytest.mark.parametrize("autocast", [False, True])
def test_labels_are_made_in_one_pass_whatever_wants_a_gradient(autocast):
    call, leaves = calls(F32, F32, F32)["creff_labels"]
    with torch.autocast("cpu", dtype=BF16, enabled=autocast):
        expected = call()
        for leaf in leaves:
            leaf.requires_grad_()
        labels = call()
        ran = fused_operators(call)
    assert torch.equal(labels, expected) and not labels.requires_grad
    assert ran == {"creff_labels"}
