"""From frames to labels, and from labels to files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .segmenter import SegmentedFrame, VideoSegmenter

__all__ = ["SegmentedFrame", "VideoSegmenter"]


def __getattr__(name: str) -> Any:
    # On first use: the command line takes the names of the modes from here and does not wait for torch.
    if name in __all__:
        return getattr(import_module(".segmenter", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
