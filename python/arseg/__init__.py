"""Video segmentation in the compressed domain: AR-Seg's pipeline on top of `arseg_ext`'s operators.

Source: Hu et al., "Efficient Semantic Segmentation by Altering Resolutions for Compressed Videos", CVPR 2023.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arseg_ext import __version__

if TYPE_CHECKING:
    from .models.accelerated import accelerate

__all__ = ["__version__", "accelerate"]


def __getattr__(name: str) -> Any:
    # On first use: `import arseg` alone does not wait for the networks.
    if name == "accelerate":
        from .models.accelerated import accelerate

        return accelerate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
