"""Networks and encoders by name, and the fusion around them."""

from __future__ import annotations

from .arseg_net import ARSegNet
from .base import SegmentationNetwork
from .encoder_head import EncoderHead
from .encoders import ENCODERS, Encoder, make_encoder
from .fused import FusedNetwork
from .paper.bisenet import BiSeNet
from .paper.pspnet import PSPNet
from .paper.pspnet_cityscapes import CityscapesPSPNet
from .paper.published import ARCHITECTURES, from_reference_state_dict, make_published
from .pyramid import PyramidNet
from .registry import NETWORKS, make_network

__all__ = [
    "ARCHITECTURES",
    "ENCODERS",
    "NETWORKS",
    "ARSegNet",
    "BiSeNet",
    "CityscapesPSPNet",
    "Encoder",
    "EncoderHead",
    "FusedNetwork",
    "PSPNet",
    "PyramidNet",
    "SegmentationNetwork",
    "from_reference_state_dict",
    "make_encoder",
    "make_network",
    "make_published",
]
