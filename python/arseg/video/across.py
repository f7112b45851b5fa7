"""Over an I frame, where the codec has no vectors: from it to the frame before, as x264 finds them anew."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
from av.codec.codec import UnknownCodecError

from arseg import _motion

from .decoding import records_of
from .fields import handed_out
from .frame import VideoFrame
from .motion import CELL, BlockField, chain, rasterize
from .recoding import VectorFinder

_ENOUGH = 0.5  # share of cells that x264 has to have vectors for: what is cut has nothing in common


def joined(before: VideoFrame, frame: VideoFrame) -> VideoFrame:
    """An I frame with `previous` and `link`, as if it were predicted from the frame before it, the last of a group.

    Both are "transcoded". The frame as it is where they do not lead there: it has a link, the frames do not follow each
    other, differ in size or have fields of larger cells than 4x4, or have too little in common.
    """
    apart = frame.stream != before.stream or frame.index != before.index + 1 or frame.image.shape != before.image.shape
    if frame.link is not None or before.motion is None or before.motion.block != CELL or apart:
        return frame
    step = _found(before, frame)
    if step is None:
        return frame
    link = chain(step.vectors, step.valid, before.motion.vectors, before.motion.valid)
    return replace(frame, previous=step, link=handed_out(*link, CELL, "transcoded"))


def _found(before: VideoFrame, frame: VideoFrame) -> BlockField | None:
    pictures = [av.VideoFrame.from_ndarray(one.image, format="rgb24") for one in (before, frame)]
    try:
        finder = VectorFinder(pictures[0], 2, Fraction(25))
        made = [one for picture in pictures for one in finder.push(picture)]
        made += finder.finish()
    except (av.FFmpegError, UnknownCodecError):  # what is gained by it is not worth a stop
        return None
    records = records_of(made[1])
    if records is None:
        return None
    height, width = frame.image.shape[:2]
    vectors, valid = rasterize(records, width, height)
    if valid.mean() < _ENOUGH:
        return None
    return handed_out(_motion.fill_holes(vectors, valid), valid, CELL, "transcoded")
