"""The operators within what torch and its users put around them: checkpoints, exports, classes and hooks of others."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from arseg_ext import ops
from arseg_ext.nn import CReFF

torch.manual_seed(0)
FLOW = torch.randn(1, 6, 6, 2)
FIELD = {"block": 4, "frame_size": (24, 24)}
VECTORS = torch.randint(-40, 40, (1, 6, 6, 2), dtype=torch.int16)
FUSION = CReFF(4, window=3)
HEAD = nn.Conv2d(4, 3, 1)
CALLS = {
    "mv_warp": lambda x: ops.mv_warp(x, VECTORS, **FIELD),
    "flow_warp": lambda x: ops.flow_warp(x, FLOW),
    "local_attention": lambda x: ops.local_attention(x, x, x, window=3),
    "creff": lambda x: FUSION(x, x[..., ::2, ::2], FLOW),
    "creff_logits": lambda x: FUSION.logits(x, x[..., ::2, ::2], FLOW, HEAD),
}


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_a_checkpoint_has_the_same_gradient(name, reentrant):
    x = torch.randn(1, 4, 6, 6, requires_grad=True)
    CALLS[name](x).square().sum().backward()
    expected, x.grad = x.grad, None
    checkpoint(CALLS[name], x, use_reentrant=reentrant).sum().backward()
    x.grad = None
    checkpoint(CALLS[name], x, use_reentrant=reentrant).square().sum().backward()
    torch.testing.assert_close(x.grad, expected)


def test_a_hook_that_raises_is_called_once():
    calls = []

    def pack(tensor):
        calls.append(tensor)
        raise LookupError("mine")

    x = torch.randn(1, 4, 6, 6, requires_grad=True)
    with pytest.raises(LookupError, match="mine"), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        ops.local_attention(x, x, x, window=3)
    assert len(calls) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_no_channels(dtype):
    """An integer division by their number ended the process."""
    map = torch.zeros(1, 0, 6, 6, dtype=dtype, requires_grad=dtype == torch.float64)
    for out in (
        ops.mv_warp(map, VECTORS, **FIELD),
        ops.flow_warp(map, FLOW),
        ops.local_attention(map, map, map, window=3),
    ):
        assert out.shape == map.shape
    weight, bias = torch.zeros(0, 1, 3, 3, dtype=dtype), torch.zeros(0, dtype=dtype)
    with pytest.raises(ValueError, match=r"^creff: reference must not be empty, got shape \[1, 0, 6, 6\]$"):
        ops.creff(map, map, FLOW, *(weight, bias) * 3)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("size", [(0, 6), (6, 0)])
def test_an_empty_reference_is_refused(size, gradient):
    reference = torch.zeros(1, 4, *size, requires_grad=gradient)
    low_res, flow = torch.zeros(1, 4, 3, 3), torch.zeros(1, *size, 2)
    with pytest.raises(ValueError, match=r"^creff: reference must not be empty"):
        FUSION(reference, low_res, flow)
    with pytest.raises(ValueError, match=r"^creff_logits: reference must not be empty"):
        FUSION.logits(reference, low_res, flow, HEAD)
    assert FUSION(torch.zeros(0, 4, 6, 6), torch.zeros(0, 4, 3, 3), torch.zeros(0, 6, 6, 2)).shape == (0, 4, 6, 6)


@pytest.mark.parametrize("name", ["flow_warp", "local_attention"])
def test_a_batch_whose_size_depends_on_data_is_exported(name):
    class Chosen(nn.Module):
        def forward(self, mask, map, flow):
            index = mask.nonzero()[:, 0]
            if name == "flow_warp":
                return ops.flow_warp(map[index], flow[index])
            return ops.local_attention(map[index], map[index], map[index], window=3)

    mask, map = torch.tensor([True, False, True]), torch.randn(3, 4, 6, 6)
    arguments = (mask, map, FLOW.expand(3, -1, -1, -1).contiguous())
    program = torch.export.export(Chosen(), arguments).module()
    for chosen in (mask, torch.tensor([True, True, True]), torch.tensor([False, True, False])):
        torch.testing.assert_close(program(chosen, *arguments[1:]), Chosen()(chosen, *arguments[1:]))


class Standardised(nn.Conv2d):
    """Its forward has another weight than its attribute."""

    def forward(self, map):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(map, weight, self.bias)


def test_a_convolution_with_a_forward_of_its_own_is_refused():
    fusion = CReFF(4, window=3)
    fusion.hr_key_conv = Standardised(4, 4, 3, padding=1, groups=4)
    x = torch.randn(1, 4, 6, 6)
    with pytest.raises(ValueError, match=r"^creff: hr_key_conv must be .* with a forward of its own, which would not"):
        fusion(x, x, FLOW)
    with pytest.raises(ValueError, match=r"^creff_logits: classifier must be .* with a forward of its own"):
        CReFF(4, window=3).logits(x, x, FLOW, Standardised(4, 3, 1))
    parametrized = CReFF(4, window=3)
    torch.nn.utils.parametrizations.weight_norm(parametrized.hr_key_conv)
    assert parametrized(x, x, FLOW).shape == x.shape


def test_hooks_of_gradients_are_refused():
    fusion, x = CReFF(4, window=3), torch.randn(1, 4, 6, 6)
    fusion.lr_query_conv.register_full_backward_hook(lambda *_: None)
    with pytest.raises(ValueError, match=r"^creff: lr_query_conv must have no hooks, which"):
        fusion(x, x, FLOW)


def test_a_negated_view_is_no_place_for_a_result():
    x = torch.randn(1, 4, 6, 6)
    weights = [parameter.detach() for parameter in FUSION.parameters()]
    out = torch.conj(torch.zeros(1, 4, 6, 6, dtype=torch.complex64)).imag
    with torch.no_grad(), pytest.raises(ValueError, match=r"^creff: out must not be a view .* out\.resolve_neg\(\)"):
        ops.creff(x, x, FLOW, *weights, window=3, out=out)


def test_no_element_to_go_over():
    x, rest = torch.randn(1, 4, 6, 6), [parameter.detach() for parameter in FUSION.parameters()][1:]
    with pytest.raises(ValueError, match=r"^vmap: expected at least one element"):
        torch.vmap(lambda weight: ops.creff(x, x, FLOW, weight, *rest, window=3))(torch.zeros(0, 4, 1, 3, 3))
