"""The codecs that are known: where their motion vectors come from, and what is peculiar to their decoders.

A new one is a file of this folder that registers it, and its import here.
"""

from __future__ import annotations

from . import h264, hevc, mpeg, mpeg4  # noqa: F401  they register themselves
from .base import CODECS, Codec, Headers, codec_named, new_extradata

__all__ = ["CODECS", "Codec", "Headers", "codec_named", "new_extradata"]

# Without vectors that can be had: known by name alone.
for _name, _label in (("vp8", "VP8"), ("vp9", "VP9"), ("av1", "AV1"), ("vvc", "VVC (H.266)")):
    CODECS.register(_name, Codec(_name, _label))
