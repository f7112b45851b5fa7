"""Video segmentation in the compressed domain: AR-Seg's pipeline on top of `arseg_ext`'s operators.

Source: Hu et al., "Efficient Semantic Segmentation by Altering Resolutions for Compressed Videos", CVPR 2023.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from arseg_ext import __version__

from . import _moved

if TYPE_CHECKING:
    from .acceleration.network import accelerate
    from .export.exported import load_exported
    from .segment.segmenter import VideoSegmenter
    from .video.reader import VideoReader
    from .weights.files import load_checkpoint as load

__all__ = ["VideoReader", "VideoSegmenter", "__version__", "accelerate", "load", "load_exported"]

_LAZY = {
    "VideoReader": ("arseg.video.reader", "VideoReader"),
    "VideoSegmenter": ("arseg.segment.segmenter", "VideoSegmenter"),
    "accelerate": ("arseg.acceleration.network", "accelerate"),
    "load_exported": ("arseg.export.exported", "load_exported"),
    "load": ("arseg.weights.files", "load_checkpoint"),
}

_moved.install()


def __getattr__(name: str) -> Any:
    # On first use: `import arseg` alone waits neither for the networks nor for the decoder.
    if name in _LAZY:
        module, attribute = _LAZY[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
