"""Networks: encoders, heads, the fusion around them, and their checkpoints."""

from __future__ import annotations

from .accelerated import AcceleratedNet
from .arseg_net import ARSegNet
from .bisenet import BiSeNet
from .checkpoint import load_checkpoint, save_checkpoint
from .cut_network import Cut, CutNetwork
from .encoder_head import EncoderHead
from .fused import FusedNetwork
from .pspnet import PSPNet
from .pspnet_cityscapes import CityscapesPSPNet
from .published import ARCHITECTURES, from_reference_state_dict, make_published
from .pyramid import PyramidNet

__all__ = [
    "ARCHITECTURES",
    "ARSegNet",
    "AcceleratedNet",
    "BiSeNet",
    "CityscapesPSPNet",
    "Cut",
    "CutNetwork",
    "EncoderHead",
    "FusedNetwork",
    "PSPNet",
    "PyramidNet",
    "from_reference_state_dict",
    "load_checkpoint",
    "make_published",
    "save_checkpoint",
]
