"""What results are written as: a file of this folder for each kind, and a name in `OUTPUTS`.

A script adds one of its own as these do: a subclass of `Output`, registered under a name.
"""

from __future__ import annotations

from .base import OUTPUTS, Output
from .label_maps import LabelMaps, save_labels
from .overlay import Overlay

__all__ = ["OUTPUTS", "LabelMaps", "Output", "Overlay", "save_labels"]
