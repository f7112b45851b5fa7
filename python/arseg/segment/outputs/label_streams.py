"""Label maps in one file, which gives back the very ids: a lossless video, or compressed arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from arseg.files import replacing
from arseg.labels import LabelSet
from arseg.segment.result import SegmentedFrame
from arseg.video import VideoReader
from arseg.video.coding import FFV1_GREY
from arseg.video.containers import CLOCK
from arseg.video.properties import VideoProperties
from arseg.video.sink import VideoSink

from .base import OUTPUTS, Output, Write
from .overlay import check_size


@OUTPUTS.register("label-video")
class LabelVideo(Output):
    """FFV1 in Matroska, 8-bit grey: a pixel's value is its class id; frames at their times, the first at 0."""

    endings = (".mkv",)
    needs_pictures = False

    @contextmanager
    def opened(self, reader: VideoReader | VideoProperties, label_set: LabelSet) -> Iterator[Write]:
        with VideoSink(
            self.target,
            FFV1_GREY,
            rate=Fraction(reader.rate),
            matrix=reader.display_matrix,
            pixel_aspect=reader.pixel_aspect,
            from_zero=True,
        ) as sink:

            def write(result: SegmentedFrame) -> None:
                check_size(result, (reader.height, reader.width), reader.path)
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(result.labels), format="gray")
                sink.write(frame, result.pts, result.time_base if result.pts is not None else CLOCK)

            yield write


@OUTPUTS.register("label-arrays")
class LabelArrays(Output):
    """A compressed .npz: uint8 `[H, W]` for each frame under its number, such as "000012", at its own size.

    Besides, "times" in seconds (NaN where there are none), "frames" (the numbers), and "classes" (the names).
    """

    endings = chosen_by = (".npz",)
    needs_pictures = False

    @contextmanager
    def opened(self, reader: VideoReader | VideoProperties, label_set: LabelSet) -> Iterator[Write]:
        with arrays_file(self.target, label_set.classes) as add:
            yield lambda result: add(result, result.labels)


@contextmanager
def arrays_file(target: Path, classes: tuple[str, ...]) -> Iterator[Any]:
    """A .npz that grows frame by frame; the function that the block gets takes a result and its array."""
    with (
        replacing(target) as part,
        part.open("wb") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive,
    ):
        frames: list[int] = []
        times: list[float] = []

        def put(name: str, array: np.ndarray) -> None:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)

        def add(result: SegmentedFrame, array: np.ndarray) -> None:
            frames.append(result.index)
            times.append(float("nan") if result.time is None else result.time)
            put(f"{result.index:06d}", array)

        yield add
        put("frames", np.array(frames, np.int64))
        put("times", np.array(times, np.float64))
        put("classes", np.array(classes, np.str_))
