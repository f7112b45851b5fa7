"""vmap of an operator is the operator called for each element, whichever arguments are vmapped."""

import itertools

import pytest
import torch
from helpers.op_samples import creff_parameters, error, randn, samples

from arseg_ext import _vmap, ops

SIZE = 3
PLAIN = [sample for sample in samples(torch.float64, grad=False) if sample.op not in _vmap.REFUSED]
IDS = [f"{i}-{sample}" for i, sample in enumerate(PLAIN)]


def several(tensor, dim):
    """`SIZE` different tensors like this one, stacked at `dim`."""
    step = 1 if tensor.is_floating_point() else 3
    elements = [tensor + 0.1 * i if step == 1 else tensor + step * i for i in range(SIZE)]
    return torch.stack([element.to(tensor.dtype) for element in elements], dim)


def mixes(sample):
    """All arguments at 0, at their last dimension, and each one alone; all pairs would be hundreds of calls."""
    tensors = [i for i, arg in enumerate(sample.args) if isinstance(arg, torch.Tensor)]
    yield dict.fromkeys(tensors, 0)
    yield dict.fromkeys(tensors, -1)
    for one in tensors:
        yield {one: 1 if sample.args[one].dim() > 1 else 0}


def as_tuple(result):
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)


@pytest.mark.parametrize("sample", PLAIN, ids=IDS)
def test_vmap_is_a_loop(sample):
    for mix in mixes(sample):
        args = [several(arg, mix[i]) if i in mix else arg for i, arg in enumerate(sample.args)]
        dims = tuple(mix.get(i) for i in range(len(args)))
        got = torch.vmap(lambda *given: sample.overload(*given, **sample.kwargs), in_dims=dims)(*args)
        for index in range(SIZE):
            given = [arg.select(mix[i], index) if i in mix else arg for i, arg in enumerate(args)]
            expected = sample.overload(*given, **sample.kwargs)
            for a, b in zip(as_tuple(got), as_tuple(expected), strict=True):
                if b.is_floating_point():
                    assert error(a[index], b) < 1e-12, (mix, index)
                else:
                    assert torch.equal(a[index], b), (mix, index)


@pytest.mark.parametrize("batched", list(itertools.product([False, True], repeat=3))[1:])
def test_gradients_through_vmap(batched):
    dims = tuple(0 if each else None for each in batched)
    maps = [randn(*([SIZE] if each else []), 2, 3, 4, 5, seed=i).requires_grad_() for i, each in enumerate(batched)]
    got = torch.vmap(lambda *given: ops.local_attention(*given, window=3), in_dims=dims)(*maps)
    expected = torch.stack(
        [
            ops.local_attention(*(m[i] if each else m for m, each in zip(maps, batched, strict=True)), window=3)
            for i in range(SIZE)
        ]
    )
    assert error(got, expected) < 1e-12
    weight = randn(*got.shape, seed=7)
    for a, b in zip(
        torch.autograd.grad((got * weight).sum(), maps),
        torch.autograd.grad((expected * weight).sum(), maps),
        strict=True,
    ):
        assert error(a, b) < 1e-12


def test_gradients_of_vmapped_weights():
    fused = [randn(2, 3, 4, 5), randn(2, 3, 2, 3, seed=1), randn(2, 4, 5, 2, seed=2)]
    weights = [torch.stack([w, 0.5 * w, -w]).requires_grad_() for w in creff_parameters(3)]
    got = torch.vmap(lambda *w: ops.creff(*fused, *w, window=3))(*weights)
    expected = torch.stack([ops.creff(*fused, *(w[i] for w in weights), window=3) for i in range(3)])
    assert error(got, expected) < 1e-12
    grads = (torch.autograd.grad(result.square().sum(), weights) for result in (got, expected))
    for a, b in zip(*grads, strict=True):
        assert error(a, b) <= 1e-12 * max(1.0, float(b.abs().max()))


def test_nested_with_out_dims_and_chunks():
    feature, flow = randn(4, 2, 1, 3, 5, 6), randn(4, 1, 5, 6, 2, seed=1)
    inner = torch.vmap(ops.flow_warp, in_dims=(0, None))
    got = torch.vmap(inner, in_dims=0, out_dims=1, chunk_size=2)(feature, flow)
    for i, j in itertools.product(range(4), range(2)):
        assert torch.equal(got[j, i], ops.flow_warp(feature[i, j], flow[i]))


def test_channels_last_is_not_copied_by_folding():
    feature = randn(3, 2, 4, 5, 6).flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (3, 2))
    assert _vmap._fold(feature, 0, 3).data_ptr() == feature.data_ptr()
    assert _vmap._fold(feature, 0, 3).is_contiguous(memory_format=torch.channels_last)


def test_one_shared_image_is_not_copied():
    feature = randn(1, 4, 5, 6)
    assert _vmap._fold(feature, None, 7).data_ptr() == feature.data_ptr()


def test_wrong_arguments_are_told_inside_vmap():
    with pytest.raises(ValueError, match=r"^flow_warp: "):
        torch.vmap(ops.flow_warp)(randn(3, 1, 2, 5, 6), randn(3, 1, 5, 7, 2))


@pytest.mark.parametrize("sample", [s for s in samples(grad=False) if s.op == "_creff_out"], ids=str)
def test_out_is_refused(sample):
    args = [several(arg, 0) for arg in sample.args]
    with pytest.raises(RuntimeError, match=r"^creff: out cannot be vmapped; call it without out"):
        torch.vmap(lambda *given: sample.overload(*given, **sample.kwargs))(*args)


def test_out_is_refused_by_the_public_function():
    low, *parameters = randn(1, 2, 2, 3), *[randn(2, 1, 3, 3), randn(2)] * 3
    with pytest.raises(ValueError, match=r"^creff: out must be left away in transforms of torch.func"):
        torch.vmap(
            lambda r: ops.creff(r, low, torch.zeros(1, 4, 5, 2), *parameters, window=3, out=torch.empty_like(r))
        )(randn(3, 1, 2, 4, 5))


def test_gradients_of_each_sample():
    maps = [randn(SIZE, 1, 2, 4, 5, seed=seed) for seed in range(3)]

    def loss(*given):
        return ops.local_attention(*given, window=3).square().sum()

    got = torch.vmap(torch.func.grad(loss, argnums=(0, 1, 2)))(*maps)
    leaves = [each.clone().requires_grad_() for each in maps]
    sum(loss(*(leaf[i] for leaf in leaves)) for i in range(SIZE)).backward()
    for a, leaf in zip(got, leaves, strict=True):
        assert error(a, leaf.grad) < 1e-12
