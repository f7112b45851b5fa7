"""Compressed video in and out: frames with motion fields, encoding, writing.

The codec facts behind the choices here: FFmpeg exports vectors for H.264; with one reference frame and no B frames
each vector points exactly one frame back, so fields can be chained to the keyframe without guessing.
"""

from .encoder import encode, transcode
from .errors import (
    BFramesError,
    InterlacedError,
    NoFramesError,
    NoKeyframeError,
    NotAVideoError,
    OutputError,
    ResolutionChangedError,
    TruncatedStreamError,
    UnsupportedCodecError,
    UnsupportedStreamError,
    VideoError,
)
from .motion import BlockField
from .reader import VideoFrame, VideoReader
from .writer import VideoWriter

__all__ = [
    "BFramesError",
    "BlockField",
    "InterlacedError",
    "NoFramesError",
    "NoKeyframeError",
    "NotAVideoError",
    "OutputError",
    "ResolutionChangedError",
    "TruncatedStreamError",
    "UnsupportedCodecError",
    "UnsupportedStreamError",
    "VideoError",
    "VideoFrame",
    "VideoReader",
    "VideoWriter",
    "encode",
    "transcode",
]
