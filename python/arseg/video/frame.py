"""What the reader hands out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np

from arseg.errors import InputError

from .colours import rgb
from .errors import UnsupportedStreamError
from .fields import PendingFrame
from .motion import BlockField

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VideoFrame:
    """One decoded frame.

    Attributes:
        index: 0-based, in presentation order; frames that were dropped after a loss are counted, those that the file's
            edit list does not show are not.
        image: uint8 `[H, W, 3]`, RGB, as coded (rotation metadata is not applied).
        frame_type: the codec's "I", "P" or "B".
        keyframe: first frame of a group.
        distance: frames since the keyframe, 0 for the keyframe.
        motion: field to the keyframe; None for the keyframe.
        previous: field to the frame shown before, where `VideoReader(previous=True)` was asked for it and the codec
            predicts from that; vectors to others are holes in it.
        link: of a keyframe, the field to the keyframe before it, where the codec predicts it from others; else None.
        pts, time_base: the container's timestamp, as its edit list has it; higher from frame to frame, see
            `VideoReader.discontinuities`. pts is None for raw streams.
        time: pts in seconds, None for raw streams.
        references: number of frames that its vectors may point to; 0 for an I frame.
        intra: share of its cells for which the codec has no vector, 0..1; 1 for an I frame.
        records: the codec's vectors as they are, `[n]` of `arseg.video.motion.RECORD`; None without any.
        stream: the same for all frames of one iteration of a reader, and another for every other one; None: not known.
    """

    index: int
    image: np.ndarray
    frame_type: str
    keyframe: bool
    distance: int
    motion: BlockField | None
    pts: int | None
    time_base: Fraction
    time: float | None
    references: int = 0
    intra: float = 1.0
    link: BlockField | None = field(default=None, repr=False)
    previous: BlockField | None = field(default=None, repr=False)
    records: np.ndarray | None = field(default=None, repr=False)
    stream: str | None = field(default=None, repr=False, compare=False)

    def tensor(self, layout: Literal["HWC", "CHW"] = "HWC") -> Tensor:
        """The image as uint8 `[H, W, 3]`, or `[3, H, W]` as networks of torchvision take it; RGB.

        It shares the memory of `image`. `motion.tensor()` gives the vectors.
        """
        import torch

        if layout not in ("HWC", "CHW"):
            raise InputError(f"layout: expected 'HWC' or 'CHW', got {layout!r}")
        image = torch.from_numpy(self.image)
        return image if layout == "HWC" else image.permute(2, 0, 1)


def video_frame(item: PendingFrame, stream: str, path: str | os.PathLike[str]) -> VideoFrame:
    """The frame that a picture with its field is for users; `path` is for messages."""
    decoded = item.decoded
    try:
        image = rgb(decoded.frame)
    except UnsupportedStreamError as error:
        raise UnsupportedStreamError(f"{path}, frame {item.index}: {error}", path=path, frame=item.index) from error
    return VideoFrame(
        index=item.index,
        image=image,
        frame_type=item.kind,
        keyframe=item.keyframe,
        distance=item.distance,
        motion=item.motion,
        pts=decoded.pts,
        time_base=decoded.time_base,
        time=None if decoded.pts is None else float(decoded.pts * decoded.time_base),
        references=item.references,
        intra=item.holes,
        link=item.link,
        previous=item.previous,
        records=decoded.records,
        stream=stream,
    )
