"""The exponential moving average (EMA) of a model's weights: what is validated and saved as the result."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def averaged_model(model: nn.Module, decay: float, steps: int = 0) -> AveragedModel:
    """A copy of `model` that `update_parameters(model)` moves towards it; with `decay` 0 it equals `model`.

    Parameters and buffers are averaged; integer buffers are copied. The n-th update takes the decay
    min(`decay`, n / (n + 9)): memory is short at first, so that the random start does not stay in the average.

    Args:
        decay: in [0, 1).
        steps: updates that were made before.
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], values: Sequence[Tensor], updates: Tensor | int) -> None:
        if decay > 0 and averages[0].is_floating_point():
            count = int(updates)
            get_ema_multi_avg_fn(min(decay, count / (count + 9)))(averages, values, updates)
        else:
            for average, value in zip(averages, values, strict=True):
                average.copy_(value)

    averaged = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    # The weights at the start count as the first of the average, where torch would begin with those after a step.
    averaged.n_averaged.fill_(steps + 1)
    return averaged
