"""The frames of a video that are to be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from arseg.errors import InputError
from arseg.video import VideoFrame, VideoReader

from .inspection import Inspection
from .likeness import luma

# A picture of more frames is too high to be looked at.
_MOST_DRAWN = 24


@dataclass(frozen=True, eq=False)
class DrawnFrame:
    """A frame to be drawn.

    Attributes:
        frame: as the reader gives it.
        keyframe: luma of its group's first frame.
        keyframe_index: that frame's place.
    """

    frame: VideoFrame
    keyframe: np.ndarray
    keyframe_index: int


def samples(inspection: Inspection, at: Sequence[int]) -> Iterator[DrawnFrame]:
    """The frames at the indices `at`, for `arseg.inspect.sheet`; reads the video again up to the last of them.

    Raises:
        InputError: there is no such frame.
    """
    wanted = sorted(set(at))
    if not inspection.frames:
        raise InputError(f"-o: no frame of {inspection.path} can be read")
    for index in wanted:
        if not 0 <= index <= inspection.last:
            raise InputError(
                f"--at {index}: {inspection.path} was read from frame 0 to {inspection.last}; name one of these"
            )
    transcode = inspection.needs_transcoding is not None
    keyframe, place = np.empty((0, 0), np.float32), 0
    with VideoReader(
        inspection.source,
        gop=inspection.gop,
        transcode=transcode,
        on_error="resync",
        stream=inspection.stream,
        timeout=inspection.timeout,
    ) as reader:
        for frame in reader if wanted else ():
            if frame.index > wanted[0]:
                raise InputError(f"--at {wanted[0]}: this frame of {inspection.path} was lost; name another one")
            if frame.keyframe:
                keyframe, place = luma(frame.image), frame.index
            if frame.index == wanted[0]:
                yield DrawnFrame(frame, keyframe, place)
                del wanted[0]
            if not wanted:
                return


def frame_numbers(text: str, frames: int) -> list[int]:
    """The numbers of frames in `--at`, such as "1,5,11", below the `frames` that are read."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise InputError(f"--at {text}: expected numbers of frames, such as 1,5,11")
    numbers = sorted({int(part) for part in parts})
    if len(numbers) > _MOST_DRAWN:
        raise InputError(f"--at: {len(numbers)} frames are too many for a picture, name at most {_MOST_DRAWN}")
    if numbers[-1] >= frames:
        raise InputError(f"--at {numbers[-1]}: only frames 0 to {frames - 1} are read; raise --frames")
    return numbers
