"""A short street and a tiny network that segments it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.streets import pictures

from arseg import VideoSegmenter
from arseg.labels import CAMVID
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.pyramid import PyramidNet
from arseg.video import encode

COUNT, RATE = 30, 10


@pytest.fixture(scope="session")
def segmenter() -> VideoSegmenter:
    torch.manual_seed(0)
    net = ARSegNet(PyramidNet(num_classes=11, channels=8, wide=8), channels=8)
    net.label_set = CAMVID
    return VideoSegmenter(net)


@pytest.fixture(scope="session")
def street(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "street.mp4"
    encode(pictures(COUNT), path, rate=RATE)
    return path
