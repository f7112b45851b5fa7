"""Reading a video once to say what it is made of, and what its motion vectors are worth: `arseg inspect`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any

import numpy as np
from av.video.frame import PictureType

from arseg.errors import InputError
from arseg.files import StrPath
from arseg.video import UnsupportedStreamError, VideoError, VideoFrame, VideoReader
from arseg.video.motion import BlockField
from arseg.video.names import local_path
from arseg.video.source import TIMEOUT, decode, open_source

from .inspection import Inspection
from .likeness import Gain, gain_of, grid, luma, mean, psnr, warp

__all__ = ["inspect"]

# A likeness is measured on about so many pixels of a frame: more cost time and do not change the first decimal.
_PIXELS = 120_000


def inspect(
    path: str | os.PathLike[str],
    *,
    frames: int = 300,
    gop: int = 48,
    stream: int | None = None,
    timeout: float | None = TIMEOUT,
    progress: Callable[[int, int | None], None] | None = None,
) -> Inspection:
    """Read a video once and say what is in it.

    A stream whose vectors cannot be used is transcoded in memory, so that it can be judged, too; a damaged one is read
    as far as it goes.

    Args:
        frames: read at most so many.
        gop, stream, timeout: as for `VideoReader`.
        progress: called with the number of frames read and that to be read, None where it is not known.

    Raises:
        ValueError: an argument out of range.
        VideoError: nothing to read, or a fault that reading does not get past.
    """
    if frames < 1:
        raise InputError(f"frames: expected at least 1, got {frames!r}")
    place = local_path(path)
    if place is not None and place.is_fifo():
        raise InputError(
            f"{place}: is a pipe, which can be read once, and inspect reads a video several times; save it"
        )
    try:
        return _inspect(path, frames, gop, stream, timeout, False, progress)
    except UnsupportedStreamError:
        return _inspect(path, frames, gop, stream, timeout, True, progress)


@dataclass(eq=False)
class _Tally:
    """What is counted while frames come; besides the numbers, the keyframe's luma alone is kept."""

    sizes: list[tuple[int, int]] = field(default_factory=list)
    types: Counter[str] = field(default_factory=Counter)
    starts: list[int] = field(default_factory=list)  # the codec's I frames
    origins: Counter[str] = field(default_factory=Counter)
    references: int = 0
    single: int = 0
    predicted: int = 0
    intra: float = 0.0
    frames: int = 0
    groups: int = 0
    last: int = 0
    step: int = 1
    sums: dict[int, np.ndarray] = field(default_factory=dict)  # by distance: frames, dB as it is, dB moved, filled
    group: tuple[int, int] = (0, 0)  # the first frame and the last distance of the group under way
    drawn: tuple[int, int] | None = None  # of the group to be drawn
    keyframe: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def add(self, frame: VideoFrame) -> None:
        self.frames += 1
        self.last = frame.index
        self.types[frame.frame_type] += 1
        height, width = frame.image.shape[:2]
        if (width, height) not in self.sizes:
            self.sizes.append((width, height))
        if frame.frame_type == "I":
            self.starts.append(frame.index)
        else:
            self.predicted += 1
            self.intra += frame.intra
            self.references = max(self.references, frame.references)
            self.single += frame.frame_type == "P" and frame.references == 1
        if frame.keyframe:
            self.groups += 1
            self.group = (frame.index, 0)
            self.keyframe = luma(frame.image)
            self.drawn = self.drawn or self.group
        if frame.motion is None:
            return
        self.group = (self.group[0], frame.distance)
        # Three different frames where a group has them; else the longest group is the best there is.
        if self.drawn is None or self.drawn[0] == self.group[0] or self.drawn[1] < min(3, frame.distance):
            self.drawn = self.group
        self.origins[frame.motion.origin] += 1
        self._measure(frame, frame.motion)

    def _measure(self, frame: VideoFrame, motion: BlockField) -> None:
        height, width = self.keyframe.shape
        step = 1
        while len(grid(height, step)) * len(grid(width, step)) > _PIXELS:
            step += 2  # odd, so that every place in a cell has its turn
        self.step = max(self.step, step)
        rows, columns = grid(height, step)[:, None], grid(width, step)
        current = luma(frame.image[rows, columns])
        self.sums.setdefault(frame.distance, np.zeros(4))[:] += (
            1,
            psnr(self.keyframe[rows, columns], current),
            psnr(warp(self.keyframe, motion, step), current),
            motion.missing,
        )

    def gains(self) -> tuple[Gain, ...]:
        return tuple(gain_of(distance, sums) for distance, sums in sorted(self.sums.items()))

    def total(self) -> Gain | None:
        return mean(self.gains()) if self.sums else None

    def worth_drawing(self) -> tuple[int, ...]:
        if self.drawn is None:
            return ()
        start, last = self.drawn
        return tuple(start + distance for distance in sorted({min(1, last), (last + 1) // 2, last}))


def _inspect(
    path: str | os.PathLike[str],
    limit: int,
    gop: int,
    stream: int | None,
    timeout: float | None,
    transcode: bool,
    progress: Callable[[int, int | None], None] | None,
) -> Inspection:
    tally = _Tally()
    ended: str | None = None
    limited = False
    options: dict[str, Any] = {"stream": stream, "timeout": timeout}
    with VideoReader(path, gop=gop, transcode=transcode, on_error="resync", **options) as reader:
        total = None if reader.frame_count is None else min(limit, reader.frame_count)
        try:
            for frame in reader:
                if frame.index >= limit:
                    limited = True
                    break
                tally.add(frame)
                if progress is not None:
                    progress(tally.frames, total)
        except UnsupportedStreamError as error:
            # Where even transcoding does not get further, that is what is to be told.
            if not transcode:
                raise
            ended = str(error)
        losses = tuple(str(loss) for loss in reader.losses)
        discontinuities = tuple(str(jump) for jump in reader.discontinuities)
    types, starts = _coded_types(path, limit, options) if transcode else (tally.types, tally.starts)
    source = open_source(path, **options)
    with source.container:
        context = source.stream.codec_context
        container, profile, pixels = source.container.format, context.profile, context.pix_fmt
        label = source.codec.label
    predicted = types["P"]
    return Inspection(
        path=source.path,
        source=path,
        stream=stream,
        timeout=timeout,
        choice=source.choice,
        container=container.name,
        container_label=container.long_name or container.name,
        codec=reader.codec,
        codec_label=label,
        profile=profile or None,
        pixel_format=pixels or None,
        sizes=tuple(tally.sizes) or ((reader.width, reader.height),),
        rate=reader.rate,
        rotation=reader.rotation,
        mirrored=reader.mirrored,
        pixel_aspect=reader.pixel_aspect or None,
        stated=reader.frame_count,
        frames=tally.frames,
        last=tally.last,
        limited=limited,
        types={kind: types[kind] for kind in "IPB"},
        gop_lengths=tuple(b - a for a, b in pairwise(starts)),
        groups=tally.groups,
        gop=gop,
        references=None if transcode else tally.references,
        one_reference=tally.single / predicted if predicted and not transcode else None,
        origins={origin: tally.origins[origin] for origin in ("exact", "inferred", "transcoded")},
        intra=tally.intra / tally.predicted if tally.predicted else None,
        gains=tally.gains(),
        total=tally.total(),
        pixel_step=tally.step,
        needs_transcoding=(reader.transcoding or ended) if transcode else None,
        ended=ended,
        losses=losses,
        discontinuities=discontinuities,
        worth_drawing=tally.worth_drawing(),
    )


def _coded_types(path: StrPath, limit: int, options: dict[str, Any]) -> tuple[Counter[str], list[int]]:
    """Number of frames by type, and the places of the I frames, of a stream that the reader encodes again."""
    types: Counter[str] = Counter()
    starts = []
    source = open_source(path, **options)
    with source.container:
        source.stream.codec_context.thread_type = "AUTO"
        try:
            for index, frame in enumerate(islice(decode(source), limit)):
                kind = _KINDS.get(PictureType(frame.pict_type), "P")
                types[kind] += 1
                if kind == "I":
                    starts.append(index)
        except VideoError:
            pass  # damage, which the reader's losses tell of
    return types, starts


_KINDS = {PictureType.I: "I", PictureType.SI: "I", PictureType.B: "B", PictureType.BI: "B"}
