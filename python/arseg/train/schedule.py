"""When a training does what: learning rate, logging, saving, validation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class Schedule:
    """Number of steps, learning rate (cosine to zero after a linear warm-up), and what happens every so many steps.

    Attributes:
        steps: of the whole training; a step is one update of the weights.
        lr: learning rate at the end of the warm-up.
        warmup: steps of the warm-up.
        log_every, save_every: steps between lines of the log, and between states.
        validate_every: steps between validations; 0: none.
        ema_decay: of the exponential moving average of the weights, a step; 0: the weights themselves.
    """

    steps: int
    lr: float
    warmup: int = 50
    log_every: int = 20
    save_every: int = 100
    validate_every: int = 0
    ema_decay: float = 0.99

    def factor(self, step: int) -> float:
        """The learning rate at `step`, counted from 0, divided by `lr`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))

    def validates(self, done: int) -> bool:
        """Whether it is time to validate after `done` steps."""
        return bool(self.validate_every) and (done % self.validate_every == 0 or done == self.steps)

    def scheduler(self, optimiser: Optimizer, lr_scales: Sequence[float], first: int) -> LambdaLR:
        """Sets the optimiser's learning rates for step `first`; its `step()` goes on to the next.

        Args:
            lr_scales: of each parameter group; they multiply `lr`.
        """
        for group, scale in zip(optimiser.param_groups, lr_scales, strict=True):
            group["initial_lr"] = self.lr * scale
        # The gradient scaler may skip the first steps, which torch takes for calls in the wrong order.
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
        return LambdaLR(optimiser, self.factor, last_epoch=first - 1)
