"""The package `localAttention`, which the original AR-Seg code imports, in plain PyTorch.

Of its five compiled functions and two autograd functions the arguments, their order, the shapes and the values are the
same. What is new: the CPU, float64 and 16-bit types, and tensors of any strides. New code takes
`arseg_ext.ops.local_attention`, which makes no map of similarities and is many times faster.

Window offset k = y * kW + x stands for the neighbour (y - kH // 2, x - kW // 2) pixels away; even sides are allowed.
Neighbours outside the image count as 0. Sums are in float32 at least. Scratch is one band of rows for the gathering
functions, and one map in the type of the sums for `similar_backward(..., False)` and `weighting_backward_ori`.

The five functions give results that autograd does not follow, as those of the package do: call `f_similar` and
`f_weighting` for gradients. Errors are a TypeError or ValueError with a sentence that names the argument.

Interface of: Zhang, "Image Local Attention: a Better PyTorch Implementation", github.com/zzd1992/Image-Local-Attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

__all__ = [
    "LocalAttention",
    "f_similar",
    "f_weighting",
    "similar_backward",
    "similar_forward",
    "weighting_backward_ori",
    "weighting_backward_weight",
    "weighting_forward",
]

# Of one temporary map: on a CPU it is to stay in the second-level cache, on other devices to fill them.
_BAND_BYTES = {"cpu": 2**20}
_OTHER_BAND_BYTES = 2**26


@torch.no_grad()
def similar_forward(x_ori: Tensor, x_loc: Tensor, kH: int, kW: int) -> Tensor:
    """Inner products of each pixel with its neighbours.

    Args:
        x_ori: queries [N, C, H, W].
        x_loc: keys [N, C, H, W].
        kH, kW: height and width of the window.

    Returns:
        [N, H, W, kH * kW], dtype of `x_ori`; 0 for neighbours outside the image.
    """
    _check("similar_forward", kH, kW, {"x_ori": x_ori, "x_loc": x_loc})
    return _inner_products(x_ori, x_loc, kH, kW, x_ori.dtype)


@torch.no_grad()
def similar_backward(x: Tensor, grad_out: Tensor, kH: int, kW: int, is_ori: bool) -> Tensor:
    """A gradient of `similar_forward`.

    Args:
        x: the other map [N, C, H, W]: `x_loc` for the gradient of `x_ori`, and the other way round.
        grad_out: gradient of the similarities [N, H, W, kH * kW].
        kH, kW: as in the forward.
        is_ori: whether the gradient is that of `x_ori`.

    Returns:
        [N, C, H, W], dtype of `x`.
    """
    _check("similar_backward", kH, kW, {"x": x}, {"grad_out": grad_out})
    product = _gathered if is_ori else _scattered
    return product(x, grad_out, kH, kW, x.dtype)


@torch.no_grad()
def weighting_forward(x_ori: Tensor, x_weight: Tensor, kH: int, kW: int) -> Tensor:
    """Sums of the neighbours of each pixel by its weights.

    Args:
        x_ori: values [N, C, H, W].
        x_weight: weights [N, H, W, kH * kW].
        kH, kW: height and width of the window.

    Returns:
        [N, C, H, W], dtype of `x_ori`; neighbours outside the image are left out.
    """
    _check("weighting_forward", kH, kW, {"x_ori": x_ori}, {"x_weight": x_weight})
    return _gathered(x_ori, x_weight, kH, kW, x_ori.dtype)


@torch.no_grad()
def weighting_backward_ori(x_weight: Tensor, grad_out: Tensor, kH: int, kW: int) -> Tensor:
    """The gradient of the values of `weighting_forward`.

    Args:
        x_weight: weights [N, H, W, kH * kW].
        grad_out: gradient of the sums [N, C, H, W].
        kH, kW: as in the forward.

    Returns:
        [N, C, H, W], dtype of `x_weight`.
    """
    _check("weighting_backward_ori", kH, kW, {"grad_out": grad_out}, {"x_weight": x_weight})
    return _scattered(grad_out, x_weight, kH, kW, x_weight.dtype)


@torch.no_grad()
def weighting_backward_weight(x_ori: Tensor, grad_out: Tensor, kH: int, kW: int) -> Tensor:
    """The gradient of the weights of `weighting_forward`.

    Args:
        x_ori: values [N, C, H, W].
        grad_out: gradient of the sums [N, C, H, W].
        kH, kW: as in the forward.

    Returns:
        [N, H, W, kH * kW], dtype of `x_ori`.
    """
    _check("weighting_backward_weight", kH, kW, {"x_ori": x_ori, "grad_out": grad_out})
    return _inner_products(grad_out, x_ori, kH, kW, x_ori.dtype)


class _Similar(Function):
    @staticmethod
    def forward(ctx: Any, x_ori: Tensor, x_loc: Tensor, kH: int, kW: int) -> Tensor:
        ctx.save_for_backward(x_ori, x_loc)
        ctx.window = kH, kW
        return similar_forward(x_ori, x_loc, kH, kW)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x_ori, x_loc = ctx.saved_tensors
        kH, kW = ctx.window
        needs_ori, needs_loc, *_ = ctx.needs_input_grad
        grad_ori = similar_backward(x_loc, grad, kH, kW, True) if needs_ori else None
        grad_loc = similar_backward(x_ori, grad, kH, kW, False) if needs_loc else None
        return grad_ori, grad_loc, None, None


class _Weighting(Function):
    @staticmethod
    def forward(ctx: Any, x_ori: Tensor, x_weight: Tensor, kH: int, kW: int) -> Tensor:
        ctx.save_for_backward(x_ori, x_weight)
        ctx.window = kH, kW
        return weighting_forward(x_ori, x_weight, kH, kW)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x_ori, x_weight = ctx.saved_tensors
        kH, kW = ctx.window
        needs_ori, needs_weight, *_ = ctx.needs_input_grad
        grad_ori = weighting_backward_ori(x_weight, grad, kH, kW) if needs_ori else None
        grad_weight = weighting_backward_weight(x_ori, grad, kH, kW) if needs_weight else None
        return grad_ori, grad_weight, None, None


def f_similar(x_ori: Tensor, x_loc: Tensor, kH: int, kW: int) -> Tensor:
    """`similar_forward`, differentiable once in `x_ori` and `x_loc`."""
    return _Similar.apply(x_ori, x_loc, kH, kW)


def f_weighting(x_ori: Tensor, x_weight: Tensor, kH: int, kW: int) -> Tensor:
    """`weighting_forward`, differentiable once in `x_ori` and `x_weight`."""
    return _Weighting.apply(x_ori, x_weight, kH, kW)


class LocalAttention(nn.Module):
    """Local self-attention; queries, keys and values are 1x1 convolutions without bias (`conv1`, `conv2`, `conv3`)."""

    def __init__(self, inp_channels: int, out_channels: int, kH: int, kW: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inp_channels, out_channels, kernel_size=1, bias=False)
        self.conv2 = nn.Conv2d(inp_channels, out_channels, kernel_size=1, bias=False)
        self.conv3 = nn.Conv2d(inp_channels, out_channels, kernel_size=1, bias=False)
        self.kH = kH
        self.kW = kW

    def forward(self, x: Tensor) -> Tensor:
        """[N, inp_channels, H, W] -> [N, out_channels, H, W]."""
        weight = f_similar(self.conv1(x), self.conv2(x), self.kH, self.kW).softmax(-1)
        return f_weighting(self.conv3(x), weight, self.kH, self.kW)


def _check(name: str, kH: int, kW: int, maps: dict[str, Tensor], windows: dict[str, Tensor] | None = None) -> None:
    """maps: [N, C, H, W], all of one shape; windows: [N, H, W, kH * kW] of the same image."""
    for side, value in (("kH", kH), ("kW", kW)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name}: {side} must be an int, got {type(value).__name__}")
        if value < 1:
            raise ValueError(f"{name}: {side} must be at least 1, got {value}")
    windows = windows or {}
    for argument, tensor in {**maps, **windows}.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}: {argument} must be a tensor, got {type(tensor).__name__}")
        if not tensor.is_floating_point():
            raise ValueError(f"{name}: {argument} must be of a floating dtype, got {tensor.dtype}")
    first_name, first = next(iter(maps.items()))
    if first.dim() != 4:
        raise ValueError(f"{name}: {first_name} must be [N, C, H, W], got {list(first.shape)}")
    batch, _, height, width = first.shape
    for argument, tensor in {**maps, **windows}.items():
        expected = list(first.shape) if argument in maps else [batch, height, width, kH * kW]
        if list(tensor.shape) != expected:
            raise ValueError(
                f"{name}: {argument} must be {expected}, as {first_name} is {list(first.shape)} and the "
                f"window {kH}x{kW}; got {list(tensor.shape)}"
            )
        if tensor.device != first.device:
            raise ValueError(f"{name}: {argument} must be on {first.device}, as {first_name} is; got {tensor.device}")


def _summing(*tensors: Tensor) -> torch.dtype:
    """What sums are made in."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def _overlap(offset: int, size: int, first: int = 0, last: int | None = None) -> slice:
    """Places i in [first, last) with i + offset in [0, size)."""
    last = size if last is None else last
    start = min(max(first, -offset), last)
    return slice(start, max(start, min(last, size - offset)))


def _moved(places: slice, offset: int) -> slice:
    return slice(places.start + offset, places.stop + offset)


def _neighbours(
    kH: int, kW: int, height: int, width: int, rows: slice
) -> Iterator[tuple[int, slice, slice, slice, slice]]:
    """For each k with a neighbour inside: k, rows and columns of the pixels that have it, those of the neighbours."""
    for y in range(kH):
        dy = y - kH // 2
        here_y = _overlap(dy, height, rows.start, rows.stop)
        for x in range(kW):
            dx = x - kW // 2
            here_x = _overlap(dx, width)
            if here_y.start < here_y.stop and here_x.start < here_x.stop:
                yield y * kW + x, here_y, here_x, _moved(here_y, dy), _moved(here_x, dx)


def _bands(x: Tensor, dtype: torch.dtype) -> Iterator[slice]:
    """Rows of a map such that a temporary map of them is small."""
    batch, channels, height, width = x.shape
    row = max(1, batch * channels * width * torch.empty((), dtype=dtype).element_size())
    rows = max(1, _BAND_BYTES.get(x.device.type, _OTHER_BAND_BYTES) // row)
    for first in range(0, height, rows):
        yield slice(first, min(first + rows, height))


def _with_halo(x: Tensor, band: slice, kH: int, dtype: torch.dtype) -> tuple[Tensor, int]:
    """The rows that the windows of a band reach, and the first of them."""
    first = max(0, band.start - kH // 2)
    return x[:, :, first : band.stop + (kH - 1) - kH // 2].to(dtype).contiguous(), first


def _inner_products(centre: Tensor, neighbour: Tensor, kH: int, kW: int, dtype: torch.dtype) -> Tensor:
    """out[n, y, x, k] = <centre at (y, x), neighbour at (y, x) + offset k>."""
    batch, _, height, width = centre.shape
    summing = _summing(centre, neighbour)
    out = centre.new_empty(batch, height, width, kH * kW, dtype=dtype)
    for band in _bands(centre, summing):
        ours = centre[:, :, band].to(summing).contiguous()
        theirs, first = _with_halo(neighbour, band, kH, summing)
        sums = ours.new_zeros(kH * kW, batch, band.stop - band.start, width)
        for k, y, x, their_y, their_x in _neighbours(kH, kW, height, width, band):
            here_y = _moved(y, -band.start)
            product = ours[:, :, here_y, x] * theirs[:, :, _moved(their_y, -first), their_x]
            sums[k, :, here_y, x] = product.sum(1)
        out[:, band] = sums.permute(1, 2, 3, 0)
    return out


def _gathered(neighbour: Tensor, weight: Tensor, kH: int, kW: int, dtype: torch.dtype) -> Tensor:
    """out[n, :, y, x] = sum over k of weight[n, y, x, k] * neighbour at (y, x) + offset k."""
    height, width = neighbour.shape[2:]
    summing = _summing(neighbour, weight)
    out = neighbour.new_empty(neighbour.shape, dtype=dtype)
    for band in _bands(neighbour, summing):
        weights = weight[:, band].permute(3, 0, 1, 2).to(summing).contiguous()[:, :, None]
        theirs, first = _with_halo(neighbour, band, kH, summing)
        sums = theirs.new_zeros(out[:, :, band].shape)
        for k, y, x, their_y, their_x in _neighbours(kH, kW, height, width, band):
            here_y = _moved(y, -band.start)
            sums[:, :, here_y, x].addcmul_(weights[k, ..., here_y, x], theirs[:, :, _moved(their_y, -first), their_x])
        out[:, :, band] = sums
    return out


def _scattered(centre: Tensor, weight: Tensor, kH: int, kW: int, dtype: torch.dtype) -> Tensor:
    """The transpose of `_gathered`: each pixel adds weight[n, y, x, k] * centre to (y, x) + offset k."""
    height, width = centre.shape[2:]
    summing = _summing(centre, weight)
    sums = centre.new_zeros(centre.shape, dtype=summing)
    for band in _bands(centre, summing):
        weights = weight[:, band].permute(3, 0, 1, 2).to(summing).contiguous()[:, :, None]
        ours = centre[:, :, band].to(summing).contiguous()
        for k, y, x, their_y, their_x in _neighbours(kH, kW, height, width, band):
            here_y = _moved(y, -band.start)
            sums[:, :, their_y, their_x].addcmul_(weights[k, ..., here_y, x], ours[:, :, here_y, x])
    return sums.to(dtype)
