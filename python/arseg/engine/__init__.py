"""What runs the networks: streaming segmentation, training, evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .segmenter import SegmentedFrame, VideoSegmenter

__all__ = ["SegmentedFrame", "VideoSegmenter"]


def __getattr__(name: str) -> Any:
    # On first use: training alone needs no video decoder.
    if name in __all__:
        from . import segmenter

        return getattr(segmenter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
