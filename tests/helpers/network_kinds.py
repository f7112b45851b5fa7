"""A small network of each kind that a video can be segmented with."""

from __future__ import annotations

import torch
from helpers.other_networks import Plain

import arseg
from arseg.labels import LabelSet
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.base import SplitNetwork
from arseg.networks.fusion import FUSIONS
from arseg.networks.paper.published import make_published
from arseg.networks.pyramid import PyramidNet

KINDS = ("default", "joined with the keyframe", "camvid-psp18", "camvid-bise18", "accelerated", *FUSIONS)


def make(kind: str) -> ARSegNet:
    if kind == "accelerated":
        net = arseg.accelerate(Plain(), size=(64, 96), scale=0.5)
    elif kind.startswith("camvid"):
        high = make_published(kind, auxiliary=False)
        assert isinstance(high, SplitNetwork)
        net = ARSegNet(high, channels=high.channels, grid="legacy")
    else:
        fusion = kind if kind in FUSIONS else "attention"
        weight = 0.7 if kind == "joined with the keyframe" else 0.0
        high = PyramidNet(num_classes=11, channels=8, wide=8)
        net = ARSegNet(high, channels=8, fusion=fusion, keyframe_weight=weight, keyframe_detail=weight)
    if net.label_set is None:
        net.label_set = LabelSet.of(net.classifier.out_channels)
    for parameter in net.fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net.eval()
