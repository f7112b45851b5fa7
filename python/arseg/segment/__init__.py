"""From frames to labels, and from labels to files."""

from __future__ import annotations

from .segmenter import SegmentedFrame, VideoSegmenter

__all__ = ["SegmentedFrame", "VideoSegmenter"]
