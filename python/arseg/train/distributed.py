"""One training on several processes (`torchrun`), with the result of one process up to rounding.

Each process takes its part of every batch. What a batch decides as a whole is decided over all parts: the statistics
of batch normalisation, the masks of dropout, and the pixel counts that losses divide by.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from arseg.device import device_of
from arseg.errors import InputError
from arseg.extras import loaded


def rank() -> int:
    """This process's number, 0 where there is one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main_process() -> bool:
    """Whether this process writes the files and the progress."""
    return rank() == 0


@contextmanager
def processes(device: str = "cpu") -> Iterator[torch.device]:
    """Joins the processes that `torchrun` started, if it did; gives the device of this one.

    `device` "cuda" becomes this process's own card. gloo connects CPUs, nccl CUDA devices.
    """
    chosen = device_of(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device: torch finds no CUDA device here, got {device}; use cpu")
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield chosen
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield chosen
    finally:
        dist.destroy_process_group()


@contextmanager
def main_process_first() -> Iterator[None]:
    """The first process goes through it before the others, which find what it made."""
    if world() > 1 and not is_main_process():
        dist.barrier()
    yield
    if world() > 1 and is_main_process():
        dist.barrier()


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def total(x: Tensor) -> Tensor:
    """The sum over all processes; differentiable."""
    return x if world() == 1 else _SumOverProcesses.apply(x)


def gathered(x: Tensor) -> Tensor:
    """`[n]` of each process, `n` may differ -> `[sum of n]` on each; without gradients."""
    if world() == 1:
        return x.detach()
    sizes = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(world())]
    dist.all_gather(sizes, torch.tensor([x.numel()], device=x.device))
    padded = x.detach().new_zeros(int(max(sizes)))
    padded[: x.numel()] = x.detach()
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(size)] for part, size in zip(parts, sizes, strict=True)])


def mean_of(summed: Tensor, count: Tensor) -> Tensor:
    """A part's sum and count -> its share of the mean over all processes.

    The gradients of the processes are averaged afterwards: the shares' average is the mean.
    """
    whole = count.detach().clone()
    if world() > 1:
        dist.all_reduce(whole)
    return summed * world() / whole.clamp(min=torch.finfo(torch.float32).tiny)


def part_of(batch: Mapping[str, Any], index: int, parts: int) -> dict[str, Any]:
    """Part `index` of `parts` of a batch: tensors `[N, ...]` are cut along N, the rest stays."""
    out = dict(batch)
    for key, value in batch.items():
        if isinstance(value, Tensor) and value.dim():
            if value.shape[0] % parts:
                raise InputError(
                    f"batch: expected a multiple of {parts} (processes times accumulated steps), got {value.shape[0]}"
                )
            size = value.shape[0] // parts
            out[key] = value[index * size : (index + 1) * size]
    return out


def _batch_norm(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Batch normalisation by the statistics of all processes' parts; in eval mode, the usual one."""
    if not norm.training or norm.running_mean is None or norm.running_var is None:
        return F.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training, 0.0, norm.eps
        )
    values = x if x.dtype == torch.float64 else x.float()
    count = values.numel() // values.shape[1] * world()
    mean = total(values.sum((0, 2, 3))) / count
    centred = values - mean.view(1, -1, 1, 1)
    variance = total(centred.square().sum((0, 2, 3))) / count
    assert norm.momentum is not None and norm.num_batches_tracked is not None
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / max(1, count - 1)), norm.momentum)
    scale = torch.rsqrt(variance + norm.eps)
    if norm.affine:
        scale = scale * norm.weight
    out = centred * scale.view(1, -1, 1, 1)
    return (out + norm.bias.view(1, -1, 1, 1) if norm.affine else out).to(x.dtype)


class _SharedBatchNorm2d(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return _batch_norm(self, x)


@cache
def _shared_with_activation(of_timm: type[nn.Module]) -> type[nn.Module]:
    """The same of timm's `BatchNormAct2d`."""

    class SharedBatchNormAct2d(of_timm):  # type: ignore[valid-type, misc]
        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.drop(_batch_norm(self, x)))

    return SharedBatchNormAct2d


def _share_of_mask(x: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
    # Drawn for the whole batch, as one process would, and cut: every process holds the same generator state.
    whole = x.new_empty((shape[0] * world(), *shape[1:])).bernoulli_(1 - p).div_(1 - p)
    return whole[rank() * shape[0] : (rank() + 1) * shape[0]]


class _SharedDropout(nn.Dropout):
    def forward(self, x: Tensor) -> Tensor:
        return x * _share_of_mask(x, tuple(x.shape), self.p) if self.training and 0 < self.p < 1 else super().forward(x)


class _SharedDropout2d(nn.Dropout2d):
    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not 0 < self.p < 1:
            return super().forward(x)
        return x * _share_of_mask(x, (*x.shape[:2], 1, 1), self.p)


_SHARED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: _SharedBatchNorm2d,
    nn.Dropout: _SharedDropout,
    nn.Dropout2d: _SharedDropout2d,
}


@contextmanager
def shared_statistics(module: nn.Module) -> Iterator[None]:
    """Within it, the module's batch normalisations and dropouts work on the batch of all processes.

    Their classes are exchanged in place, so that parameters, buffers and their names stay. Nothing is done where there
    is one process.
    """
    shared = {**_SHARED, **{kind: _shared_with_activation(kind) for kind in loaded("timm.layers", "BatchNormAct2d")}}
    changed = [m for m in module.modules() if type(m) in shared] if world() > 1 else []
    before = [type(m) for m in changed]
    for m in changed:
        m.__class__ = shared[type(m)]  # type: ignore[assignment]
    try:
        yield
    finally:
        for m, kind in zip(changed, before, strict=True):
            m.__class__ = kind  # type: ignore[assignment]
