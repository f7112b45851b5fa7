"""Networks: encoders, heads, the fusion around them, and their checkpoints."""

from __future__ import annotations

from .accelerated import AcceleratedNet
from .arseg_net import ARSegNet
from .bisenet import BiSeNet
from .checkpoint import load_checkpoint, save_checkpoint
from .encoder_head import EncoderHead
from .pspnet import PSPNet
from .pyramid import PyramidNet
from .split import Split, SplitNet

__all__ = [
    "ARSegNet",
    "AcceleratedNet",
    "BiSeNet",
    "EncoderHead",
    "PSPNet",
    "PyramidNet",
    "Split",
    "SplitNet",
    "load_checkpoint",
    "save_checkpoint",
]
