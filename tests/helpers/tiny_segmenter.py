"""A segmenter of a tiny network, made the same in every process; and jobs that kill the process that runs them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from arseg import VideoSegmenter
from arseg.labels import CAMVID
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.pyramid import PyramidNet


def tiny_segmenter(device: str = "cpu", **settings: Any) -> VideoSegmenter:
    torch.manual_seed(0)
    net = ARSegNet(PyramidNet(num_classes=11, channels=8, wide=8), channels=8)
    net.label_set = CAMVID
    return VideoSegmenter(net, device=device, **{"gop": 5, "batch": 3, **settings})


@dataclass(frozen=True)
class Dying:
    """A job whose process is killed after the first that it tells, `times` times; then it is as `job`.

    Attributes:
        marks: a folder where each try leaves a file.
    """

    job: Any
    marks: Path
    times: int = 1

    @property
    def name(self) -> str:
        return str(self.job.name)

    def anywhere(self) -> Dying:
        return replace(self, job=self.job.anywhere())

    def run(self, worker: Any, tell: Callable[[Any], None]) -> None:
        begun = len(list(self.marks.iterdir()))
        (self.marks / f"{begun}-{os.getpid()}").touch()

        def told(message: Any) -> None:
            tell(message)
            if begun < self.times:
                os.kill(os.getpid(), signal.SIGKILL)

        self.job.run(worker, told)
