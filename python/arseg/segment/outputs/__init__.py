"""What results are written as: a file of this folder for each family, and a name in `OUTPUTS` for each kind.

A script adds one of its own as these do: a subclass of `Output`, registered under a name.
"""

from __future__ import annotations

from .base import OUTPUTS, Output
from .chosen import output_for
from .coco import CocoLines
from .label_maps import LabelMaps, save_labels
from .label_streams import LabelArrays, LabelVideo
from .overlay import Overlay, OverlayPictures, SideBySide
from .reading import read_labels
from .report import Report
from .scores import Logits, Probabilities
from .table import Table

__all__ = [
    "OUTPUTS",
    "CocoLines",
    "LabelArrays",
    "LabelMaps",
    "LabelVideo",
    "Logits",
    "Output",
    "Overlay",
    "OverlayPictures",
    "Probabilities",
    "Report",
    "SideBySide",
    "Table",
    "output_for",
    "read_labels",
    "save_labels",
]
