"""Video segmentation in the compressed domain: AR-Seg's pipeline on top of `arseg_ext`'s operators.

Source: Hu et al., "Efficient Semantic Segmentation by Altering Resolutions for Compressed Videos", CVPR 2023.
"""

from arseg_ext import __version__

__all__ = ["__version__"]
