"""A training loop that can be stopped at any moment and goes on where it was."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from arseg.errors import InputError

Batch = dict[str, Any]


@dataclass(frozen=True)
class Schedule:
    """Steps, learning rate (cosine to zero after a linear warm-up), how often to log and to save.

    `averaging`: decay of the running mean of the weights, a step.
    """

    steps: int
    rate: float
    warmup: int = 50
    log_every: int = 20
    save_every: int = 100
    averaging: float = 0.99

    def factor(self, step: int) -> float:
        """The rate at `step` as a share of `rate`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))


class Ema:
    """A running mean of parameters and buffers; what is saved as the result and evaluated."""

    def __init__(self, model: nn.Module, decay: float = 0.99):
        self.decay = decay
        self.state = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        # Short memory at first, so that the random start does not stay in the mean.
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            mean = self.state[key]
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


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
) -> dict[str, Tensor]:
    """Minimises the sum of what `loss` returns, and returns the averaged weights.

    Args:
        groups: AdamW parameter groups; a group's `scale` multiplies the schedule's rate.
        sample: makes the batch of a step from a random generator. The generator is seeded by (seed, step), so a resumed
            run sees the batches that an uninterrupted one would have.
        loss: batch -> named terms, scalars.
        folder: `state.pt` (everything needed to go on) and `log.jsonl` are kept there; an existing state is resumed.
        settings: what the run depends on, in JSON's terms; a state that was made with others is refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for group in groups:
        group["lr"] = schedule.rate * group.get("scale", 1.0)
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    ema = Ema(model, schedule.averaging)
    state, first = folder / "state.pt", 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        _refuse_other_settings(state, json.loads(saved["settings"]), json.loads(json.dumps(dict(settings))))
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        ema.state, first = saved["ema"], saved["step"]
        report(f"resumed at step {first} of {schedule.steps}")

    def save(step: int) -> None:
        part = state.with_suffix(".part")
        torch.save(
            {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "ema": ema.state,
                "step": step,
                "settings": json.dumps(dict(settings)),
            },
            part,
        )
        os.replace(part, state)

    def batch(step: int) -> Batch:
        return sample(step, np.random.default_rng((seed, step)))

    started = time.monotonic()
    sums: dict[str, float] = {}
    _drop_lines_after(folder / "log.jsonl", first)
    with ThreadPoolExecutor(1) as ahead, open(folder / "log.jsonl", "a") as log:
        coming = ahead.submit(batch, first)
        for step in range(first, schedule.steps):
            now, coming = coming.result(), ahead.submit(batch, step + 1)
            torch.manual_seed(seed * 1_000_003 + step)
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate * group.get("scale", 1.0) * schedule.factor(step)
            terms = loss(now)
            total = torch.stack(list(terms.values())).sum()
            if not torch.isfinite(total):
                raise FloatingPointError(f"step {step}: the loss is {total.item()}; the last state is in {state}")
            optimiser.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_((p for g in optimiser.param_groups for p in g["params"]), 5.0)
            optimiser.step()
            ema.update(model, step)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach())
            done = step + 1
            if done % schedule.log_every == 0:
                means = {name: round(value / schedule.log_every, 4) for name, value in sums.items()}
                sums = {}
                pace = (time.monotonic() - started) / (done - first)
                log.write(json.dumps({"step": done, **means, "seconds_a_step": round(pace, 3)}) + "\n")
                log.flush()
                left = pace * (schedule.steps - done) / 60
                shown = " ".join(f"{name} {value:.3f}" for name, value in means.items())
                report(f"step {done}/{schedule.steps}  {shown}  {pace:.2f} s a step, {left:.0f} min left")
            if done % schedule.save_every == 0 or done == schedule.steps:
                save(done)
    return ema.state


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


def _drop_lines_after(log: Path, step: int) -> None:
    """A run that was stopped between two saves logs the steps since the last one again."""
    if log.exists():
        lines = [line for line in log.read_text().splitlines(keepends=True) if json.loads(line)["step"] <= step]
        log.write_text("".join(lines))
