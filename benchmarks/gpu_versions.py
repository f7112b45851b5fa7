"""What the benchmarks on a GPU compare: our operators, plain PyTorch, the chain of the original, flex_attention.

Every version takes the inputs of one `Inputs` and gives the same result but for rounding; MAKERS have them by name, and
tests/benchmarks holds each to arseg_ext.oracle in float64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gpu_flex
import plain
import torch
import torch.nn.functional as F
from gpu_models import CLASSES, WINDOW, Shape
from torch import Tensor

import arseg_ext
from arseg_ext import ops

BLOCK = 16
RADIUS = WINDOW // 2
Forward = Callable[..., Tensor]


class Inputs:
    """Random maps, channels_last, and vectors of up to 20 video pixels in blocks of 16, half of them 0."""

    def __init__(self, shape: Shape, dtype: torch.dtype, device: str | torch.device):
        self.shape, self.dtype, self.device = shape, dtype, torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(0)
        c, h, w = shape.channels, shape.height, shape.width
        self.reference, self.query, self.key, self.value, self.grad = (self.map(c, h, w, gain) for gain in GAINS)
        self.low_res = self.map(c, h // 2, w // 2)
        self.parameters = [self.randn(*size, gain=gain) for gain in (0.2, 0.2, 0.33) for size in ((c, 1, 3, 3), (c,))]
        self.classifier = [self.randn(CLASSES, c, gain=c**-0.5), self.randn(CLASSES, gain=0.1)]
        blocks = (1, *shape.blocks, 2)
        motion = torch.randint(-80, 81, blocks, generator=self.generator, device=self.device)
        kept = torch.rand(blocks[:3], generator=self.generator, device=self.device) >= 0.5
        self.motion = (motion * kept[..., None]).to(torch.int16)
        self.options: dict[str, Any] = {"block": BLOCK, "frame_size": shape.frame}
        self.flow = arseg_ext.oracle.block_flow(self.motion, (h, w), **self.options).float()

    def randn(self, *size: int, gain: float = 1.0) -> Tensor:
        return (gain * torch.randn(size, generator=self.generator, device=self.device)).to(self.dtype)

    def map(self, channels: int, height: int, width: int, gain: float = 1.0) -> Tensor:
        return self.randn(1, channels, height, width, gain=gain).contiguous(memory_format=torch.channels_last)

    def exact(self) -> Inputs:
        """The same values in float32, and no gradients."""
        other = object.__new__(Inputs)
        for name, value in vars(self).items():
            setattr(other, name, exact(value) if name not in ("motion", "flow") else value)
        other.dtype = torch.float32
        return other


# Of reference, query, key, value, grad: logits of ordinary size, a peaked softmax now and then.
GAINS = (1.0, 0.3, 0.3, 1.0, 1.0)


def exact(value: Any) -> Any:
    if isinstance(value, list):
        return [exact(each) for each in value]
    return value.detach().float() if isinstance(value, Tensor) and value.is_floating_point() else value


# --- the chain of the original ---------------------------------------------------------------------------------------
# One kernel after another on contiguous maps, with the 49 logits of every pixel written and read: similarity, softmax,
# weighting. The original takes the first and last from the package localAttention.


def shifts(height: int, width: int) -> list[tuple[slice, slice]]:
    return [(slice(y, y + height), slice(x, x + width)) for y in range(WINDOW) for x in range(WINDOW)]


def similarity(query: Tensor, key: Tensor) -> Tensor:
    """[N, H, W, 49]; localAttention's similar_forward."""
    key = F.pad(key, [RADIUS] * 4)
    return torch.stack([(query * key[..., y, x]).sum(1) for y, x in shifts(*query.shape[2:])], -1)


def weighting(value: Tensor, weights: Tensor) -> Tensor:
    """localAttention's weighting_forward."""
    padded, out = F.pad(value, [RADIUS] * 4), None
    for i, (y, x) in enumerate(shifts(*value.shape[2:])):
        part = padded[..., y, x] * weights[:, None, :, :, i]
        out = part if out is None else out + part
    assert out is not None
    return out


def chain_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return weighting(value, similarity(query, key).softmax(-1))


def local_attention_package() -> Any:
    """The module localAttention, or None. It is for CUDA alone."""
    try:
        import localAttention
    except ImportError:
        return None
    return localAttention


def has_package(x: Inputs) -> bool:
    return x.device.type == "cuda" and x.dtype == torch.float32 and local_attention_package() is not None


class _Similarity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor) -> Tensor:
        ctx.save_for_backward(query, key)
        return local_attention_package().similar_forward(query, key, WINDOW, WINDOW)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        query, key = ctx.saved_tensors
        grad, backward = grads[0].contiguous(), local_attention_package().similar_backward
        return backward(key, grad, WINDOW, WINDOW, True), backward(query, grad, WINDOW, WINDOW, False)


class _Weighting(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(value, weights)
        return local_attention_package().weighting_forward(value, weights, WINDOW, WINDOW)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        value, weights = ctx.saved_tensors
        grad, package = grads[0].contiguous(), local_attention_package()
        return (
            package.weighting_backward_ori(weights, grad, WINDOW, WINDOW),
            package.weighting_backward_weight(value, grad, WINDOW, WINDOW),
        )


def package_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return _Weighting.apply(value, _Similarity.apply(query, key).softmax(-1))


def chain_creff(attention: Forward, reference: Tensor, low_res: Tensor, flow: Tensor, *parameters: Tensor) -> Tensor:
    warped = plain.warp(reference, flow)
    upsampled = F.interpolate(low_res, reference.shape[2:], mode="bilinear", align_corners=True)
    query, key, value = (
        F.conv2d(x, parameters[2 * i], parameters[2 * i + 1], padding=1, groups=x.shape[1])
        for i, x in enumerate((upsampled, warped, warped))
    )
    return upsampled + attention(query.contiguous(), key.contiguous(), value.contiguous())


# --- versions --------------------------------------------------------------------------------------------------------


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """One shape a graph, so that nothing is slower for being dynamic."""
    return torch.compile(function, dynamic=False)


def forget_compiled() -> None:
    torch.compiler.reset()
    compiled.cache_clear()


def contiguous(tensors: list[Tensor]) -> list[Tensor]:
    return [each.detach().contiguous() for each in tensors]


def classified(fused: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(fused, weight[:, :, None, None], bias).argmax(1).to(torch.uint8)


def chain_labels(*arguments: Tensor) -> Tensor:
    return classified(chain_creff(chain_attention, *arguments[:-2]), *arguments[-2:])


def plain_labels(reference: Tensor, low_res: Tensor, flow: Tensor, *parameters: Tensor) -> Tensor:
    return classified(plain.creff(reference, low_res, flow, *parameters[:-2]), *parameters[-2:])


@dataclass(frozen=True)
class Version:
    """A function, its arguments, and the places of those that a backward differentiates."""

    function: Forward
    arguments: list[Tensor]
    leaves: list[int]
    # As a map: the result (place -1), or the gradient of the argument at a place.
    restore: Callable[[Tensor, int], Tensor] = lambda result, place: result


# Versions by name, each made when it is wanted: some prepare much.
Versions = dict[str, Callable[[], Version]]


def fusion(x: Inputs, function: Forward, arguments: list[Tensor]) -> Callable[[], Version]:
    """The keyframe is frozen in AR-Seg's training: no gradient to the first argument."""
    return lambda: Version(function, arguments, [i for i, each in enumerate(arguments) if i and each is not x.flow])


def warps(x: Inputs) -> Versions:
    arguments = [x.reference, x.flow]
    return {
        "ours": lambda: Version(lambda feature: ops.mv_warp(feature, x.motion, **x.options), [x.reference], [0]),
        "eager": lambda: Version(plain.warp, arguments, [0]),
        "chain": lambda: Version(plain.warp, contiguous(arguments), [0]),
        "compiled": lambda: Version(compiled(plain.warp), arguments, [0]),
    }


def attentions(x: Inputs) -> Versions:
    maps, every = [x.query, x.key, x.value], [0, 1, 2]
    found: Versions = {
        "ours": lambda: Version(functools.partial(ops.local_attention, window=WINDOW), maps, every),
        "eager": lambda: Version(plain.local_attention, maps, every),
        "chain": lambda: Version(chain_attention, contiguous(maps), every),
        "compiled": lambda: Version(compiled(plain.local_attention), maps, every),
        "flex": lambda: flex_version(x),
    }
    if has_package(x):
        found["localAttention"] = lambda: Version(package_attention, contiguous(maps), every)
    return found


def flex_version(x: Inputs) -> Version:
    # To and from the order of tiles is not part of the call: a network could keep its maps in that order.
    tiles = gpu_flex.Tiles(x.shape.height, x.shape.width, WINDOW)
    run = compiled(gpu_flex.attention) if x.device.type == "cuda" else gpu_flex.attention
    mask = tiles.mask(x.device)
    given = [tiles.queries(x.query), tiles.keys(x.key), tiles.keys(x.value)]
    return Version(
        lambda query, key, value: run(query, key, value, mask),
        given,
        [0, 1, 2],
        lambda result, place: tiles.restore(result, place > 0),
    )


def fusions(x: Inputs) -> Versions:
    whole = [x.reference, x.low_res, x.flow, *x.parameters]
    chain = [*contiguous([x.reference, x.low_res]), x.flow, *x.parameters]
    ours = [x.reference, x.low_res, *x.parameters]
    found = {
        "ours": fusion(x, lambda a, b, *p: ops.creff(a, b, x.motion, *p, **x.options), ours),
        "eager": fusion(x, plain.creff, whole),
        "chain": fusion(x, functools.partial(chain_creff, chain_attention), chain),
        "compiled": fusion(x, compiled(plain.creff), whole),
    }
    if has_package(x):
        found["localAttention"] = fusion(x, functools.partial(chain_creff, package_attention), chain)
    return found


def labels(x: Inputs) -> Versions:
    whole = [x.reference, x.low_res, x.flow, *x.parameters, *x.classifier]
    ours = [x.reference, x.low_res, *x.parameters, *x.classifier]
    return {
        "ours": lambda: Version(lambda a, b, *p: ops.creff_labels(a, b, x.motion, *p, **x.options), ours, []),
        "eager": lambda: Version(plain_labels, whole, []),
        "chain": lambda: Version(chain_labels, whole, []),
        "compiled": lambda: Version(compiled(plain_labels), whole, []),
    }


MAKERS = {"warp": warps, "attention": attentions, "creff": fusions, "labels": labels}


def expected(op: str, x: Inputs) -> Version:
    """Plain PyTorch in float32, on the same values: what all versions are held to."""
    return MAKERS[op](x.exact())["eager"]()
