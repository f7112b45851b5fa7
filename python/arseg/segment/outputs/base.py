"""What all outputs have in common, and the table of their names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, Literal

from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import LabelSet
from arseg.registry import Registry
from arseg.segment.result import SegmentedFrame
from arseg.video import VideoReader
from arseg.video.properties import VideoProperties

Write = Callable[[SegmentedFrame], object]
Orientation = Literal["coded", "shown"]

ORIENTATIONS: tuple[Orientation, ...] = ("coded", "shown")

FOLDER = ""
"""The ending of a folder's name."""


class Output(ABC):
    """A file or folder that the results of one video are written to; it is there whole or not at all.

    Args:
        target: where it is to be.
        orientation: "coded": frames and their labels as they are in the stream; "shown": as a player shows them.

    Attributes:
        target: the same, as a `Path`.
        remark: once it is open, a sentence on it for the user; None: nothing to say.
        endings: that `target` may have, in lower case; `FOLDER` of a folder. Empty: any.
        chosen_by: those of them for which this output is taken where none is named.
        needs_logits: whether results are to have them.
        needs_pictures: whether it looks at pictures and fields of results; else these may be empty.
        last: whether it is written after the others, so that it can tell how long they took.
        is_folder: whether it is many files in a folder, which are put in place after those of others.
    """

    remark: str | None = None
    endings: ClassVar[tuple[str, ...]] = ()
    chosen_by: ClassVar[tuple[str, ...]] = ()
    needs_logits: ClassVar[bool] = False
    needs_pictures: ClassVar[bool] = True
    last: ClassVar[bool] = False
    is_folder: ClassVar[bool] = False

    def __init__(self, target: StrPath, *, orientation: Orientation = "coded") -> None:
        self.target = Path(target)
        self.orientation = orientation
        if orientation not in ORIENTATIONS:
            raise InputError(f"orientation: expected one of {', '.join(ORIENTATIONS)}, got {orientation!r}")

    @abstractmethod
    def opened(self, reader: VideoReader | VideoProperties, label_set: LabelSet) -> AbstractContextManager[Write]:
        """A context for the time of writing; it gives the function that takes each frame, in order.

        A block that ends well finishes the result and puts it in place; one that raises leaves nothing. The contexts of
        `arseg.files` (`replacing`, `new_folder`) and `arseg.video.VideoWriter` do just that.

        Args:
            reader: what is known of the video: its size, rate and display matrix, as they are in this orientation.
            label_set: what the ids of the labels mean.

        Raises:
            InputError, OutputError: `target` cannot be written, as far as that can be told before the first frame.
        """


OUTPUTS: Registry[Callable[..., Output]] = Registry("output")
"""By name: what makes an output of a target; further settings are keywords."""
