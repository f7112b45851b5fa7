"""Networks: encoders, heads, and the fusion around them."""

from __future__ import annotations

from .arseg_net import ARSegNet
from .encoder_head import EncoderHead
from .fused import FusedNetwork
from .paper.bisenet import BiSeNet
from .paper.pspnet import PSPNet
from .paper.pspnet_cityscapes import CityscapesPSPNet
from .paper.published import ARCHITECTURES, from_reference_state_dict, make_published
from .pyramid import PyramidNet

__all__ = [
    "ARCHITECTURES",
    "ARSegNet",
    "BiSeNet",
    "CityscapesPSPNet",
    "EncoderHead",
    "FusedNetwork",
    "PSPNet",
    "PyramidNet",
    "from_reference_state_dict",
    "make_published",
]
