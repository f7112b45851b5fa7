"""A training loop that can be stopped at any moment and goes on where it was, on one process or several."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from arseg.errors import InputError
from arseg.files import working_in

from . import distributed
from .log import RunLog
from .states import Best, save_state

Batch = dict[str, Any]

# The name of DDP's argument since torch 2.14.
_NEW_NAME = "forward_sync_buffers"
_SYNC_BUFFERS = _NEW_NAME if _NEW_NAME in signature(DistributedDataParallel).parameters else "broadcast_buffers"


@dataclass(frozen=True)
class Schedule:
    """Steps, learning rate (cosine to zero after a linear warm-up) and how often to log, to save and to validate.

    `validate_every` 0: never. `averaging`: decay of the running mean of the weights, a step; 0: no mean.
    """

    steps: int
    rate: float
    warmup: int = 50
    log_every: int = 20
    save_every: int = 100
    validate_every: int = 0
    averaging: float = 0.99

    def factor(self, step: int) -> float:
        """The rate at `step` as a share of `rate`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))

    def validates(self, done: int) -> bool:
        """Whether it is time to validate after `done` steps."""
        return bool(self.validate_every) and (done % self.validate_every == 0 or done == self.steps)


class Ema:
    """A running mean of parameters and buffers; what is saved as the result and evaluated.

    With `decay` 0 it is the weights themselves.
    """

    def __init__(self, model: nn.Module, decay: float = 0.99):
        self.decay = decay
        self.state = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        # Short memory at first, so that the random start does not stay in the mean.
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            mean = self.state[key]
            if mean.is_floating_point() and decay > 0:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


Validate = Callable[[int, Mapping[str, Tensor]], tuple[str, Mapping[str, float]]]
"""(steps done, weights) -> the stage's name and figures, of which "miou" decides."""


def train(
    model: nn.Module,
    groups: list[dict[str, Any]],
    sample: Callable[[int, np.random.Generator], Batch],
    loss: Callable[[Batch], dict[str, Tensor]],
    schedule: Schedule,
    folder: Path,
    *,
    settings: Mapping[str, Any],
    seed: int = 0,
    report: Callable[[str], None] = print,
    optimiser: Callable[[list[dict[str, Any]]], torch.optim.Optimizer] | None = None,
    accumulate: int = 1,
    clip: float | None = 5.0,
    device: torch.device | str = "cpu",
    half: bool = False,
    divided: bool = False,
    validate: Validate | None = None,
    tensorboard: bool = False,
    unused: bool = False,
) -> dict[str, Tensor]:
    """Minimises the sum of what `loss` returns, and returns the averaged weights.

    On several processes (see `distributed.processes`) each works on its part of every batch; the result is that of one
    process up to rounding.

    Args:
        groups: the optimiser's parameter groups; a group's `scale` multiplies the schedule's rate.
        sample: makes the batch of a step from a random generator. The generator is seeded by (seed, step), so a resumed
            run sees the batches that an uninterrupted one would have.
        loss: batch -> named terms, scalars.
        folder: `state.pt` (everything needed to go on) and `log.jsonl` are kept there; an existing state is resumed.
        settings: what the run depends on, in JSON's terms; a state that was made with others is refused, and so is a
            folder in which another run is at work.
        optimiser: makes the optimiser from the groups; AdamW with weight decay 0.01 where None.
        accumulate: batches are worked on in so many parts one after the other, to save memory.
        clip: largest norm of the gradient; None for any.
        device: where the model is; batches are moved there.
        half: scale the loss so that gradients fit in float16 (CUDA).
        divided: `sample` gives this process's part alone, in place of the whole batch.
        validate: scores the averaged weights every `schedule.validate_every` steps; the best of each of its stages are
            kept in `folder/best-STAGE.pt`.
        tensorboard: also write the log for TensorBoard, into `folder/tensorboard`.
        unused: there are steps in which some parameters have no part.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for group in groups:
        group["lr"] = schedule.rate * group.get("scale", 1.0)
    if accumulate < 1:
        raise InputError(f"accumulate: expected at least 1, got {accumulate}")
    run = _Run(
        model=model,
        optimiser=torch.optim.AdamW(groups, weight_decay=0.01) if optimiser is None else optimiser(groups),
        scaler=torch.amp.GradScaler("cuda", enabled=half),
        ema=Ema(model, schedule.averaging),
        best=Best(folder),
        path=folder / "state.pt",
        settings=json.loads(json.dumps(dict(settings))),
        device=torch.device(device),
    )
    with contextlib.ExitStack() as stack:
        if distributed.is_first():
            stack.enter_context(working_in(folder))
        first = run.resume()
        if first and distributed.is_first():
            report(f"resumed at step {first} of {schedule.steps}")
        log = RunLog(folder, schedule, first, report, tensorboard)
        with distributed.shared_statistics(model), log:
            objective = _Objective(model, loss, unused)
            for step, batch in _batches(sample, first, schedule.steps, seed):
                torch.manual_seed(seed * 1_000_003 + step)
                for group in run.optimiser.param_groups:
                    group["lr"] = schedule.rate * group.get("scale", 1.0) * schedule.factor(step)
                terms = _backward(objective, run, _parts(batch, accumulate, divided), step)
                run.step(clip)
                run.ema.update(model, step)
                done = step + 1
                log.add(done, terms, run.optimiser.param_groups[-1]["lr"])
                if validate is not None and schedule.validates(done):
                    stage, figures = validate(done, run.ema.state)
                    better = run.best.offer(stage, figures["miou"], done, run.ema.state)
                    log.validation(done, stage, figures, better)
                if done % schedule.save_every == 0 or done == schedule.steps:
                    run.save(done)
    return run.ema.state


class _Objective(nn.Module):
    """The loss as the forward of the model, so that gradients are averaged over processes where there are several."""

    def __init__(self, model: nn.Module, loss: Callable[[Batch], dict[str, Tensor]], unused: bool):
        super().__init__()
        self.model, self.loss = model, loss
        # Buffers are the same everywhere as it is: they are those of the whole batch. A list hides it from the modules.
        options: dict[str, Any] = {_SYNC_BUFFERS: False, "find_unused_parameters": unused}
        self._whole = [DistributedDataParallel(self, **options)] if distributed.world() > 1 else []

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.loss(batch)

    def terms(self, batch: Batch, last: bool) -> dict[str, Tensor]:
        """Of a part of the step's batch; the gradients of the processes meet at the `last`."""
        if not self._whole:
            return self.loss(batch)
        with contextlib.nullcontext() if last else self._whole[0].no_sync():
            return self._whole[0](batch)


@dataclass
class _Run:
    """What a state file holds."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: Ema
    best: Best
    path: Path
    settings: dict[str, Any]
    device: torch.device

    def resume(self) -> int:
        """Takes what the state file holds, if there is one; the number of steps that are done."""
        if not self.path.exists():
            return 0
        saved = torch.load(self.path, weights_only=True, map_location=self.device)
        _refuse_other_settings(self.path, json.loads(saved["settings"]), self.settings)
        self.model.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.ema.state = saved["ema"]
        self.scaler.load_state_dict(saved.get("scaler", {}) or self.scaler.state_dict())
        self.best.scores = {stage: (score, step) for stage, (score, step) in saved.get("best", {}).items()}
        return saved["step"]

    def save(self, step: int) -> None:
        if not distributed.is_first():
            return
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": self.ema.state,
            "best": self.best.scores,
            "step": step,
            "settings": json.dumps(self.settings),
        }
        save_state(state, self.path)

    def step(self, clip: float | None) -> None:
        self.scaler.unscale_(self.optimiser)
        if clip is not None:
            nn.utils.clip_grad_norm_((p for g in self.optimiser.param_groups for p in g["params"]), clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()


def _batches(
    sample: Callable[[int, np.random.Generator], Batch], first: int, steps: int, seed: int
) -> Iterator[tuple[int, Batch]]:
    """Each step's batch, made while the step before is worked on."""

    def batch(step: int) -> Batch:
        return sample(step, np.random.default_rng((seed, step)))

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(batch, first) if first < steps else None
        for step in range(first, steps):
            assert coming is not None
            now, coming = coming.result(), ahead.submit(batch, step + 1) if step + 1 < steps else None
            yield step, now


def _parts(batch: Batch, accumulate: int, divided: bool) -> list[Batch]:
    """This process's parts of a batch, in the order in which they are worked on."""
    if divided:
        return [distributed.part_of(batch, i, accumulate) for i in range(accumulate)] if accumulate > 1 else [batch]
    world, rank = distributed.world(), distributed.rank()
    if world * accumulate == 1:
        return [batch]
    return [distributed.part_of(batch, i * world + rank, world * accumulate) for i in range(accumulate)]


def _backward(objective: _Objective, run: _Run, parts: Sequence[Batch], step: int) -> dict[str, float]:
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


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on the device."""
    if device.type == "cpu":
        return batch
    return {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}


def _refuse_other_settings(state: Path, made: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    other = [
        f"{key} {made.get(key)} (asked for {asked.get(key)})"
        for key in sorted({*made, *asked})
        if made.get(key) != asked.get(key)
    ]
    if other:
        raise InputError(
            f"{state}: made with {', '.join(other)}; give the same settings to go on, or another folder to start anew"
        )
