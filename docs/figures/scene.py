"""A keyframe, a later frame and the motion between them, as maps: what several figures show."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from arseg.data.street import StreetScene
from arseg.video import VideoReader, encode

HEIGHT, WIDTH = 144, 192
LATER = 3


@dataclass(frozen=True)
class Scene:
    """Colours as maps [1, 3, H, W] in [0, 1]; motion int16 [1, H/4, W/4, 2] in quarter pixels, blocks of 4."""

    keyframe: Tensor
    current: Tensor
    motion: Tensor
    labels: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return HEIGHT, WIDTH


@functools.cache
def street() -> Scene:
    """Frames 0 and LATER of the synthetic street, and the vectors that the codec found."""
    frames = list(StreetScene(5, width=WIDTH, height=HEIGHT).frames(LATER + 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "street.mp4"
        encode((image for image, _ in frames), path, rate=15, gop=12)
        with VideoReader(path, gop=12) as reader:
            motion = [frame.motion for frame in reader][LATER].vectors
    maps = [torch.from_numpy(frames[i][0].copy()).permute(2, 0, 1)[None].float() / 255 for i in (0, LATER)]
    return Scene(*maps, torch.from_numpy(motion.copy())[None], torch.from_numpy(frames[LATER][1].copy()))


def shown(feature: Tensor):
    """[1, 3, H, W] as a picture."""
    return feature[0].permute(1, 2, 0).clamp(0, 1).numpy()
