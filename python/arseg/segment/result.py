"""One frame of a segmented video, as scripts and outputs take it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from arseg.errors import InputError
from arseg.files import StrPath, replacing, save_png
from arseg.labels import LabelSet, voc_palette

if TYPE_CHECKING:  # a machine with a GPU may have no PyAV, and frames from elsewhere
    from arseg.video import BlockField, VideoFrame

__all__ = ["SegmentedFrame"]


@dataclass(frozen=True)
class SegmentedFrame:
    """One frame of the result.

    Attributes:
        index: 0-based, in the order of presentation.
        labels: uint8 `[H, W]`, class ids, at the video's coded size and orientation.
        image: uint8 `[H, W, 3]`, the decoded frame, RGB.
        frame_type: what the codec made of it, "I", "P" or "B".
        keyframe: whether it was segmented at full resolution; with a bound on the slowest frame, whether a group of
            the reader starts at it, for its own network then is done later.
        distance: frames since the keyframe.
        pts, time_base: the stream's own timestamp; `pts` is None where the stream has none.
        time: seconds from the stream's start of time, or None.
        rotation: degrees by which a player turns the picture (counter-clockwise), carried on unapplied.
        display_matrix: how it turns and mirrors it, FFmpeg's nine numbers, or None; `upright` applies it.
        intra: share of its cells for which the codec has no vector, 0..1; 1 for an I frame.
        motion: its field to the keyframe; None for a keyframe.
        label_set: what the ids of `labels` mean; None: not known.
        times: milliseconds by stage: "decode" (waiting for the frame), "network" (its share of its batch), and while
            outputs are written, "write" (what those before took).
        logits: float32 `[classes, h, w]` at the resolution of the network's maps, where they were asked for
            (`VideoSegmenter(logits=True)`); None elsewhere.
    """

    index: int
    labels: np.ndarray = field(repr=False)
    image: np.ndarray = field(repr=False)
    frame_type: str
    keyframe: bool
    distance: int
    pts: int | None
    time_base: Fraction
    time: float | None
    rotation: int
    display_matrix: tuple[int, ...] | None = None
    intra: float = 1.0
    motion: BlockField | None = field(default=None, repr=False)
    label_set: LabelSet | None = field(default=None, repr=False)
    times: dict[str, float] = field(default_factory=dict, repr=False, compare=False)
    logits: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        frame: VideoFrame,
        labels: np.ndarray,
        rotation: int = 0,
        display_matrix: tuple[int, ...] | None = None,
        label_set: LabelSet | None = None,
        times: dict[str, float] | None = None,
        logits: np.ndarray | None = None,
    ) -> SegmentedFrame:
        """What `labels`, uint8 `[H, W]`, and a frame of a reader make."""
        return cls(
            index=frame.index,
            labels=labels,
            image=frame.image,
            frame_type=frame.frame_type,
            keyframe=frame.keyframe,
            distance=frame.distance,
            pts=frame.pts,
            time_base=frame.time_base,
            time=frame.time,
            rotation=rotation,
            display_matrix=display_matrix,
            intra=frame.intra,
            motion=frame.motion,
            label_set=label_set,
            times={} if times is None else times,
            logits=logits,
        )

    @property
    def palette(self) -> np.ndarray:
        """uint8 `[K, 3]`, RGB: the colours of the classes, and black for other ids."""
        if self.label_set is not None:
            return self.label_set.palette
        return np.array([*voc_palette(255), (0, 0, 0)], np.uint8)

    def overlay(self, opacity: float = 0.55, palette: np.ndarray | None = None) -> np.ndarray:
        """The picture with the colours of its classes laid over it, uint8 `[H, W, 3]`.

        Args:
            opacity: of the colours, 0..1.
            palette: uint8 `[K, 3]`, RGB; None: the label set's.
        """
        from . import draw

        if not 0 <= opacity <= 1:
            raise InputError(f"opacity: expected 0..1, got {opacity!r}")
        return draw.overlay(self.image, self.labels, self.palette if palette is None else palette, opacity)

    def save(self, path: StrPath, what: Literal["overlay", "labels"] = "overlay") -> None:
        """Writes a picture: the overlay, or the class ids as a PNG with a palette; an old file is replaced.

        Raises `InputError` for an ending that cannot hold it: labels are .png, the overlay any that Pillow writes.
        """
        from PIL import Image

        from .draw import indexed

        target = Path(path)
        if what not in ("overlay", "labels"):
            raise InputError(f"what: expected 'overlay' or 'labels', got {what!r}")
        if what == "labels":
            if target.suffix.lower() != ".png":
                raise InputError(f"{target}: labels are written as .png, got {target.suffix or 'no ending'}")
            with replacing(target) as part, part.open("wb") as file:
                indexed(self.labels, self.palette).save(file, format="PNG")
        elif target.suffix.lower() == ".png":
            save_png(target, self.overlay())
        else:
            form = Image.registered_extensions().get(target.suffix.lower())
            if form not in ("JPEG", "WEBP", "BMP", "TIFF"):
                raise InputError(
                    f"{target}: expected a picture such as .png or .jpg, got {target.suffix or 'no ending'}"
                )
            with replacing(target) as part, part.open("wb") as file:
                Image.fromarray(self.overlay()).save(file, format=form)

    def upright(self) -> SegmentedFrame:
        """The frame as a player shows it, to the nearest quarter turn: labels, picture and logits turned.

        `motion` stays as coded, and is left out.
        """
        if self.display_matrix is None:
            return self
        from arseg.video.orientation import upright

        logits = self.logits
        if logits is not None:
            logits = np.ascontiguousarray(upright(logits.transpose(1, 2, 0), self.display_matrix).transpose(2, 0, 1))
        return replace(
            self,
            labels=upright(self.labels, self.display_matrix),
            image=upright(self.image, self.display_matrix),
            logits=logits,
            rotation=0,
            display_matrix=None,
            motion=None,
        )
