"""A training loop that can be stopped at any moment and goes on where it was, on one process or several."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from arseg.errors import InputError
from arseg.files import working_in

from . import distributed
from .batches import Batch, MakeBatch, batches, moved, own_parts
from .log import RunLog
from .schedule import Schedule
from .states import RunState

# The name of DDP's argument since torch 2.14.
_NEW_NAME = "forward_sync_buffers"
_SYNC_BUFFERS = _NEW_NAME if _NEW_NAME in signature(DistributedDataParallel).parameters else "broadcast_buffers"

Loss = Callable[[Batch], dict[str, Tensor]]
"""Batch -> named terms, scalars, whose sum is minimised."""

Validate = Callable[[int, Mapping[str, Tensor]], tuple[str, Mapping[str, float]]]
"""(steps done, weights) -> the stage's name and figures, of which "miou" decides."""


def train(
    model: nn.Module,
    groups: list[dict[str, Any]],
    sample: MakeBatch,
    loss: Loss,
    schedule: Schedule,
    folder: Path,
    *,
    settings: Mapping[str, Any],
    seed: int = 0,
    report: Callable[[str], None] = print,
    optimiser: Callable[[list[dict[str, Any]]], torch.optim.Optimizer] | None = None,
    accumulate: int = 1,
    max_grad_norm: float | None = 5.0,
    device: torch.device | str = "cpu",
    grad_scaler: bool = False,
    sharded: bool = False,
    validate: Validate | None = None,
    tensorboard: bool = False,
    find_unused_parameters: bool = False,
) -> dict[str, Tensor]:
    """Minimises the sum of what `loss` returns, and returns the averaged weights.

    On several processes (see `distributed.processes`) each works on its part of every batch; the result is that of one
    process up to rounding.

    Args:
        groups: the optimiser's parameter groups; a group's `lr_scale` multiplies the schedule's learning rate.
        sample: makes the batch of a step from a random generator. The generator is seeded by (seed, step), so a resumed
            run sees the batches that an uninterrupted one would have.
        loss: batch -> named terms, scalars.
        folder: `state.pt` (everything needed to go on) and `log.jsonl` are kept there; an existing state is resumed.
        settings: what the run depends on, in JSON's terms.
        optimiser: makes the optimiser from the groups; AdamW with weight decay 0.01 where None.
        accumulate: batches are worked on in so many parts one after the other, to save memory.
        max_grad_norm: the gradient is scaled down to this norm; None: never.
        device: where the model is; batches are moved there.
        grad_scaler: scale the loss so that gradients fit in float16 (CUDA).
        sharded: `sample` gives this process's part alone, in place of the whole batch.
        validate: scores the averaged weights every `schedule.validate_every` steps; the best of each of its stages are
            kept in `folder/best-STAGE.pt`.
        tensorboard: also write the log for TensorBoard, into `folder/tensorboard`.
        find_unused_parameters: there are steps in which some parameters have no part.

    Raises:
        InputError: the state in `folder` was made with other settings, or a batch cannot be cut into equal parts.
        BusyError: another run is at work in `folder`.
        FloatingPointError: the loss is not finite.
    """
    if accumulate < 1:
        raise InputError(f"accumulate: expected at least 1, got {accumulate}")
    folder.mkdir(parents=True, exist_ok=True)
    lr_scales = [group.get("lr_scale", 1.0) for group in groups]
    for group, scale in zip(groups, lr_scales, strict=True):
        group["lr"] = schedule.lr * scale
    run = RunState(
        model,
        torch.optim.AdamW(groups, weight_decay=0.01) if optimiser is None else optimiser(groups),
        folder,
        settings,
        ema_decay=schedule.ema_decay,
        grad_scaler=grad_scaler,
        device=torch.device(device),
    )
    with contextlib.ExitStack() as stack:
        if distributed.is_main_process():
            stack.enter_context(working_in(folder))
        first = run.resume()
        if first and distributed.is_main_process():
            report(f"resumed at step {first} of {schedule.steps}")
        log = stack.enter_context(RunLog(folder, schedule, first, report, tensorboard))
        stack.enter_context(distributed.shared_statistics(model))
        objective = _Objective(model, loss, find_unused_parameters)
        scheduler = schedule.scheduler(run.optimiser, lr_scales, first)
        for step, batch in batches(sample, first, schedule.steps, seed):
            done = step + 1
            torch.manual_seed(seed * 1_000_003 + step)
            terms = _backward(objective, run, own_parts(batch, accumulate, sharded), step)
            run.update(max_grad_norm)
            log.add(done, terms, float(scheduler.get_last_lr()[-1]))
            scheduler.step()
            if validate is not None and schedule.validates(done):
                _validated(validate, run, log, done)
            if done % schedule.save_every == 0 or done == schedule.steps:
                run.save(done)
    return run.averaged()


class _Objective(nn.Module):
    """The loss as the forward of the model, so that gradients are averaged over processes where there are several."""

    def __init__(self, model: nn.Module, loss: Loss, find_unused_parameters: bool):
        super().__init__()
        self.model, self.loss = model, loss
        # Buffers are the same everywhere as it is: they are those of the whole batch. A list hides it from the modules.
        options: dict[str, Any] = {_SYNC_BUFFERS: False, "find_unused_parameters": find_unused_parameters}
        self._whole = [DistributedDataParallel(self, **options)] if distributed.world() > 1 else []

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.loss(batch)

    def terms(self, batch: Batch, last: bool) -> dict[str, Tensor]:
        """Of a part of the step's batch; the gradients of the processes meet at the `last`."""
        if not self._whole:
            return self.loss(batch)
        with contextlib.nullcontext() if last else self._whole[0].no_sync():
            return self._whole[0](batch)


def _backward(objective: _Objective, run: RunState, parts: Sequence[Batch], step: int) -> dict[str, float]:
    """Leaves the gradients of the step's loss in the parameters; the terms' means over parts and processes."""
    run.optimiser.zero_grad(set_to_none=True)
    sums: dict[str, Tensor] = {}
    for number, part in enumerate(parts, 1):
        terms = objective.terms(moved(part, run.device), last=number == len(parts))
        total = torch.stack(list(terms.values())).sum() / len(parts)
        for name, term in terms.items():
            sums[name] = sums.get(name, 0) + term.detach().float() / len(parts)
        seen = _mean_over_processes(total.detach())
        if not torch.isfinite(seen):
            raise FloatingPointError(f"step {step}: the loss is {seen.item()}; the last state is in {run.path}")
        run.scaler.scale(total).backward()
    return {name: float(_mean_over_processes(value)) for name, value in sums.items()}


def _mean_over_processes(x: Tensor) -> Tensor:
    if distributed.world() > 1:
        x = x.clone()
        dist.all_reduce(x)
        x /= distributed.world()
    return x


def _validated(validate: Validate, run: RunState, log: RunLog, done: int) -> None:
    """Scores the averaged weights, and keeps them where they are the best of their stage."""
    weights = run.averaged()
    stage, figures = validate(done, weights)
    better = run.best.offer(stage, figures["miou"], done, weights)
    log.validation(done, stage, figures, better)
