"""Operators on maps sharded over two processes, for test_contract_sharding.py; raises where one differs."""

from __future__ import annotations

from datetime import timedelta

import torch
import torch.distributed as dist
from helpers.op_samples import error, randn, samples

from arseg_ext import _loader, _vmap


def gathered(results):
    return [r.full_tensor() for r in ((results,) if isinstance(results, torch.Tensor) else results)]


def main(folder: str, rank: int) -> None:
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    # Before the operators: test_contract_sharding.py has the other order.
    from torch.distributed.tensor import DTensor, Replicate, Shard, init_device_mesh

    _loader.load()
    mesh = init_device_mesh("cpu", (2,))
    cases = [s for s in samples(torch.float64) if s.op in _vmap.FOLDED]
    for sample in cases:
        schema = sample.overload._schema.arguments
        whole = [a.detach().clone().requires_grad_(a.requires_grad) if torch.is_tensor(a) else a for a in sample.args]
        parts = []
        for argument, value in zip(schema, sample.args, strict=False):
            if torch.is_tensor(value):
                placement = Replicate() if argument.name in _vmap.SHARED else Shard(0)
                wanted = value.requires_grad
                local = value.detach().clone()
                if placement == Shard(0):  # gloo scatters no int16
                    local = local.chunk(2)[rank]
                value = DTensor.from_local(local, mesh, [placement]).requires_grad_(wanted)
            parts.append(value)
        results, expected = sample.overload(*parts, **sample.kwargs), sample.overload(*whole, **sample.kwargs)
        first = results if torch.is_tensor(results) else results[0]
        assert isinstance(first, DTensor) and first.placements == (Shard(0),), f"{sample}: {first.placements}"
        local = first.to_local()
        assert local.shape[0] == 1, f"{sample}: {local.shape}"
        told = (expected,) if torch.is_tensor(expected) else expected
        for a, b in zip(gathered(results), told, strict=True):
            assert error(a, b) < 1e-12, f"{sample}: results differ"
        if not first.requires_grad:
            continue
        first.square().sum().backward()
        told[0].square().sum().backward()
        for argument, a, b in zip(schema, parts, whole, strict=False):
            if torch.is_tensor(b) and b.requires_grad:
                worst = error(a.grad.full_tensor(), b.grad)
                assert worst < 1e-10, f"{sample}: gradient of {argument.name} differs by {worst}"
    # Another size of the same operator is not taken from a cache.
    logits = DTensor.from_local(randn(1, 3, 4, 5), mesh, [Shard(0)])
    for size in ([7, 9], [8, 11]):
        assert torch.ops.arseg.resize_labels(logits, size).shape == (2, *size)
    print(f"{len(cases)} cases equal")
    dist.destroy_process_group()
