"""A page to look at: player, timeline and classes in one HTML file (`arseg.segment.html_report`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from arseg.files import StrPath
from arseg.labels import LabelSet
from arseg.segment.html_report.page import PLAYER_HEIGHT, PLAYER_LIMIT, page
from arseg.segment.records import FrameRecords
from arseg.segment.result import SegmentedFrame
from arseg.video import VideoReader
from arseg.video.properties import VideoProperties

from .base import OUTPUTS, Output, Write


@OUTPUTS.register("report")
class Report(Output):
    """A page that any browser opens without a network, with the video in it, as it is shown.

    Args:
        target: the file.
        opacity: of the colours over the picture at first, 0..1.
        player_height: of the video in the page at most, pixels.
        player_limit: megabytes of the page that its video may have; frames after that are in the timeline alone.
    """

    endings = chosen_by = (".html", ".htm")
    last = True

    def __init__(
        self,
        target: StrPath,
        opacity: float = 0.55,
        *,
        player_height: int = PLAYER_HEIGHT,
        player_limit: float = PLAYER_LIMIT,
    ) -> None:
        super().__init__(target)
        self.settings = {"opacity": opacity, "player_height": player_height, "player_limit": player_limit}

    @contextmanager
    def opened(self, reader: VideoReader | VideoProperties, label_set: LabelSet) -> Iterator[Write]:
        records = FrameRecords(label_set.classes)

        def note(sentence: str) -> None:
            self.remark = sentence

        about = VideoProperties.of(reader)
        with page(self.target, about, label_set, say=note, **self.settings) as made:  # type: ignore[arg-type]

            def write(result: SegmentedFrame) -> None:
                row = records.of(result).row()
                made.add(result.image, result.labels, row, result.pts, result.time_base)

            yield write
