"""A training loop that can be stopped at any moment and goes on where it was, on one process or several."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from .batches import Batch, FinishBatch, MakeBatch, batches, moved
from .log import RunLog
from .schedule import Schedule
from .states import RunState
from .workers import check_workers, telling_of_dead

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
    workers: int = 0,
    finish: FinishBatch | None = None,
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
        workers: processes that make the batches, which are the same for any number; 0: a thread of this one. They are
            forked: `sample` may be anything, but must not use CUDA.
        finish: what becomes of a batch, or of a part of one, on the device.

    Raises:
        InputError: the state in `folder` was made with other settings, or a batch cannot be cut into equal parts.
        BusyError: another run is at work in `folder`.
        FloatingPointError: the loss is not finite. On a GPU, which nothing waits for in between, that is seen when the
            log is written or the state is to be saved.
        MemoryLimitError: one of the processes was ended from outside.
    """
    if accumulate < 1:
        raise InputError(f"accumulate: expected at least 1, got {accumulate}")
    check_workers(workers)
    device = torch.device(device)
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
        device=device,
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
        losses = _Losses(run.path, waits=device.type == "cpu")
        stack.enter_context(telling_of_dead(workers))
        cut: dict[str, Any] = {"accumulate": accumulate, "sharded": sharded}
        made = batches(sample, first, schedule.steps, seed, **cut, workers=workers, device=device, finish=finish)
        for step, parts in stack.enter_context(contextlib.closing(made)):
            done = step + 1
            torch.manual_seed(seed * 1_000_003 + step)
            losses.add(step, _backward(objective, run, parts, finish))
            run.update(max_grad_norm)
            lr, saves = float(scheduler.get_last_lr()[-1]), done % schedule.save_every == 0 or done == schedule.steps
            validates = validate is not None and schedule.validates(done)
            if losses.waits or saves or validates or done % schedule.log_every == 0:
                for at, terms in losses.taken():
                    log.add(at + 1, terms, lr)
            scheduler.step()
            if validate is not None and validates:
                _validated(validate, run, log, done)
            if saves:
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


def _backward(
    objective: _Objective, run: RunState, parts: Sequence[Batch], finish: FinishBatch | None
) -> dict[str, Tensor]:
    """Leaves the gradients of the step's loss in the parameters; the terms' means over the parts of this process."""
    run.optimiser.zero_grad(set_to_none=True)
    sums: dict[str, Tensor] = {}
    for number, part in enumerate(parts, 1):
        terms = objective.terms(moved(part, run.device, finish), last=number == len(parts))
        total = torch.stack(list(terms.values())).sum() / len(parts)
        for name, term in terms.items():
            sums[name] = sums.get(name, 0) + term.detach().float() / len(parts)
        run.scaler.scale(total).backward()
    return sums


class _Losses:
    """The terms of the steps since they were last asked for. They stay on the device, so that no step waits for it."""

    def __init__(self, state: Path, waits: bool):
        self.waits, self._state = waits, state
        self._steps: list[tuple[int, tuple[str, ...], Tensor]] = []

    def add(self, step: int, terms: Mapping[str, Tensor]) -> None:
        self._steps.append((step, tuple(terms), torch.stack(list(terms.values()))))

    def taken(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Each step with its terms' means over the processes. Raises `FloatingPointError` at one that is not finite."""
        steps, self._steps = self._steps, []
        values = _mean_over_processes(torch.cat([terms for _, _, terms in steps])).tolist()
        for step, names, _ in steps:
            own, values = values[: len(names)], values[len(names) :]
            if not math.isfinite(sum(own)):
                raise FloatingPointError(f"step {step}: the loss is {sum(own)}; the last state is in {self._state}")
            yield step, dict(zip(names, own, strict=True))


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
