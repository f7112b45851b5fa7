"""What all outputs have in common, and the table of their names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from arseg.files import StrPath
from arseg.labels import LabelSet
from arseg.registry import Registry
from arseg.segment.segmenter import SegmentedFrame
from arseg.video import VideoReader

Write = Callable[[SegmentedFrame], object]


class Output(ABC):
    """A file or folder that the results of one video are written to; it is there whole or not at all.

    Args:
        target: where it is to be.

    Attributes:
        target: the same, as a `Path`.
        remark: once it is open, a sentence on it for the user; None: nothing to say.
    """

    remark: str | None = None

    def __init__(self, target: StrPath) -> None:
        self.target = Path(target)

    @abstractmethod
    def opened(self, reader: VideoReader, label_set: LabelSet) -> AbstractContextManager[Write]:
        """A context for the time of writing; it gives the function that takes each frame, in order.

        A block that ends well finishes the result and puts it in place; one that raises leaves nothing. The contexts of
        `arseg.files` (`replacing`, `new_folder`) and `arseg.video.VideoWriter` do just that.

        Args:
            reader: the video, for its size, rate and display matrix; not to be read from.
            label_set: what the ids of the labels mean.

        Raises:
            InputError, OutputError: `target` cannot be written, as far as that can be told before the first frame.
        """


OUTPUTS: Registry[Callable[..., Output]] = Registry("output")
"""By name: what makes an output of a target; further settings are keywords."""
