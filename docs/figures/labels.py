"""Figures of resize_labels."""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from style import BLUE, GREEN, ORANGE, grid, picture

from arseg_ext import ops

COLOURS = ListedColormap([BLUE, ORANGE, GREEN])


def resize_labels() -> Figure:
    """Logits of a small map resized before the class is chosen, and after."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(1, 3, 4, 6, generator=generator)
    size = (40, 60)
    few = logits.argmax(1)
    figure, axes = plt.subplots(1, 4, figsize=(9.4, 2.2), layout="constrained")
    maps = (
        ("classes of the logits, 4×6", few[0]),
        ("nearest, of the classes", F.interpolate(few[None].float(), size)[0, 0]),
        ("resize_labels, 40×60", ops.resize_labels(logits, size)[0]),
        ("the same, align_corners=True", ops.resize_labels(logits, size, align_corners=True)[0]),
    )
    for ax, (title, labels) in zip(axes, maps, strict=True):
        picture(ax, labels, title, cmap=COLOURS, vmin=0, vmax=2)
    grid(axes[0], 4, 6)
    return figure


FIGURES = {"resize_labels": resize_labels}
