"""Networks: encoders, heads, the fusion around them, and their checkpoints."""

from __future__ import annotations

from .arseg_net import ARSegNet
from .bisenet import BiSeNet
from .checkpoint import load_checkpoint, save_checkpoint
from .pspnet import PSPNet
from .pyramid import PyramidNet

__all__ = ["ARSegNet", "BiSeNet", "PSPNet", "PyramidNet", "load_checkpoint", "save_checkpoint"]
