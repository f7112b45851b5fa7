"""Optimisers by name."""

from __future__ import annotations

from typing import Any

import torch

from arseg.errors import InputError

OPTIMISERS = ("adam", "adamw", "sgd")


def make_optimiser(
    name: str, groups: list[dict[str, Any]], *, lr: float, momentum: float = 0.9, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """`groups` as torch takes them; `momentum` is SGD's.

    Raises `InputError` for a name that is not in `OPTIMISERS`.
    """
    if name == "adam":
        return torch.optim.Adam(groups, lr=lr, weight_decay=weight_decay)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)
    raise InputError(f"optimiser: expected one of {', '.join(OPTIMISERS)}, got {name!r}")
