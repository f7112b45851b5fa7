"""Compressed video in and out: frames with motion fields, encoding, writing.

FFmpeg exports the vectors of H.264 and of the MPEG family, but not which frame each points to: where the stream's
headers leave one possibility the fields are exact, else the frame is chosen by likeness. Other codecs are transcoded.
"""

from .encoder import encode, transcode
from .errors import (
    ConnectionLostError,
    Discontinuity,
    InterlacedError,
    Loss,
    NoFramesError,
    NoKeyframeError,
    NotAVideoError,
    OutputError,
    ReferenceGapError,
    ResolutionChangedError,
    TruncatedStreamError,
    UnsupportedCodecError,
    UnsupportedStreamError,
    VideoError,
)
from .grouping import Candidate
from .metadata import VideoMetadata
from .motion import BlockField
from .reader import VideoFrame, VideoReader
from .seeking import FrameIndexError, LengthError
from .writer import VideoWriter

__all__ = [
    "BlockField",
    "Candidate",
    "ConnectionLostError",
    "Discontinuity",
    "FrameIndexError",
    "InterlacedError",
    "LengthError",
    "Loss",
    "NoFramesError",
    "NoKeyframeError",
    "NotAVideoError",
    "OutputError",
    "ReferenceGapError",
    "ResolutionChangedError",
    "TruncatedStreamError",
    "UnsupportedCodecError",
    "UnsupportedStreamError",
    "VideoError",
    "VideoFrame",
    "VideoMetadata",
    "VideoReader",
    "VideoWriter",
    "encode",
    "transcode",
]
