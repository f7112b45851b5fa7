"""Frames and motion fields of a compressed video in one pass."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType

import av
import numpy as np
from av.codec.context import Flags2
from av.video.frame import PictureType

from arseg.errors import InputError

from ._source import Source, decode, open_source
from .errors import (
    BFramesError,
    InterlacedError,
    ResolutionChangedError,
    UnsupportedCodecError,
    UnsupportedStreamError,
    encode_hint,
)
from .motion import BLOCKS, BlockField, MotionChain

__all__ = ["VideoFrame", "VideoReader"]


@dataclass(frozen=True)
class VideoFrame:
    """One decoded frame.

    Attributes:
        index: 0-based, in presentation order.
        image: uint8 `[H, W, 3]`, RGB, as coded (rotation metadata is not applied).
        frame_type: the codec's "I" or "P".
        keyframe: first frame of a group.
        distance: frames since the keyframe, 0 for the keyframe.
        motion: field to the keyframe; None for the keyframe.
        pts, time_base: the container's timestamp; pts is None for raw streams.
        time: pts in seconds, None for raw streams.
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


class VideoReader:
    """Reads progressive H.264 without B frames: every frame with its motion field to the keyframe of its group.

    A group starts at every I frame of the codec, and after `gop` frames where the codec's groups are longer. Each
    vector is taken to point one frame back, which holds for streams with one reference frame. Frames are decoded as
    they are asked for, and none is kept. Each `iter(reader)` starts from the first frame.

    Args:
        path: a video file.
        block: video pixels per cell of the motion fields: 4, 8 or 16.
        gop: longest group in frames, at least 1.

    Attributes:
        path: as given.
        width, height: size of the frames in pixels, as coded.
        rate: average frames per second.
        codec: FFmpeg's name of the codec, "h264".
        rotation: degrees counter-clockwise that a player turns the frames by, from the metadata.
        pixel_aspect: width to height of a pixel as shown, from the metadata; None where it does not say.
        frame_count: number of frames the container states; None where it does not.

    Raises:
        ValueError: `block` or `gop` out of range.
        NotAVideoError, NoFramesError, NoKeyframeError: nothing to read.
        UnsupportedCodecError, BFramesError, InterlacedError: a stream of another kind; from the iteration where it
            only shows later.
        ResolutionChangedError, TruncatedStreamError: from the iteration, after the frames before.
    """

    def __init__(self, path: str | os.PathLike[str], *, block: int = 4, gop: int = 12) -> None:
        if block not in BLOCKS:
            raise InputError(f"block: expected 4, 8 or 16, got {block!r}")
        if gop < 1:
            raise InputError(f"gop: expected at least 1, got {gop!r}")
        self.path = path
        self._block = block
        self._gop = gop
        self._open: list[Source] = []
        self._begun: tuple[Source, av.VideoFrame, Iterator[av.VideoFrame]] | None = None
        try:
            source, frames = self._start()
            # The first frame tells what the container does not: size, rotation, whether decoding works at all.
            first = next(frames)
            self.width = first.width
            self.height = first.height
            self.rotation = int(first.rotation)
            self.pixel_aspect = source.stream.sample_aspect_ratio
            self.codec = source.codec
            self.rate = Fraction(source.stream.average_rate or source.stream.guessed_rate or 25)
            self.frame_count = source.stream.frames or None
            self._refuse_frame(first, 0)
            # Not a proof (the flag is a guess for some streams), so look.
            if source.stream.codec_context.has_b_frames:
                self._look_for_b_frames()
        except BaseException:
            self.close()
            raise
        self._begun = (source, first, frames)

    def __iter__(self) -> Iterator[VideoFrame]:
        begun, self._begun = self._begun, None
        if begun is None:
            source, rest = self._start()
            begun = (source, next(rest), rest)
        return self._frames(*begun)

    def close(self) -> None:
        """Close the file; an iteration under way stops after the frame it is at."""
        self._begun = None
        while self._open:
            self._open.pop().container.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> tuple[Source, Iterator[av.VideoFrame]]:
        # An edit list may ask the demuxer to drop frames that the chain of vectors needs.
        source = open_source(self.path, {"ignore_editlist": "1"})
        self._open.append(source)
        if source.codec != "h264":
            raise UnsupportedCodecError(
                f"{source.path} is {source.codec_label}, and motion vectors are read from H.264 only: "
                f"{encode_hint(source.path)}",
                path=self.path,
            )
        if source.interlaced:
            raise self._interlaced(None)
        context = source.stream.codec_context
        context.flags2 |= Flags2.export_mvs
        context.thread_type = "AUTO"
        return source, decode(source)

    def _frames(self, source: Source, first: av.VideoFrame, rest: Iterator[av.VideoFrame]) -> Iterator[VideoFrame]:
        chain = MotionChain(self.width, self.height, self._block)
        distance = 0
        index = 0
        frame: av.VideoFrame | None = first
        while frame is not None:
            self._refuse_frame(frame, index)
            kind = PictureType(frame.pict_type)
            time_base = frame.time_base or source.stream.time_base or 1 / self.rate
            # An I frame that is no random access point has no vectors either.
            keyframe = index == 0 or frame.key_frame or kind == PictureType.I or distance + 1 >= self._gop
            if keyframe:
                distance = 0
                motion = None
                chain.restart()
            else:
                distance += 1
                motion = self._motion(chain, frame, index)
            yield VideoFrame(
                index=index,
                image=frame.to_ndarray(format="rgb24"),
                frame_type="I" if kind == PictureType.I else "P",
                keyframe=keyframe,
                distance=distance,
                motion=motion,
                pts=frame.pts,
                time_base=time_base,
                time=None if frame.pts is None else float(frame.pts * time_base),
            )
            index += 1
            if source not in self._open:
                return  # closed by the caller
            frame = next(rest, None)
        self._open.remove(source)
        source.container.close()

    def _motion(self, chain: MotionChain, frame: av.VideoFrame, index: int) -> BlockField:
        vectors = frame.side_data.get("MOTION_VECTORS")
        try:
            return chain.step(None if vectors is None else vectors.to_ndarray())  # type: ignore[attr-defined]
        except ValueError as error:
            raise UnsupportedStreamError(
                f"{self.path} has a motion vector at frame {index} that cannot be used ({error}): "
                f"{encode_hint(self.path)}",
                path=self.path,
                frame=index,
            ) from error

    def _refuse_frame(self, frame: av.VideoFrame, index: int) -> None:
        """Raise for a frame of a kind that is not read."""
        if (frame.width, frame.height) != (self.width, self.height):
            raise ResolutionChangedError(
                f"{self.path} changes size at frame {index}, from {self.width}x{self.height} to "
                f"{frame.width}x{frame.height}: split it there and give the parts one by one",
                path=self.path,
                frame=index,
            )
        if frame.interlaced_frame:
            raise self._interlaced(index)
        if PictureType(frame.pict_type) in (PictureType.B, PictureType.BI):
            raise self._b_frame(index)

    def _look_for_b_frames(self, frames: int = 32) -> None:
        """Refuse a stream with B frames before any work is done on it."""
        source = open_source(self.path)
        try:
            for index, frame in zip(range(frames), source.container.decode(source.stream), strict=False):
                if PictureType(frame.pict_type) in (PictureType.B, PictureType.BI):
                    raise self._b_frame(index)
        except av.error.FFmpegError:
            pass  # the iteration will meet it again, after the frames before
        finally:
            source.container.close()

    def _b_frame(self, index: int) -> BFramesError:
        return BFramesError(
            f"{self.path} has a B frame at frame {index}, and motion vectors are read from streams of I and P frames "
            f"only: {encode_hint(self.path)}",
            path=self.path,
            frame=index,
        )

    def _interlaced(self, index: int | None) -> InterlacedError:
        where = "" if index is None else f" at frame {index}"
        return InterlacedError(
            f"{self.path} is interlaced{where}, and motion vectors are read from progressive video only: "
            f"{encode_hint(self.path)}",
            path=self.path,
            frame=index,
        )
