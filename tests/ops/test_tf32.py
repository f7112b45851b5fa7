"""TF32: torch's own switch allows it, the operators are told, and nothing changes where there is none."""

from __future__ import annotations

import functools

import pytest
import torch
from helpers.op_samples import creff_parameters, randn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from arseg_ext import ops


@pytest.fixture
def matmul():
    """torch's switch, set back afterwards, under the older name and the newer one."""
    switch = torch.backends.cuda.matmul
    yield switch
    if hasattr(switch, "fp32_precision"):
        switch.fp32_precision = "none"
    switch.allow_tf32 = False


class Seen(TorchDispatchMode):
    """Whether the operator was told that TF32 is allowed, call by call."""

    def __init__(self):
        super().__init__()
        self.allowed = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(argument.name == "allow_tf32" for argument in func._schema.arguments):
            self.allowed.append((kwargs or {}).get("allow_tf32", False))
        return func(*args, **(kwargs or {}))


def attention(dtype, device):
    maps = [torch.empty(1, 4, 5, 5, dtype=dtype, device=device) for _ in range(3)]
    ops.local_attention(*maps, window=3)
    ops.local_attention(*maps, window=(3, 5), outside="masked", scale=2)


def fusion(dtype, device):
    def empty(*size):
        return torch.empty(*size, dtype=dtype, device=device)

    maps, parameters = (empty(1, 4, 6, 6), empty(1, 4, 3, 3)), [empty(4, 1, 3, 3), empty(4)] * 3
    motion = torch.zeros(1, 6, 6, 2, dtype=torch.int16, device=device)
    given, field = (*maps, motion, *parameters), {"block": 4, "frame_size": (24, 24)}
    classifier = empty(3, 4), empty(3)
    ops.creff(*given, **field)
    ops.creff_logits(*given, *classifier, **field)
    ops.creff_labels(*given, *classifier, window=(3, 3), **field)


@pytest.mark.parametrize("calls", [attention, fusion], ids=["attention", "fusion"])
def test_it_follows_the_switch_of_torch(matmul, calls):
    def allowed(dtype, device):
        with FakeTensorMode(allow_non_fake_inputs=True), Seen() as seen:
            calls(dtype, device)
        assert len(seen.allowed) > 1 and len(set(seen.allowed)) == 1
        return seen.allowed[0]

    assert not allowed(torch.float32, "cuda")  # torch's default
    matmul.allow_tf32 = True
    assert allowed(torch.float32, "cuda")
    assert not allowed(torch.bfloat16, "cuda") and not allowed(torch.float32, "cpu")
    matmul.allow_tf32 = False
    if hasattr(matmul, "fp32_precision"):
        matmul.fp32_precision = "tf32"
        assert allowed(torch.float32, "cuda")
        matmul.fp32_precision = "ieee"
        assert not allowed(torch.float32, "cuda")


def test_a_given_map_is_written_as_the_switch_says(monkeypatch):
    told = []
    monkeypatch.setattr(ops, "_tf32", lambda map: told.append(map.dtype) or {"allow_tf32": True})
    maps = randn(1, 4, 6, 6, dtype=torch.float32), randn(1, 4, 3, 3, seed=1, dtype=torch.float32)
    given = (*maps, torch.zeros(1, 6, 6, 2, dtype=torch.int16), *creff_parameters(4, torch.float32))
    field = {"block": 4, "frame_size": (24, 24)}
    out = torch.empty_like(maps[0])
    with Seen() as seen:
        ops.creff(*given, **field, out=out)
    assert told == [torch.float32] and set(seen.allowed) == {True}
    assert torch.equal(out, ops.creff(*given, **field))


def test_the_fusion_takes_it_in_every_mode_where_there_is_none():
    maps = [randn(1, 4, 6, 6, dtype=torch.float32), randn(1, 4, 3, 3, seed=1, dtype=torch.float32)]
    given = (*maps, torch.zeros(1, 6, 6, 2, dtype=torch.int16), *creff_parameters(4, torch.float32))
    options = {"window": [3, 3], "block": 4, "frame_size": [24, 24], "allow_tf32": True}
    fuse = torch.ops.arseg.creff
    torch.library.opcheck(fuse.default, given, options)
    exact = {name: value for name, value in options.items() if name != "allow_tf32"}
    assert torch.equal(fuse(*given, **options), fuse(*given, **exact))
    gradients = [
        torch.autograd.grad(fuse(reference, *given[1:], **each).sum(), reference)[0]
        for each in (options, exact)
        for reference in [maps[0].clone().requires_grad_()]
    ]
    assert torch.equal(*gradients)


def test_attention_takes_it_in_every_mode_where_there_is_none():
    maps = [randn(1, 3, 5, 6, seed=i, dtype=torch.float32).requires_grad_() for i in range(3)]
    attend = functools.partial(torch.ops.arseg.local_attention, window=[3, 3])
    torch.library.opcheck(attend.func.default, tuple(maps), {"window": [3, 3], "allow_tf32": True})
    out, exact = attend(*maps, allow_tf32=True), attend(*maps)
    assert torch.equal(out, exact)
    for got, expected in zip(*(torch.autograd.grad(each.sum(), maps) for each in (out, exact)), strict=True):
        assert torch.equal(got, expected)
    query, key, value = (tensor.detach() for tensor in maps)
    tangents = [
        torch.func.jvp(lambda q, allowed=allowed: attend(q, key, value, allow_tf32=allowed), (query,), (query,))[1]
        for allowed in (False, True)
    ]
    assert torch.equal(*tangents)
