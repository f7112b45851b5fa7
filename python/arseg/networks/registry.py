"""The networks by name: the one table that weights files and the command line's `--model` look names up in."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from .huggingface import transformers_network
from .libraries import timm_network, torchvision_network
from .lines import Builders, from_line
from .paper.published import ARCHITECTURES, make_published
from .pyramid import PyramidNet
from .segmentation_models import smp_network

NETWORKS = Builders("model")
"""Names -> functions or classes that make a `SegmentationNetwork`; libraries take the name in them as an argument."""

NETWORKS.register("pyramid", PyramidNet)
for _arch in ARCHITECTURES:
    NETWORKS.register(_arch, partial(make_published, _arch))
NETWORKS.register("timm", timm_network)
NETWORKS.register("torchvision", torchvision_network)
NETWORKS.register("transformers", transformers_network)
NETWORKS.register("smp", smp_network)


def make_network(line: str, *, num_classes: int | None = None, fetch: bool = False, **options: Any) -> nn.Module:
    """A network of `NETWORKS`, such as "pyramid?num_classes=19", "camvid-psp18" or "timm:efficientnet_lite0".

    `num_classes` means the same for all of them. Other arguments and errors: see `arseg.networks.lines.from_line`.
    """
    if num_classes is not None:
        options["num_classes"] = num_classes
    return from_line(NETWORKS, line, fetch=fetch, **options)
