"""Several outputs that each frame of a video goes to."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from time import perf_counter

from arseg.labels import LabelSet
from arseg.video import VideoReader
from arseg.video.properties import VideoProperties

from .outputs.base import Output, Write
from .result import SegmentedFrame


class Written:
    """The outputs of one video, each in its orientation.

    Args:
        outputs: in the order in which a frame is written to them, and in which they are put in place.
    """

    def __init__(self, outputs: Sequence[Output]) -> None:
        self._outputs = outputs
        self._writers: list[tuple[Write, bool]] = []

    def open(self, stack: ExitStack, reader: VideoReader | VideoProperties, label_set: LabelSet) -> None:
        """Opens all; `stack` finishes them."""
        shown = VideoProperties.of(reader).upright()
        # The one opened last is closed first.
        for out in reversed(self._outputs):
            upright = getattr(out, "orientation", "coded") == "shown"
            write = stack.enter_context(out.opened(shown if upright else reader, label_set))
            self._writers.insert(0, (write, upright))

    def write(self, result: SegmentedFrame) -> None:
        """To each; `result.times` gets what those before took."""
        upright = result.upright() if any(turned for _, turned in self._writers) else result
        started = perf_counter()
        for write, turned in self._writers:
            result.times["write"] = (perf_counter() - started) * 1e3
            write(upright if turned else result)
