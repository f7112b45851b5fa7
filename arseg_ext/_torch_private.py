"""The names that torch does not promise to keep, each with what holds where a later torch has them no more."""

from __future__ import annotations

from torch import nn


def has_hooks(module: nn.Module) -> bool:
    """Whether calling `module` runs more than its `forward`; False where this torch keeps hooks elsewhere."""
    names = ("_forward_hooks", "_forward_pre_hooks")  # there is no public way to ask
    return any(getattr(module, name, None) for name in names)
