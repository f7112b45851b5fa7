"""A result that is written where the caller says: what autograd is told, and what is refused."""

import pytest
import torch
from helpers.op_samples import channels_last, creff_parameters, error, randn, vectors

from arseg_ext import _overlap, ops

OPTIONS = {"window": 3, "block": 8, "frame_size": (40, 56)}
RAW = {"window": [3, 3], "block": 8, "frame_size": [40, 56], "grid": "aligned", "outside": "zero"}


def arguments():
    maps = randn(1, 3, 5, 7), randn(1, 3, 3, 4, seed=2)
    return (*maps, vectors(1, 5, 7, 2), *creff_parameters(3))


def by_function(args, out):
    return ops.creff(*args, **OPTIONS, out=out)


def by_operator(args, out):
    torch.ops.arseg._creff_out(*args, out, **RAW)
    return out


WAYS = pytest.mark.parametrize("into", [by_function, by_operator])


@WAYS
def test_what_is_there_is_the_result(into):
    args = arguments()
    expected = ops.creff(*args, **OPTIONS)
    for layout in (torch.Tensor.contiguous, channels_last):
        out = layout(torch.zeros_like(expected))
        assert into(args, out) is out and torch.equal(out, expected)
    half = torch.zeros(1, 6, 5, 7, dtype=torch.float64)  # of which the rest stays as it is
    into(args, half[:, ::2])
    assert torch.equal(half[:, ::2], expected) and not half[:, 1::2].any()


@WAYS
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_a_backward_that_needs_what_was_there_raises(into, mode):
    buffer, weight = torch.zeros(1, 3, 5, 7, dtype=torch.float64), randn(1, 3, 5, 7, seed=4).requires_grad_()
    y = (buffer * weight).sum()
    with mode():
        into(arguments(), buffer)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


@WAYS
def test_also_through_views(into):
    whole, weight = torch.zeros(2, 3, 5, 7, dtype=torch.float64), randn(2, 3, 5, 7).requires_grad_()
    y = (whole * weight).sum()
    into(arguments(), whole[1:])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_a_refused_call_changes_nothing():
    buffer, weight = torch.zeros(1, 3, 5, 7, dtype=torch.float64), randn(1, 3, 5, 7).requires_grad_()
    y = (buffer * weight).sum()
    args = list(arguments())
    args[0].requires_grad_()
    with pytest.raises(ValueError, match="out is for inference"):
        by_function(args, buffer)
    y.backward()
    assert not buffer.any()


@WAYS
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad])
def test_a_leaf_that_requires_a_gradient_is_refused(into, mode):
    leaf = torch.zeros(1, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    with mode(), pytest.raises(ValueError, match=r"^creff: out .* requires? a gradient"):
        into(arguments(), leaf)


@WAYS
def test_a_part_of_a_graph_is_refused_where_gradients_are_on(into):
    leaf = torch.zeros(1, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    inner = leaf * 2
    for out in (inner, leaf[:]):
        with pytest.raises(ValueError, match=r"^creff: out .* requires? a gradient"):
            into(arguments(), out)
    z = (inner * inner).sum()
    with torch.no_grad():  # as with torch's own functions
        into(arguments(), inner.detach())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()


@WAYS
def test_arguments_that_want_gradients_are_refused(into):
    for i in (0, 1, 5):
        args = list(arguments())
        args[i].requires_grad_()
        with pytest.raises(ValueError, match=r"^creff: out is for inference"):
            into(args, torch.zeros_like(args[0]))
        with torch.no_grad():
            by_function(args, torch.zeros_like(args[0]))


@WAYS
def test_inference_tensors(into):
    with torch.inference_mode():
        out = torch.zeros(1, 3, 5, 7, dtype=torch.float64)
        into(arguments(), out)
    assert error(out, ops.creff(*arguments(), **OPTIONS)) == 0
    with pytest.raises(ValueError, match=r"^creff: out is an inference tensor"):
        into(arguments(), out)


@WAYS
def test_memory_of_an_argument_is_refused(into):
    n, c, h, w = 1, 3, 5, 7
    memory = randn(4096)
    place = memory[: n * c * h * w].view(n, c, h, w)
    args = list(arguments())
    cases = {
        "reference": (0, place, place),
        "low_res": (1, memory[100:136].view(1, 3, 3, 4), place),  # the end of one is the beginning of the other
        "query_weight": (3, memory[104:131].view(3, 1, 3, 3), place),
        "value_bias": (8, memory[0:9:3], place),
        "motion": (2, memory[50:].view(torch.int16)[: 5 * 7 * 2].view(1, 5, 7, 2), place),
    }
    for name, (index, argument, out) in cases.items():
        changed = [argument if i == index else x for i, x in enumerate(args)]
        if name == "motion":
            changed[2].zero_()
        before = memory.clone()
        with pytest.raises(ValueError, match=f"^creff: out must not share memory with {name}"):
            into(changed, out)
        assert torch.equal(memory, before)


@WAYS
def test_neighbours_in_one_memory_are_no_overlap(into):
    args = list(arguments())
    expected = ops.creff(*args, **OPTIONS)
    for dim, start in ((1, slice(None, 3)), (1, slice(None, None, 2)), (3, slice(None, 7)), (3, slice(None, None, 2))):
        for layout in (torch.Tensor.contiguous, channels_last):
            size = [1, 3, 5, 7]
            size[dim] *= 2
            both = layout(torch.zeros(size, dtype=torch.float64))
            here = [slice(None)] * 4
            here[dim] = start
            there = list(here)
            there[dim] = slice(size[dim] // 2, None) if start.step is None else slice(1, None, 2)
            both[tuple(there)] = args[0]
            into([both[tuple(there)], *args[1:]], both[tuple(here)])
            assert torch.equal(both[tuple(here)], expected) and torch.equal(both[tuple(there)], args[0])


@WAYS
def test_an_element_twice_is_refused(into):
    expanded = [torch.zeros(shape, dtype=torch.float64).expand(1, 3, 5, 7) for shape in ((1, 1, 5, 7), (1, 3, 5, 1))]
    rolling = torch.zeros(64, dtype=torch.float64).as_strided((1, 3, 5, 7), (1, 1, 3, 7))
    for out in (*expanded, rolling):
        with pytest.raises(ValueError, match=r"^creff: out must have memory of its own for every element"):
            into(arguments(), out)
    odd = torch.zeros(512, dtype=torch.float64).as_strided((1, 3, 5, 7), (1, 35, 7, 1))
    into(arguments(), odd)


@WAYS
def test_wrong_maps_are_refused(into):
    args = arguments()
    good = torch.zeros_like(args[0])
    raised = (ValueError, RuntimeError)
    with pytest.raises(raised, match=r"^creff: out must have the dtype of reference, float64, got float32"):
        into(args, good.float())
    with pytest.raises(raised, match=r"^creff: out must have shape \[1, 3, 5, 7\], got \[1, 3, 5, 6\]"):
        into(args, good[..., :6])
    with pytest.raises(ValueError, match=r"^creff: out must be on the device of reference, cpu, got meta"):
        by_function(args, good.to("meta"))
    with pytest.raises(TypeError, match=r"^creff: out must be a torch.Tensor, got 'here'"):
        by_function(args, "here")


def test_under_autocast_it_has_the_result_s_dtype():
    args = [x.float() if x.is_floating_point() else x for x in arguments()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = by_function(args, torch.zeros_like(args[0], dtype=torch.bfloat16))
        assert torch.equal(out, ops.creff(*args, **OPTIONS))
        with pytest.raises(ValueError, match="out must have the dtype of reference, bfloat16, got float32"):
            by_function(args, torch.zeros_like(args[0]))


def test_compiled():
    torch.compiler.reset()
    args = arguments()

    def run(buffer, *args):
        before = buffer * 2
        ops.creff(*args, **OPTIONS, out=buffer)
        return before + buffer

    mine, eager = torch.ones(2, 1, 3, 5, 7, dtype=torch.float64)
    out = torch.compile(run, backend="aot_eager", fullgraph=True)(mine, *args)
    assert torch.equal(out, run(eager, *args)) and torch.equal(mine, eager)


@pytest.mark.parametrize("seed", range(3))
def test_overlaps_are_those_of_the_addresses(seed):
    """Against sets of byte addresses, for random strides."""
    generator = torch.Generator().manual_seed(seed)
    memory = torch.zeros(4096, dtype=torch.uint8)

    def view(dtype):
        shape = [int(x) for x in torch.randint(1, 4, (3,), generator=generator)]
        strides = [int(x) for x in torch.randint(0, 12, (3,), generator=generator)]
        return memory.view(dtype).as_strided(shape, strides, int(torch.randint(0, 40, (1,), generator=generator)))

    def bytes_of(tensor):
        starts = torch.arange(4096 // tensor.element_size())
        starts = starts.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()).flatten()
        return [int(start) * tensor.element_size() + i for start in starts for i in range(tensor.element_size())]

    found = set()
    for _ in range(300):
        a, b = view(torch.int16), view(torch.float32)
        bytes_a, bytes_b = bytes_of(a), bytes_of(b)
        shared = bool(set(bytes_a) & set(bytes_b))
        assert _overlap.share_memory(a, b) is _overlap.share_memory(b, a) is shared
        assert _overlap.shares_with_itself(a) is (len(set(bytes_a)) < len(bytes_a))
        found |= {shared, _overlap.shares_with_itself(a)}
    assert found == {False, True}
