"""What the frontier's policies need of a stream, recorded once: the network runs on every frame, and never again.

Streams are P frames with one reference, encoded anew (x264, crf 23, an I frame every 60): so the vectors of each frame
lead one frame back, and a keyframe may be anywhere.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from arseg.data.datasets import picture_files
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.compute import gmacs
from arseg.networks.trust import WEIGHTS
from arseg.preprocess import input_size, network_input
from arseg.video import VideoReader, encode
from arseg.video.motion import MotionChain

INTRA = 60
"""Frames from one I frame of the codec to the next."""

AHEAD = 40
"""Frames that are encoded beyond those measured, for x264 looks so far ahead."""

GROUP = 12
"""AR's groups, and the longest that are tried."""

Field = tuple[np.ndarray, np.ndarray]
"""Vectors int16 `[h, w, 2]` of 4x4 cells in quarter pixels, and where the codec has them, bool `[h, w]`."""


class Stream(NamedTuple):
    """Frames of a video: `count` from `first` on, every `step`-th; or CamVid's `val`, with its labels.

    Attributes:
        name: such as "dashcam1 15" or "val".
        path: the video, or CamVid's folder.
        rate: frames a second.
    """

    name: str
    path: Path
    rate: int
    first: int = 0
    step: int = 1
    count: int = 120
    labelled: bool = False

    def images(self) -> Iterator[np.ndarray]:
        if self.labelled:
            for path in picture_files(self.path / "val", "CamVid's frames")[: self.count]:
                yield np.asarray(Image.open(path).convert("RGB"))
            return
        with VideoReader(self.path) as reader:
            wanted = itertools.islice(reader, self.first, self.first + (self.count + AHEAD) * self.step, self.step)
            for frame in wanted:
                yield frame.image

    def truth(self) -> Tensor | None:
        """uint8 `[n, H, W]`."""
        if not self.labelled:
            return None
        files = picture_files(self.path / "valannot", "CamVid's labels")[: self.count]
        return torch.from_numpy(np.stack([np.asarray(Image.open(path)) for path in files]))


@dataclass
class Recording:
    """A network on a stream of n frames, `[H, W]` as coded.

    Attributes:
        logits: float16 `[n, classes, h, w]`: the network at full resolution.
        low: the same of the branch for low resolution, at its own; None for a network without one.
        labels, ar: uint8 `[n, H, W]`: of the network, and of AR-Seg with a keyframe every 12 frames (or None).
        luma: uint8 `[n, 1, H, W]`.
        vectors, valid: of each frame to the one before, int16 `[n, h, w, 2]` and bool `[n, h, w]`.
        intra: whether a frame is an I frame of the codec: no vectors lead further.
        truth: uint8 `[n, H, W]` where there are labels; `classes` and more are not counted.
        costs: GMACs of a frame: "hr", "ar" and "lr" of `arseg.networks.compute.gmacs`.
    """

    classes: int
    logits: Tensor
    low: Tensor | None
    labels: Tensor
    ar: Tensor | None
    luma: Tensor
    vectors: Tensor
    valid: Tensor
    intra: list[bool]
    truth: Tensor | None
    costs: dict[str, float]

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def size(self) -> tuple[int, int]:
        return self.luma.shape[2], self.luma.shape[3]

    def hop(self, t: int) -> Field:
        """From frame t to the one before."""
        return self.vectors[t].numpy(), self.valid[t].numpy()

    @classmethod
    def load(cls, path: Path) -> Recording:
        return cls(**torch.load(path, weights_only=True))

    def save(self, path: Path) -> None:
        torch.save({one.name: getattr(self, one.name) for one in fields(self)}, path)


def counted(net: ARSegNet, size: tuple[int, int]) -> dict[str, float]:
    """GMACs of a frame of `size`, counted without computing."""
    return gmacs(copy.deepcopy(net).to("meta"), *size)


def video_of(stream: Stream, folder: Path) -> Path:
    """Where it is encoded."""
    return folder / f"{stream.name}.mp4".replace(" ", "-")


@torch.inference_mode()
def record(net: ARSegNet, stream: Stream, folder: Path, *, branch: bool) -> Recording:
    """Encodes the stream, where `folder` has it not yet, and runs the network on it; `branch`: AR-Seg, too."""
    video = video_of(stream, folder)
    if not video.exists():
        encode(stream.images(), video, rate=stream.rate, gop=INTRA, crf=23)
    label_set = net.known_labels()
    found: dict[str, list[Tensor]] = {}
    intra: list[bool] = []
    seen: tuple[Tensor, Tensor] | None = None
    with VideoReader(video, gop=GROUP) as reader:
        for frame in itertools.islice(reader, stream.count):
            size = frame.image.shape[0], frame.image.shape[1]
            image = network_input(frame.image, input_size(size, net.input_height), label_set, torch.device("cpu"))
            feature = net.keyframe(image)
            logits = net.classifier(feature)
            labels = ar = net.labels(logits, size)
            if frame.motion is None:
                seen = feature, logits
            elif branch:
                assert seen is not None
                motion = torch.from_numpy(frame.motion.vectors.copy())[None]
                step = net.step(image, seen[0], motion, frame.distance, seen[1], block=4, frame_size=size)
                ar = net.labels(step, size)
            intra.append(frame.frame_type == "I")
            hop = MotionChain(size[1], size[0]).step(frame.records)
            colours = torch.from_numpy(frame.image.astype(np.float32))
            luma = (colours @ torch.tensor(WEIGHTS)).round().byte()[None, None]
            parts = {"logits": logits.half(), "labels": labels, "ar": ar, "luma": luma}
            parts |= {"vectors": torch.from_numpy(hop.vectors.copy())[None]}
            parts |= {"valid": torch.from_numpy(hop.valid.copy())[None]}
            if branch:
                parts["low"] = net.classifier(net.low_res(image)).half()
            for name, part in parts.items():
                found.setdefault(name, []).append(part)
    whole = {name: torch.cat(parts) for name, parts in found.items()}
    if not branch:
        whole |= {"ar": None, "low": None}  # type: ignore[dict-item]
    costs = counted(net, (image.shape[2], image.shape[3]))
    return Recording(len(label_set.classes), **whole, intra=intra, truth=stream.truth(), costs=costs)


def recorded(net: ARSegNet, stream: Stream, folder: Path, name: str, *, branch: bool = True) -> Recording:
    """`record`, or what an earlier call for this network's `name` left in `folder`."""
    path = folder / f"{name}-{stream.name}.pt".replace(" ", "-")
    if path.exists():
        return Recording.load(path)
    folder.mkdir(parents=True, exist_ok=True)
    made = record(net, stream, folder, branch=branch)
    made.save(path)
    return made
