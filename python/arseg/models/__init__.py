"""Networks: encoders, heads, the fusion around them, and their checkpoints."""

from __future__ import annotations

from .arseg_net import ARSegNet
from .checkpoint import load_checkpoint, save_checkpoint
from .pyramid import PyramidNet

__all__ = ["ARSegNet", "PyramidNet", "load_checkpoint", "save_checkpoint"]
