"""How many labels an exported network gives otherwise than the network that it was made of."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arseg.data.street import StreetScene
from arseg.export.exported import load_exported
from arseg.networks.arseg_net import ARSegNet
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import encode

FRAMES = 8
GOP = 5
"""A short clip that has two keyframes, and frames between and after them."""


@dataclass(frozen=True)
class Difference:
    """Of label maps on a street that moves.

    Attributes:
        size: height and width of the frames.
        frames: how many there were.
        pixels: all, and those that have another label.
    """

    size: tuple[int, int]
    frames: int
    pixels: int
    differ: int

    def __str__(self) -> str:
        share = 100 * self.differ / self.pixels
        return (
            f"{self.differ:,} of {self.pixels:,} pixels ({share:.2g} %) have another label than in PyTorch, in "
            f"{self.frames} frames of {self.size[0]}x{self.size[1]}"
        )


def compare(net: ARSegNet, folder: Path, size: tuple[int, int], *, branch: bool) -> Difference:
    """Labels of both on a synthetic street whose frames the network sees at `size`.

    `branch`: whether as the method has it; else the results of keyframes are moved, both ways.
    """
    exported = load_exported(folder)
    how: dict[str, Any] = {"gop": GOP, "device": exported.device, "height": size[0]}
    if not branch:
        how |= {"policy": "bidirectional"}
    with tempfile.TemporaryDirectory() as work:
        clip = Path(work) / "street.mp4"
        scene = StreetScene(1, width=size[1], height=size[0])
        encode((image for image, _ in scene.frames(FRAMES)), clip, rate=15)
        eager = VideoSegmenter(net, precision=exported.manifest.precision, **how)  # type: ignore[arg-type]
        pairs = zip(eager.stream(clip), VideoSegmenter(exported, **how).stream(clip), strict=True)
        found = [(int((one.labels != other.labels).sum()), one.labels.size) for one, other in pairs]
    return Difference(size, len(found), sum(pixels for _, pixels in found), sum(differ for differ, _ in found))
